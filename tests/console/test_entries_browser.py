"""Double entry in a real browser: each state of an entry, and a decision by mouse and keys."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import TYPE_CHECKING
from uuid import uuid4

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from ema import double_entry, studies
from ema.audit import COMMAND, Actor
from ema.models import DoubleEntry, Study
from ema.urine import Entry
from ema.urine_batch import record_results
from screenshots.chromium import CHROMIUM
from tests import trial
from tests.browsing import Visitor
from tests.console.test_adverse_events import HEADACHE
from tests.console.test_urine import due

if TYPE_CHECKING:
    from playwright.sync_api import Browser
    from pytest_django.live_server_helper import LiveServer

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: pages are not opened"),
    pytest.mark.django_db(transaction=True),
]
PATH = "/studies/demo/entries/"


@pytest.fixture
def session(transactional_db: None) -> str:
    """Cora's, who made one first entry; Carl made another, and a test was entered differently."""
    study = trial.make_study()
    Study.objects.update(double_entry=True, urine_weekdays=[1, 3, 5])
    person = trial.enrol(
        Study.objects.get(pk=study.pk), "S1-001", "UTC", datetime(2026, 5, 1, tzinfo=UTC)
    )
    cora, carl = (User.objects.create_user(name) for name in ("cora", "carl"))
    now, test = timezone.now(), due(person)
    for user, result in ((cora, "negative"), (carl, "positive")):
        studies.grant(user=user, role="coordinator", study=study, site=None, actor=COMMAND)
        by = Actor(user, "page")
        said = HEADACHE | {"description": user.username}
        double_entry.report_event(participant=person, key=uuid4(), said=said, now=now, actor=by)
        record_results(entries=[Entry(test.pk, result, test.due_on)], now=now, actor=by)
    client = Client()
    client.force_login(cora)
    return client.cookies["sessionid"].value


@pytest.fixture
def numbers(session: str) -> list[int]:
    """Of Cora's event, of the test and of Carl's event."""
    return list(DoubleEntry.objects.order_by("pk").values_list("pk", flat=True))


@pytest.fixture
def chromium(numbers: list[int]) -> Iterator["Browser"]:
    """After the records are made: Playwright's event loop keeps Django from querying beside it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def test_every_state_of_an_entry_can_be_read_and_one_is_decided(
    live_server: "LiveServer", chromium: "Browser", session: str, numbers: list[int]
) -> None:
    visitor = Visitor(chromium, live_server.url, session)
    mine, differ, theirs = (f"{PATH}{number}/" for number in numbers)
    assert {mine, differ, theirs} <= set(visitor.visit(PATH))
    for path in (mine, theirs, "/studies/demo/urine/", differ):
        visitor.judged.clear()
        visitor.visit(path)
    page = visitor.page
    page.get_by_label("what carl wrote").check()
    page.get_by_label("Reason").fill("the strip says so")
    page.get_by_role("button", name="Decide").click()
    page.wait_for_url(f"**{PATH}")
    assert "stands now" in page.locator(".messagelist").inner_text()
    visitor.visit(differ)
    assert "Decided by cora" in page.content()
    assert visitor.complaints == []
