"""The inbox in a real browser: by keyboard alone, in both looks, without a complaint."""

import re
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from ema import alerts, audit, studies
from screenshots.chromium import CHROMIUM
from tests import trial
from tests.browsing import Visitor
from tests.ema.alert_rules import add_rule, an_answer

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page
    from pytest_django.live_server_helper import LiveServer

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: pages are not opened"),
    pytest.mark.django_db(transaction=True),
]
FOCUSED = "(document.activeElement.innerText || document.activeElement.name || '').trim()"
MOST_STOPS = 60


@pytest.fixture
def session(transactional_db: None) -> str:
    """A coordinator's, in a study with two open alerts."""
    study = trial.make_study()
    person = trial.enrol(study, "S1-001", "Europe/Brussels", timezone.now())
    trial.redeem(person)
    add_rule(study, title="Strong craving", severity="urgent")
    for craving in (95, 96):
        an_answer(person, craving=craving)
    alerts.find_alerts(timezone.now())
    user = User.objects.create_user("cora")
    studies.grant(user=user, role="coordinator", study=study, site=None, actor=audit.COMMAND)
    client = Client()
    client.force_login(user)
    return client.cookies["sessionid"].value


@pytest.fixture
def chromium(session: str) -> Iterator["Browser"]:
    """After the records are made: Playwright's event loop keeps Django from querying beside it."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def tab_to(page: "Page", words: str) -> None:
    """Press Tab until what these words begin has the focus."""
    for _ in range(MOST_STOPS):
        page.keyboard.press("Tab")
        if page.evaluate(FOCUSED).startswith(words):
            return
    raise AssertionError(f"no Tab leads to {words!r}")


def test_an_alert_is_acknowledged_and_noted_by_keyboard_alone(
    live_server: "LiveServer", chromium: "Browser", session: str
) -> None:
    visitor = Visitor(chromium, live_server.url, session)
    page = visitor.page
    visitor.visit("/studies/demo/alerts/")
    assert page.locator(".study-pages .pill-waiting").inner_text().startswith("2")
    tab_to(page, "Acknowledge")
    page.keyboard.press("Enter")
    page.wait_for_url("**/alerts/*/#acknowledge")
    tab_to(page, "Choose")
    page.keyboard.type("called the")
    tab_to(page, "text")
    page.keyboard.type("Spoke to them, all is well.")
    visitor.look()
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.wait_for_url("**/alerts/")
    visitor.look()
    assert "is acknowledged" in page.locator(".messagelist").inner_text()
    assert page.locator(".study-pages .pill-waiting").inner_text().startswith("1")
    page.goto(f"{live_server.url}/studies/demo/alerts/?state=acknowledged")
    visitor.look()
    assert "Spoke to them, all is well." in page.content()
    tab_to(page, "S1-001")
    page.keyboard.press("Enter")
    page.wait_for_url("**/alerts/*/")
    tab_to(page, "text")
    page.keyboard.type("Called again.")
    page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator(".messagelist").wait_for()
    visitor.look()
    assert "Called again." in page.locator(".notes").inner_text()
    assert visitor.complaints == []


def test_an_incomplete_form_is_not_sent_and_pages_of_alerts_complain_of_nothing(
    live_server: "LiveServer", chromium: "Browser", session: str
) -> None:
    visitor = Visitor(chromium, live_server.url, session)
    visitor.visit("/studies/demo/alerts/rules/")
    one = re.compile(r"/alerts/[0-9]+/$")
    first = next(filter(one.search, visitor.visit("/studies/demo/alerts/")))
    visitor.visit(first)
    visitor.page.click("#acknowledge input[type=submit]")
    assert visitor.page.url.endswith(first)  # the browser asks for what is missing
    assert visitor.complaints == []
