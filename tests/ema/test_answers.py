"""What contradicts the questionnaire is found in answers, which are kept as they came."""

import uuid
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from ema.questionnaires.answers import contradictions
from ema.questionnaires.default import document
from tests import trial
from tests.ema.test_admin import page, sign_in
from tests.ema.test_questionnaires import EVERY_KIND, JSON

GOOD: dict[str, Any] = {
    "stress": 62,
    "craving": 3,
    "company": ["nobody"],
    "drinks": 2,
    "woke": "07:05",
    "event": False,
}


def sent(values: dict[str, Any], **skipped: str) -> list[dict[str, Any]]:
    answers: list[dict[str, Any]] = [{"item": k, "value": v} for k, v in values.items()]
    return answers + [{"item": k, "value": None, "skip": why} for k, why in skipped.items()]


def complete(**changes: Any) -> dict[str, Any]:
    items = [{"required": True, "skip_reasons": [], **item} for item in EVERY_KIND["items"]]
    return EVERY_KIND | {"items": items}


def found(answers: list[dict[str, Any]]) -> list[tuple[str, str]]:
    return [(each.item, each.code) for each in contradictions(complete(), answers)]


def test_answers_that_follow_the_questionnaire_contradict_nothing() -> None:
    assert found(sent(GOOD)) == []
    whole = GOOD | {"event": True, "company": [2], "note": "noise"}
    assert found(sent(whole)) == []


def test_a_skipped_item_hides_what_depends_on_it() -> None:
    values = {key: value for key, value in GOOD.items() if key not in ("stress", "drinks")}
    assert found(sent(values, stress="later")) == []


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"stress": 100.5}, "out_of_range"),
        ({"drinks": 2.55}, "too_many_decimals"),
        ({"drinks": "much"}, "wrong_type"),
        ({"craving": True}, "wrong_type"),
        ({"craving": 6}, "out_of_range"),
        ({"company": "nobody"}, "wrong_type"),
        ({"company": ["nobody", 2]}, "not_alone"),
        ({"company": [2, 2]}, "unknown_choice"),
        ({"company": ["2"]}, "unknown_choice"),
        ({"company": [True]}, "unknown_choice"),
        ({"drinks": -1}, "out_of_range"),
        ({"woke": "7:05"}, "wrong_type"),
        ({"woke": "24:00"}, "wrong_type"),
        ({"event": "no"}, "wrong_type"),
        ({"event": True, "company": [2], "note": "x" * 81}, "too_long"),
        ({"event": True, "company": [2], "note": 7}, "wrong_type"),
        ({"note": "not asked"}, "not_shown"),
        ({"weather": "rain"}, "unknown_item"),
    ],
)
def test_a_contradiction_is_named(changes: dict[str, Any], code: str) -> None:
    item = list(changes)[-1]
    assert found(sent(GOOD | changes)) == [(item, code)]


def test_missing_answers_and_reasons_are_named() -> None:
    values = {key: value for key, value in GOOD.items() if key not in ("woke", "event")}
    assert found(sent(values, woke="because")) == [
        ("woke", "unknown_skip_reason"),
        ("event", "missing"),
    ]
    assert found([*sent(GOOD), {"item": "event", "value": True}]) == [("event", "answered_twice")]


answers = st.lists(
    st.builds(
        lambda item, value, skip: {"item": item, "value": value, "skip": skip},
        st.sampled_from([item["key"] for item in EVERY_KIND["items"]]),
        JSON | st.floats(allow_nan=False),
        st.none() | st.text(max_size=5),
    ),
    max_size=8,
)


@given(answers)
def test_whatever_a_phone_sends_is_judged_and_never_breaks(given_: list[dict[str, Any]]) -> None:
    assert {code for _, code in found(given_)} <= {
        *("out_of_range", "too_many_decimals", "wrong_type", "not_alone", "unknown_choice"),
        *("too_long", "not_shown", "unknown_item", "answered_twice", "missing"),
        "unknown_skip_reason",
    }


@pytest.mark.django_db
def test_a_coordinator_reads_what_contradicts_the_questionnaire() -> None:
    study = trial.make_study()
    phone = trial.redeem(trial.enrol(study, "S1-001", "UTC", timezone.now()))
    client = sign_in("cora", study, "coordinator")
    for answers, sentence in (
        (sent({"stress": 50, "craving": 101, "pain": 0}), "craving: 101 is not between 0 and 100."),
        (sent({"stress": 50, "craving": 1, "pain": 0, "mood": 3}), "mood: There is no such item."),
        (sent({"stress": 50, "craving": 1}), "pain: It is required, and has neither"),
        (sent({"stress": 50, "craving": 1, "pain": 0}), ""),
    ):
        item = {
            "id": str(uuid.uuid4()),
            "trigger": "self_initiated",
            "questionnaire": {"key": "hourly", "version": 1},
            "completed_at": timezone.now().isoformat(),
            "answers": answers,
        }
        status = Client().post(
            "/api/v1/me/submissions:batch",
            {"items": [item]},
            content_type="application/json",
            headers={"Authorization": f"Bearer {phone.access_token}"},
        )
        assert status.json()["items"][0]["status"] == "created"
        shown = page(client.get(f"/admin/ema/response/{item['id']}/change/"))
        if sentence:
            assert sentence in shown
        else:
            assert not any(f"({code})" in shown for code in ("missing", "unknown_item"))


def test_a_follow_up_is_asked_only_after_a_stressful_event() -> None:
    content = document()
    content["items"] = [{"required": True, **item} for item in content["items"]]
    values = {"stress": 1, "craving": 2, "pain": 3, "mood": 4, "place": "home", "company": []}
    calm, upset = (
        sent(values | {"stressful_event": False}),
        sent(values | {"stressful_event": True}),
    )
    assert contradictions(content, calm) == []
    assert [each.item for each in contradictions(content, upset)] == ["event_about"]
