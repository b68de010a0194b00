"""What goes with the tables: metadata that validates, changes, scripts that load everything."""

import csv
import json
import shutil
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import frictionless
import pytest
from django.utils import timezone
from pytest_django import Settings
from scipy.stats import t as student

from analytics.coupling import estimate_couplings
from analytics.datasets.building import build_snapshot
from analytics.datasets.snapshots import directory_of, request_snapshot
from analytics.datasets.tables import TABLES
from analytics.models import Snapshot
from analytics.whole_comparison import compare_whole
from ema.audit import COMMAND
from ema.models import Participant, Prompt, Study, UrineTest
from tests.analytics.answers import START, add_participant, add_prompt, answer, make_trial, respond
from tests.analytics.test_after_lock import lock_and_answer

pytestmark = pytest.mark.django_db(transaction=True)
NAMES = [table.name for table in TABLES]
LME4 = (
    shutil.which("Rscript")
    and not subprocess.run(
        ["Rscript", "-e", "library(lme4)"], capture_output=True, check=False
    ).returncode
)


@pytest.fixture(autouse=True)
def _snapshot_dir(settings: Settings, tmp_path: Path) -> None:
    settings.SNAPSHOT_DIR = tmp_path / "snapshots"


def built(study: Study, masking: str = "masked") -> Path:
    return build_snapshot(request_snapshot(study, COMMAND, masking, timezone.now())).directory


def a_study() -> Study:
    study = make_trial(n=8)
    someone = add_participant(study, "=1+1", "placebo")
    prompts = [add_prompt(someone, number) for number in range(4)]
    respond(prompts[0], 40, 30)
    respond(prompts[1], 50, 20, after=timedelta(hours=1), flags=["after_expiry"])
    UrineTest.objects.create(participant=someone, due_on=prompts[0].study_on)
    estimate_couplings(timezone.now())
    return study


def report_of(package: Path) -> Any:
    return frictionless.validate(str(package / "datapackage.json"))


def test_frictionless_finds_no_errors_and_sees_a_cell_that_was_changed() -> None:
    package = built(a_study(), "unmasked")
    report = report_of(package)
    assert report.valid, report.flatten(["type", "message"])
    assert {task.name for task in report.tasks} == {*NAMES, "audit"}
    table = package / "data/prompts.csv"
    content = table.read_text()
    table.write_text(content.replace("answered_late", "answered_l8te", 1))
    report = report_of(package)
    assert [kind for (kind,) in report.flatten(["type"])] == ["hash-count"]
    table.write_text(content.replace("2026-03-02T08:00:00.000000Z", "today", 1))
    assert "type-error" in {kind for (kind,) in report_of(package).flatten(["type"])}


def test_every_column_is_in_the_metadata() -> None:
    package = built(a_study())
    page = (package / "codebook.html").read_text()
    described = json.loads((package / "dataset_description.json").read_text())
    measured = {one["name"] for one in described["variableMeasured"]}
    for name in NAMES:
        with (package / f"data/{name}.csv").open(newline="") as file:
            columns = next(csv.reader(file))
        assert set(columns) <= measured
        assert all(f'<th scope="row">{column}</th>' in page for column in columns)
        assert f'<h2 id="{name}">' in page
    asked = json.loads((package / "openesm_metadata.json").read_text())
    assert [one["name"] for one in asked["features"]] == ["stress", "craving", "pain"]
    assert asked["features"][0]["wording"] == "How much stress in the past hour?"
    assert (asked["n_participants"], asked["n_time_points"]) == (9, 8 * 12 + 4)


def test_a_package_says_what_it_was_made_from() -> None:
    study = a_study()
    masked = json.loads((built(study) / "provenance.json").read_text())
    assert masked["schema"].keys() == {"ema", "scheduler", "analytics"}
    assert masked["protocol"].keys() == {"baseline", "treatment"}
    assert masked["filters"]
    assert masked["audit"]["events"] > 0
    assert "plans" not in masked
    unmasked = json.loads((built(study, "unmasked") / "provenance.json").read_text())
    assert unmasked["reference_arm"] == "placebo"


def test_changes_are_told_row_by_row_against_the_snapshot_of_the_same_kind() -> None:
    study = a_study()
    first = built(study)
    assert "everything is new" in (first / "CHANGELOG.md").read_text()
    assert "everything is new" in (built(study, "unmasked") / "CHANGELOG.md").read_text()
    answer(add_participant(study, "P99"), [(1, 2), (3, 4)])
    Prompt.objects.filter(participant__code="P00", ordinal=1, study_day=1).update(zone="UTC")
    Prompt.objects.filter(participant__code="=1+1", study_day=1, ordinal=4).delete()
    UrineTest.objects.all().delete()
    changes = (built(study) / "CHANGELOG.md").read_text()
    assert changes.startswith(f"# Changes since {first.name}\n")
    lines = {line.split("`")[1]: line for line in changes.splitlines() if "`" in line}
    assert lines["prompts"] == "| `prompts` | 2 | 1 | 1 |  |"
    assert lines["participants"].startswith("| `participants` | 1 | ")
    assert lines["urine"] == "| `urine` | 0 | 0 | 1 |  |"
    assert lines["items"] == "| `items` | 0 | 0 | 0 |  |"


SHOWN = ("estimate", "standard_error", "df", "model_standard_error")


