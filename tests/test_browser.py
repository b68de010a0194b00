"""Every page of every role in a real browser: no policy violation, usable at 390 px."""

import shutil
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from analytics.coupling import estimate_couplings
from ema import audit, studies
from ema.models import Study
from ema.questionnaires import drafts
from tests.analytics.answers import make_trial
from tests.analytics.urine import allocate_on, give_tests

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from pytest_django.live_server_helper import LiveServer

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
PASSWORD = "correct horse battery staple"
PAGES = {
    "coordinator": [
        "/studies/",
        "/studies/relief/ledger/",
        "/studies/relief/phones/",
        "/admin/",
        "/admin/ema/participant/",
        "/admin/ema/participant/add/",
        "/admin/ema/prompt/",
        "/admin/ema/response/",
        "/admin/ema/quarantine/",
        "/admin/ema/urinetest/",
        "/admin/ema/auditevent/",
        "/admin/scheduler/delivery/",
    ],
    "investigator": ["/studies/", "/studies/relief/snapshots/"],
    "statistician": [
        "/studies/",
        "/studies/relief/comparison/",
        "/studies/relief/outcomes/",
        "/studies/relief/snapshots/",
    ],
    "administrator": [
        "/admin/",
        "/admin/ema/study/",
        "/admin/ema/study/add/",
        "/admin/auth/user/",
        "/admin/ema/questionnaireversion/",
        "/admin/ema/questionnaireversion/add/",
        "/admin/ema/questionnaireversion/default/",
        "/admin/ema/questionnaireversion/import/",
        *(
            f"/admin/ema/questionnaireversion/{{draft}}/{name}/"
            for name in ("change", "preview", "publish", "copy")
        ),
    ],
}

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: pages are not opened"),
    pytest.mark.django_db(transaction=True),
]


@pytest.fixture
def study(transactional_db: None) -> Study:
    study = make_trial()
    for participant in study.participants.all():
        give_tests(participant, range(7, 35, 7), "-+o-")
    allocate_on(study)
    estimate_couplings(timezone.now())
    User.objects.create_superuser("administrator", password=PASSWORD)
    for role in ("coordinator", "investigator", "statistician"):
        user = User.objects.create_user(role, password=PASSWORD)
        studies.grant(user=user, role=role, study=study, site=None, actor=audit.COMMAND)
    return study


@pytest.fixture
def draft(study: Study) -> int:
    """A draft of the default questionnaire."""
    return drafts.start_from_default(study=study, actor=audit.COMMAND).pk


@pytest.fixture
def chromium(draft: int) -> Iterator["Browser"]:
    """After the records are made: Playwright's event loop keeps Django from querying beside it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize("role", PAGES)
def test_pages_open_without_complaint_and_fit(
    live_server: "LiveServer",
    chromium: "Browser",
    draft: int,
    role: str,
    width: int,
) -> None:
    page = chromium.new_page(viewport={"width": width, "height": 900})
    complaints: list[str] = []
    page.on("console", lambda said: complaints.append(said.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.goto(f"{live_server.url}/admin/login/")
    page.fill("#id_username", role)
    page.fill("#id_password", PASSWORD)
    page.click("input[type=submit]")
    for path in (path.format(draft=draft) for path in PAGES[role]):
        answer = page.goto(f"{live_server.url}{path}")
        assert answer
        assert answer.status == 200, path
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        overflow = page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert overflow <= 0, f"{path} is {overflow} px wider than {width} px"
    assert complaints == []
