"""The preview in a real browser: branching, languages, what would be sent."""

import json
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import pytest
from django.contrib.auth.models import User
from django.test import Client

from ema import audit
from ema.questionnaires import answers as judged
from ema.questionnaires import drafts
from ema.questionnaires.default import document
from screenshots.chromium import CHROMIUM
from tests import trial
from tests.ema.test_branching import CASES
from tests.ema.test_questionnaires import EVERY_KIND

if TYPE_CHECKING:
    from playwright.sync_api import Page
    from pytest_django.live_server_helper import LiveServer

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed: pages are not opened"),
    pytest.mark.django_db(transaction=True),
]


@pytest.fixture
def addresses(transactional_db: None) -> list[str]:
    """Of the preview of the default, and of a version with an item of every kind."""
    study = trial.make_study()
    made = [
        drafts.start_from_default(study=study, actor=audit.COMMAND),
        drafts.bring_in(study=study, document=EVERY_KIND, actor=audit.COMMAND),
    ]
    return [f"/admin/ema/questionnaireversion/{each.pk}/preview/" for each in made]


@pytest.fixture
def session(transactional_db: None) -> str:
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    return client.cookies["sessionid"].value


@pytest.fixture
def browser_page(addresses: list[str], session: str, live_server: "LiveServer") -> Iterator["Page"]:
    """Signed in; whatever the console complains about fails the test."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 900})
        page.context.add_cookies([{"name": "sessionid", "value": session, "url": live_server.url}])
        complaints: list[str] = []
        page.on("console", lambda said: complaints.append(said.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        yield page
        browser.close()
        assert complaints == []


def sent(page: "Page") -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(page.inner_text("#answers"))
    return found


def test_a_follow_up_is_shown_only_after_a_stressful_event(
    browser_page: "Page", live_server: "LiveServer", addresses: list[str]
) -> None:
    page = browser_page
    page.goto(live_server.url + addresses[0])
    follow_up = page.locator("#item-event_about")
    assert follow_up.is_hidden()
    event = page.locator("#item-stressful_event")
    event.get_by_label("Yes").check()
    assert follow_up.is_visible()
    follow_up.get_by_label("Something else").check()
    assert {"item": "event_about", "value": "other"} in sent(page)
    event.get_by_label("No", exact=True).check()
    assert follow_up.is_hidden()
    assert sent(page) == [{"item": "stressful_event", "value": False}]
    page.locator("#stressful_event-skip").select_option(label="I prefer not to say")
    assert sent(page) == [{"item": "stressful_event", "value": None, "skip": "prefer_not_to_say"}]


def test_the_language_changes_and_answers_stay(
    browser_page: "Page", live_server: "LiveServer", addresses: list[str]
) -> None:
    page = browser_page
    page.goto(live_server.url + addresses[0])
    page.get_by_label("How stressed did you feel?", exact=True).press("End")
    page.get_by_label("At home").check()
    before = sent(page)
    page.locator("#language").select_option("de")
    assert page.inner_text("#preview-title") == "Die letzte Stunde"
    assert page.get_by_label("Zu Hause", exact=True).is_checked()
    assert "in der letzten Stunde" in page.inner_text("#item-stress")
    assert (
        sent(page)
        == before
        == [
            {"item": "stress", "value": 100},
            {"item": "place", "value": "home"},
        ]
    )


def test_a_whole_questionnaire_is_answered_without_contradiction(
    browser_page: "Page", live_server: "LiveServer", addresses: list[str]
) -> None:
    page = browser_page
    page.goto(live_server.url + addresses[0])
    for label in ("stressed", "craving", "pain", "mood"):
        page.locator(f'input[type=range][aria-label*="{label}"]').press("ArrowRight")
    page.get_by_label("On the way").check()
    page.get_by_label("Nobody").check()
    page.get_by_label("Friends").check()
    assert not page.get_by_label("Nobody").is_checked()
    page.locator("#item-stressful_event").get_by_label("Yes").check()
    assert page.inner_text("#progress") == "1 required item to go."
    page.get_by_label("Something else").check()
    assert page.inner_text("#progress") == "Complete."
    content = document()
    content["items"] = [{"required": True, **item} for item in content["items"]]
    assert judged.contradictions(content, sent(page)) == []


def test_every_kind_of_item_can_be_answered(
    browser_page: "Page", live_server: "LiveServer", addresses: list[str]
) -> None:
    page = browser_page
    page.goto(live_server.url + addresses[1])
    page.locator("#item-stress input").press("End")
    page.get_by_label("1 None").check()
    page.get_by_label("Two").check()
    page.locator("#item-drinks input").fill("2.5")
    page.locator("#item-woke input").fill("07:05")
    page.locator("#item-event").get_by_label("Yes").check()
    page.locator("#item-note textarea").fill("x" * 100)
    values = {each["item"]: each["value"] for each in sent(page)}
    assert values == {
        "stress": 100,
        "craving": 1,
        "company": [2],
        "drinks": 2.5,
        "woke": "07:05",
        "event": True,
        "note": "x" * 80,
    }
    page.locator("#item-drinks input").fill("-1")
    assert "drinks" not in {each["item"] for each in sent(page)}


def test_the_browser_agrees_on_the_branching_cases(
    browser_page: "Page", live_server: "LiveServer", addresses: list[str]
) -> None:
    page = browser_page
    page.goto(live_server.url + addresses[0])
    script = "cases => cases.map(c => fourbeatBranching.shown(c.items, c.answers))"
    assert page.evaluate(script, CASES) == [case["shown"] for case in CASES]