def the_terms(study: Study) -> dict[str, dict[str, float]]:
    """What the study's comparison says, by the names that lme4 has for terms."""
    report = compare_whole(study, timezone.now())
    assert "CR2" in report["method"]
    told = {one["term"]: {name: one[name] for name in SHOWN} for one in report["fixed"]}
    names = {"intercept": "(Intercept)", "stress_within": "stress_within"}
    names |= {"stress_between": "stress_between", "arm[clonidine]": "clonidine"}
    names["stress_within:arm[clonidine]"] = "stress_within:clonidine"
    assert set(told) == set(names), told
    return {names[term]: numbers for term, numbers in told.items()}


def test_read_py_loads_all_tables_and_fits_the_comparison_again(tmp_path: Path) -> None:
    study = a_study()
    package = shutil.copytree(built(study, "unmasked"), tmp_path / "download")
    done = run([sys.executable, "-I", "read.py"], package)
    for name in NAMES:
        with (package / f"data/{name}.csv").open(newline="") as file:
            assert f"{name}: {len(list(csv.DictReader(file)))} rows" in done.stderr
    fitted = json.loads(done.stdout)["terms"]
    for term, told in the_terms(study).items():
        low, high = fitted[term].pop("interval")
        assert fitted[term] == pytest.approx(told, rel=1e-5, abs=1e-7)
        reach = student.ppf(0.975, told["df"]) * told["standard_error"]
        assert (high - low) / 2 == pytest.approx(reach, rel=1e-5)
    types = run(
        [sys.executable, "-c", "from read import tables as t; print(t()['prompts'][-1])"], package
    ).stdout
    assert "'study_day': 3, " in types
    assert "datetime.datetime(2026, 3, 4, 17, 0, tzinfo=datetime.timezone.utc)" in types
    assert (
        "'participant_id': '=1+1'"
        in run(
            [sys.executable, "-c", "from read import tables as t; print(t()['participants'])"],
            package,
        ).stdout
    )


def run(command: list[str], package: Path) -> Any:
    done = subprocess.run(command, cwd=package, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done


@pytest.mark.skipif(not LME4, reason="R with lme4 is not here: apt-get install r-cran-lme4")
def test_read_r_loads_all_tables_and_fits_the_comparison_again(tmp_path: Path) -> None:
    study = a_study()
    package = shutil.copytree(built(study, "unmasked"), tmp_path / "download")
    done = run(["Rscript", "read.R"], package)
    for name in NAMES:
        with (package / f"data/{name}.csv").open(newline="") as file:
            assert f"{name}: {len(list(csv.DictReader(file)))} rows" in done.stderr
    compare_with(the_terms(study), done.stdout)
    shown = 'source("read.R"); t <- tables; cat(class(t$prompts$scheduled_at_utc)[1], attr('
    shown += 't$prompts$scheduled_at_utc, "tzone"), class(t$urine$due_on), t$participants[1, 1])'
    said = run(["Rscript", "-e", shown], package).stdout
    assert said == "POSIXct UTC Date =1+1"


def compare_with(told: dict[str, dict[str, float]], by_r: str) -> None:
    head, *rows = [line.split(",") for line in by_r.splitlines()]
    assert head == ["", *SHOWN]
    fitted = {term.replace("arm", ""): [float(cell) for cell in row] for term, *row in rows}
    for term, numbers in told.items():
        assert fitted[term] == pytest.approx([*numbers.values()], rel=1e-4, abs=1e-6)


@pytest.mark.skipif(not LME4, reason="R with lme4 is not here: apt-get install r-cran-lme4")
def test_read_r_leaves_out_what_arrived_after_the_lock(tmp_path: Path) -> None:
    study = a_study()
    told = the_terms(study)
    lock_and_answer(study)
    package = shutil.copytree(built(study, "unmasked"), tmp_path / "download")
    assert "after_lock" in (package / "data/prompts.csv").read_text()
    compare_with(told, run(["Rscript", "read.R"], package).stdout)


def test_the_script_of_a_masked_package_fits_the_coupling_alone() -> None:
    package = built(a_study())
    fitted = json.loads(run([sys.executable, "read.py"], package).stdout)
    assert set(fitted["terms"]) == {"(Intercept)", "stress_within", "stress_between"}


def test_drafts_of_killed_processes_are_cleared_away() -> None:
    snapshot = request_snapshot(a_study(), COMMAND, "masked", timezone.now())
    place = directory_of(snapshot)
    left = place.with_name(f".{place.name}.0123abcd")
    (left / "data").mkdir(parents=True)
    (left / "data/prompts.csv").write_text("half")
    build_snapshot(snapshot)
    assert [path.name for path in place.parent.iterdir()] == [place.name]
    assert Participant.objects.count() == Snapshot.objects.get().row_counts["participants"]


def test_the_reporting_numbers_are_those_of_the_prompts() -> None:
    study = a_study()
    leaver = study.participants.get(code="P01")
    leaver.withdrawn_at = START + timedelta(days=9)
    leaver.save()
    told = (built(study) / "CREMAS.md").read_text()
    assert "| all | 100 | 100 | 98 | 97 | 0 | 97.0 % |" in told  # 8 × 12, and one of four in time
    assert "| 1 | 100 | 100 | 98 | 97 | 0 | 97.0 % |" in told
    assert "| 09:00 | 25 | 25 | 25 | 25 | 0 | 100.0 % |" in told
    assert "| 12:00 | 25 | 25 | 25 | 24 | 0 | 96.0 % |" in told
    assert "Median 120 s, quartiles 120 s and 120 s, of 97 answers" in told
    assert "9 enrolled, 1 withdrew." in told
    assert "- by the end of week 2: 1 had withdrawn, 8 were in" in told
    assert "stress" not in told
    assert "placebo" not in told
