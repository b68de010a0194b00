"""Every page of every role in a real browser: no policy violation, usable at 390 px and by all."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from analytics.coupling import estimate_couplings
from ema import audit, studies
from ema.alerts import find_alerts
from ema.models import Study
from ema.questionnaires import drafts
from screenshots.chromium import CHROMIUM
from tests import trial
from tests.analytics.answers import START, add_participant, make_trial
from tests.analytics.urine import allocate_on, give_tests
from tests.browsing import Visitor
from tests.ema.alert_rules import add_rule, an_answer

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from pytest_django.live_server_helper import LiveServer

STARTS = ("/studies/", "/admin/")
AT_LEAST = {
    "coordinator": {
        "console:alert",
        "console:allocate",
        "admin:ema_participant_add",
        "admin:ema_quarantine_changelist",
        "console:enrol",
        "console:entries",
        "console:flow",
        "console:screening",
        "console:new-code",
        "console:waking-hours",
    },
    "investigator": {
        "analytics:snapshots",
        "scheduler:ledger",
        "admin:ema_prompt_change",
        "admin:ema_alertrule_change",
        "console:alert-rules",
    },
    "statistician": {
        "analytics:comparison",
        "analytics:cremas",
        "analytics:outcomes",
        "analytics:plans",
    },
    "pharmacist": {"admin:index"},
    "auditor": {"console:audit", "console:audit-event", "console:audit-changes"},
    "administrator": {
        "admin:ema_study_change",
        "console:allocation-lists",
        "console:new-study",
        "console:set-up",
        "admin:auth_user_add",
        "admin:ema_questionnaireversion_import",
        *(f"admin:ema_questionnaireversion_{name}" for name in ("preview", "copy")),
    },
}
"""Pages that links lead each role to, among others."""

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: pages are not opened"),
    pytest.mark.django_db(transaction=True),
]


@pytest.fixture
def study(transactional_db: None) -> Study:
    study = make_trial(n=6, prompts=6)
    for participant in study.participants.all():
        give_tests(participant, range(7, 35, 7), "-+o-")
    allocate_on(study)
    Study.objects.update(started_at=START, double_entry=True)
    add_rule(study, since=START)
    an_answer(study.participants.earliest("pk"), craving=95)
    find_alerts(timezone.now())
    trial.seal(study)
    for code in ("L-1", "L-2"):
        waits = add_participant(study, code)
    trial.allocate_from_list(waits)
    estimate_couplings(timezone.now())
    drafts.start_from_default(study=study, actor=audit.COMMAND)
    return study


@pytest.fixture
def sessions(study: Study) -> dict[str, str]:
    """Of somebody signed in for each role."""
    made = {}
    for role in AT_LEAST:
        is_administrator = role == "administrator"
        user = User.objects.create_user(role, is_superuser=is_administrator)
        if not is_administrator:
            studies.grant(user=user, role=role, study=study, site=None, actor=audit.COMMAND)
        client = Client()
        client.force_login(user)
        made[role] = client.cookies["sessionid"].value
    return made


@pytest.fixture
def chromium(sessions: dict[str, str]) -> Iterator["Browser"]:
    """After the records are made: Playwright's event loop keeps Django from querying beside it."""
    with a_browser() as browser:
        yield browser


@pytest.fixture
def chromium_alone(transactional_db: None) -> Iterator["Browser"]:
    """For pages that nobody has signed in to."""
    with a_browser() as browser:
        yield browser


@contextmanager
def a_browser() -> Iterator["Browser"]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.long
@pytest.mark.parametrize(
    "roles", [AT_LEAST.keys() - {"administrator"}, {"administrator"}], ids=["members", "others"]
)
def test_pages_open_without_complaint_fit_and_can_be_used_by_all(
    roles: set[str], live_server: "LiveServer", chromium: "Browser", sessions: dict[str, str]
) -> None:
    judged, complaints = set[str](), list[str]()
    for role in sorted(roles):
        visitor = Visitor(chromium, live_server.url, sessions[role], judged)
        seen = visitor.visit_all(*STARTS)
        complaints += [f"{role} on {complaint}" for complaint in visitor.complaints]
        missed = AT_LEAST[role] - seen.keys()
        assert not missed, f"no link leads {role} to {missed}, but to {seen}"
    assert not complaints, "\n".join(complaints)


def test_a_code_is_handed_over_on_a_page_that_can_be_printed(
    live_server: "LiveServer", chromium: "Browser", sessions: dict[str, str]
) -> None:
    visitor = Visitor(chromium, live_server.url, sessions["coordinator"])
    visitor.visit("/studies/relief/enrol/")
    visitor.page.fill("#id_consent_version", "2.0")
    visitor.page.click("text=Enrol and show the code")
    visitor.page.wait_for_selector("svg.qr")
    visitor.look()
    visitor.page.emulate_media(media="print")
    assert visitor.page.is_visible("svg.qr")
    assert not visitor.page.is_visible(".study-pages")
    assert visitor.complaints == []


def test_signing_in_is_a_page_like_the_others(
    live_server: "LiveServer", chromium_alone: "Browser"
) -> None:
    visitor = Visitor(chromium_alone, live_server.url)
    visitor.visit("/admin/login/")
    assert visitor.complaints == []


def test_what_is_wrong_with_a_page_is_found(
    live_server: "LiveServer", chromium_alone: "Browser"
) -> None:
    """So the pages above could have failed."""
    visitor = Visitor(chromium_alone, live_server.url)
    visitor.visit("/admin/login/")
    visitor.page.evaluate(
        """() => {
            document.body.innerHTML = '<img src="/static/ema/icon.svg"><p style="color: red">x</p>'
                + '<input size="200">';
        }"""
    )
    visitor.look()
    visitor.page.goto(f"{live_server.url}/studies/nowhere/at-all/")
    found = "\n".join(visitor.complaints)
    for complaint in ("Content Security Policy", "px too wide", "image-alt", "404"):
        assert complaint in found, complaint
