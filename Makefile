# Fourbeat: `make` lists what can be made. Needs Python 3.11+ and make; everything else is fetched.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help setup setup-dev demo test check lint bench screenshots golden lock clean

help: ## say what each target does
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  make demo ARGS="--once"                        run the trial, check it, stop'
	@echo '  make demo ARGS="--participants 20 --days 7"    a smaller trial'

setup: $(VENV)/.runtime ## make a virtual environment with what the product needs
setup-dev: $(VENV)/.dev ## the same, with what development needs

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Fourbeat needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Name another: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.txt | $(BIN)/python
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.runtime
	$(BIN)/pip install --quiet --disable-pip-version-check --requirement requirements-dev.txt
	@touch $@

demo: setup ## run a simulated trial on this machine and keep serving it
	$(BIN)/python manage.py demo $(ARGS)

test: setup-dev ## run the tests on real servers
	$(BIN)/python -m pytest -n auto --dist worksteal $(ARGS)

check: lint test ## everything that must be clean before a change is merged

lint: setup-dev ## format, lint, types, import contracts, migrations
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy .
	$(BIN)/lint-imports
	$(BIN)/python manage.py makemigrations --check --dry-run

bench: setup-dev ## measure speed as ratios in one run
	$(BIN)/python -m benchmarks $(ARGS)

screenshots: setup-dev ## take the pictures of the documentation anew, with Chromium, of a simulated trial
	$(BIN)/python -m screenshots $(ARGS)

golden: ## make the reference numbers of the tests anew with R (lme4, lmerTest, pbkrtest, clubSandwich, nlme, mvtnorm, survival, ordinal)
	@command -v Rscript >/dev/null || { echo 'make golden needs R: on Debian, apt-get install r-cran-lme4 r-cran-lmertest r-cran-pbkrtest r-cran-clubsandwich r-cran-nlme r-cran-numderiv r-cran-mvtnorm r-cran-survival r-cran-ordinal r-cran-jsonlite'; exit 1; }
	Rscript tests/golden/r/simulate.R
	for topic in linear multiplicity companion ordinal diagnostics serial survival plan_options; do Rscript tests/golden/r/$$topic.R || exit 1; done

lock: setup-dev ## pin every dependency by hash (no addresses inside)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-emit-index-url --no-emit-find-links --extra local --extra push --extra messages --extra formats pyproject.toml --output-file requirements.txt
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header \
	  --no-emit-index-url --no-emit-find-links --extra local --extra push --extra messages --extra formats --group dev --constraint requirements.txt \
	  pyproject.toml --output-file requirements-dev.txt

clean: ## remove the environment (data in .data/ stays)
	rm -rf $(VENV)
