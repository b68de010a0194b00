"""Documentation is part of the change: what exists is written down."""

import re
from pathlib import Path

import pytest
import yaml
from django.conf import settings
from django.core.management import get_commands, load_command_class
from django.urls import URLPattern, URLResolver, get_resolver

ROOT = Path(settings.BASE_DIR)
OURS = ("ema", "scheduler", "analytics", "console")


def text_of(*pages: str) -> str:
    return "\n".join((ROOT / page).read_text() for page in pages)


def own_commands() -> list[str]:
    return sorted(name for name, app in get_commands().items() if app in OURS)


def test_every_setting_read_from_the_environment_is_documented() -> None:
    source = text_of("ema/settings.py")
    names = set(re.findall(r'env\.\w+\(\s*"([A-Z_]+)"', source))
    names |= set(re.findall(r'_read\("\w+", "([A-Z_]+)"', source))
    assert len(names) > 10
    documented = set(re.findall(r"^\| `([A-Z_]+)` \|", text_of("docs/operations.md"), re.M))
    assert names == documented


@pytest.mark.parametrize("name", own_commands())
def test_every_command_is_documented_and_teaches(name: str) -> None:
    assert f"`manage.py {name}" in text_of("docs/commands.md")
    assert len(load_command_class(get_commands()[name], name).help) > 40


def api_routes(resolver: URLResolver, prefix: str = "/") -> list[str]:
    found = []
    for entry in resolver.url_patterns:
        route = prefix + str(entry.pattern)
        if isinstance(entry, URLResolver):
            found += api_routes(entry, route)
        elif isinstance(entry, URLPattern) and route.startswith("/api/"):
            found.append(re.sub(r"<(?:\w+:)?(\w+)>", r"{\1}", route))
    return found


def test_every_api_route_is_documented() -> None:
    documented = text_of(
        "docs/phone-api.md",
        "docs/datasets.md",
        "docs/coupling.md",
        "docs/outcomes.md",
        "docs/alerts.md",
    )
    routes = api_routes(get_resolver())
    assert len(routes) > 8
    missing = [route for route in routes if route not in documented]
    assert not missing


def test_every_link_between_pages_leads_somewhere() -> None:
    pages = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *ROOT.glob("docs/**/*.md")]
    broken = [
        f"{page.name}: {target}"
        for page in pages
        for target in re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text())
        if not (page.parent / target).exists()
    ]
    assert not broken


def test_the_compose_file_runs_commands_and_settings_that_exist() -> None:
    compose = yaml.safe_load(text_of("docker-compose.yml"))
    services = compose["services"]
    assert {"web", "worker", "beat", "dispatcher", "postgres", "redis"} <= set(services)
    for service in services.values():
        if service.get("image") == "fourbeat":
            words = service["command"].split()
            assert words[:2] == ["python", "manage.py"]
            assert words[2] in get_commands()
    documented = text_of("docs/operations.md")
    for name in services["web"]["environment"]:
        assert f"`{name}`" in documented
    once = {"migrate", "database_role"}
    assert all("healthcheck" in s for n, s in services.items() if n not in once)
    owner = {
        n
        for n, s in services.items()
        if "fourbeat:$" in s.get("environment", {}).get("DATABASE_URL", "")
    }
    assert owner == once  # everything else connects as the role that cannot change the trail


def test_the_image_holds_every_package_and_runs_as_an_ordinary_user() -> None:
    dockerfile = text_of("Dockerfile")
    for package in OURS:
        assert f"COPY {package} {package}" in dockerfile
    assert re.search(r"^USER (?!root)", dockerfile, re.M)
    command = re.search(r'^CMD \["python", "manage.py", "(\w+)"', dockerfile, re.M)
    assert command
    assert command[1] in get_commands()


def test_make_help_names_every_target() -> None:
    makefile = text_of("Makefile")
    [phony] = re.findall(r"^\.PHONY: (.+)$", makefile, re.M)
    explained = set(re.findall(r"^([a-z-]+):.*## ", makefile, re.M))
    assert set(phony.split()) == explained


def test_the_locked_requirements_hold_hashes_and_no_addresses() -> None:
    for name in ("requirements.txt", "requirements-dev.txt"):
        lines = text_of(name).splitlines()
        assert not [line for line in lines if "http://" in line or "https://" in line]
        pins = [n for n, line in enumerate(lines) if re.match(r"^[a-z0-9-]+(\[.*\])?==", line)]
        assert len(pins) > 20
        assert all("--hash=sha256:" in lines[n + 1] for n in pins)


def test_every_fault_seen_elsewhere_has_the_test_that_is_named() -> None:
    _, chapter = text_of("docs/delivery.md").split("## What goes wrong elsewhere")
    faults = [line for line in chapter.splitlines() if line.startswith("| ")][1:]
    named = re.findall(r"^\| [^|]+ \| `(tests/[\w/.]+)`: `(test_\w+)` \|$", chapter, re.M)
    assert len(named) == len(faults) == 14
    missing = [(file, test) for file, test in named if f"\ndef {test}(" not in text_of(file)]
    assert not missing
