"""What participants decide and ask for: preferences, withdrawal, their own data, the config."""

import json
import uuid
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from ema import audit, languages, pauses, travel, vapid, visits, withdrawal
from ema.models import (
    AuditEvent,
    Participant,
    Pause,
    Phase,
    PhaseStart,
    Prompt,
    PushRegistration,
    Response,
    ScheduleChange,
)
from ema.tokens import Admission
from scheduler.planning import plan_prompts
from tests import trial
from tests.ema.test_schedule import make_prompt
from tests.ema.uploading import item, statuses, submit

pytestmark = pytest.mark.django_db

PATHS = ("preferences", "config", "data")
NIGHTS = [{"weekdays": [1, 2, 3, 4, 5, 6, 7], "start": "20:00", "end": "06:00"}]


@pytest.fixture
def phone() -> Admission:
    return trial.redeem(
        trial.enrol(trial.make_study(), "S1-001", "Europe/Brussels", timezone.now())
    )


def call(phone: Admission, method: str, path: str, body: Any = None, **headers: str) -> Any:
    return Client().generic(
        method,
        f"/api/v1/me/{path}",
        b"" if body is None else json.dumps(body).encode(),
        content_type="application/json",
        headers={"Authorization": f"Bearer {phone.access_token}", **headers},
    )


def prefer(phone: Admission, **asked: Any) -> Any:
    return call(phone, "PATCH", "preferences", asked)


def someone(phone: Admission) -> Participant:
    return Participant.objects.get(pk=phone.device.participant_id)


def faults(answer: Any) -> dict[str, str]:
    assert (answer.status_code, answer.json()["code"]) == (422, "preferences_refused")
    assert answer["Content-Type"] == "application/problem+json"
    return {each["pointer"]: each["detail"] for each in answer.json()["errors"]}


def in_two_languages(phone: Admission) -> None:
    study = phone.device.participant.study
    Phase.objects.get(study=study)  # one, whose questionnaire speaks English
    study.contact = {"nl": "Bel 0123."}
    study.save()


def test_preferences_are_changed_together_and_read_back(phone: Admission) -> None:
    in_two_languages(phone)
    until = (timezone.now() + timedelta(days=2)).replace(microsecond=0)
    asked = {"waking_windows": NIGHTS, "language": "nl", "pause": {"until": until.isoformat()}}
    answer = prefer(phone, **asked)
    assert answer.status_code == 200, answer.content
    told = answer.json()
    change = ScheduleChange.objects.get()
    assert told["effective_on"] == change.effective_on.isoformat()
    assert (told["waking_windows"], told["language"]) == (NIGHTS, "nl")
    assert datetime.fromisoformat(told["pause"]["until"]) == until
    assert call(phone, "GET", "preferences").json() == told
    assert answer["Cache-Control"] == "no-store"
    person = someone(phone)
    assert (person.windows, person.language) == (NIGHTS, "nl")
    about = AuditEvent.objects.filter(door="phone").exclude(action="device.enrolled")
    assert set(about.values_list("action", "site")) == {
        ("participant.schedule_changed", person.site_id),
        ("participant.language_changed", person.site_id),
        ("participant.paused", person.site_id),
    }
    assert not about.exclude(actor=None)


def test_one_fault_and_nothing_is_changed(phone: Admission) -> None:
    past = (timezone.now() - timedelta(days=1)).isoformat()
    overlapping = [*NIGHTS, {"weekdays": [1], "start": "05:00", "end": "07:00"}]
    asked = {"language": "fr", "pause": {"until": past}, "waking_windows": overlapping}
    found = faults(prefer(phone, **asked))
    assert found.keys() == {"/language", "/pause/until", "/waking_windows"}
    assert found["/language"] == "There is no 'fr' in this study. Its languages: en."
    assert "in the future" in found["/pause/until"]
    assert "overlap" in found["/waking_windows"]
    faults(prefer(phone, waking_windows=NIGHTS, language="fr"))
    assert someone(phone).windows is None
    assert not ScheduleChange.objects.exists()
    assert not Pause.objects.exists()
    assert not AuditEvent.objects.filter(action__startswith="participant.", door="phone")


@pytest.mark.parametrize(
    ("asked", "pointer", "words"),
    [
        ({"pauze": None}, "/pauze", "There is no preference 'pauze'"),
        ({"language": 5.5}, "/language", "There is no '5.5'"),
        ({"pause": {"until": "tomorrow"}}, "/pause/until", "wrong format"),
        ({"pause": {"until": "3999-12-31T23:59:59Z"}}, "/pause/until", "year must lie"),
        ({"pause": "now"}, "/pause", "Expected a dictionary"),
        ({"waking_windows": []}, "/waking_windows", "at least one window"),
        ({"waking_windows": "nights"}, "/waking_windows", "Expected a list"),
        (
            {"waking_windows": [*NIGHTS, {"weekdays": [8], "start": "8:00", "end": "22:00"}]},
            "/waking_windows/1/start",
            "Write a local time such as 08:00.",
        ),
        (
            {"waking_windows": [{"weekdays": [1], "start": "08:00", "end": "08:00"}]},
            "/waking_windows",
            "08:00",
        ),
    ],
)
def test_a_wrong_preference_is_refused_where_it_is(
    phone: Admission, asked: Any, pointer: str, words: str
) -> None:
    assert words in faults(prefer(phone, **asked))[pointer]


def test_what_is_no_object_is_refused_in_words(phone: Admission) -> None:
    assert "" in faults(call(phone, "PATCH", "preferences", ["pause"]))


def test_hours_go_back_to_the_studys(phone: Admission) -> None:
    prefer(phone, waking_windows=NIGHTS)
    assert prefer(phone, waking_windows=None).json()["waking_windows"] is None
    assert prefer(phone).json()["waking_windows"] is None
    assert ScheduleChange.objects.count() == 2


def test_a_pause_is_made_moved_and_taken_back(phone: Admission) -> None:
    prompt = make_prompt(phone.device.participant, timezone.now() + timedelta(hours=2))
    assert prefer(phone, pause={}).json()["pause"]["until"] is None
    prompt.refresh_from_db()
    assert prompt.cancel_reason == "paused"
    assert prefer(phone, pause={"until": None}).status_code == 200
    assert Pause.objects.count() == 1
    until = timezone.now() + timedelta(days=1)
    told = prefer(phone, pause={"until": until.isoformat()}).json()["pause"]
    assert datetime.fromisoformat(told["until"]) == until
    for _ in range(2):
        assert prefer(phone, pause=None).json()["pause"] is None
    assert not Pause.objects.open(timezone.now())


def test_a_stay_in_hospital_is_ended_by_the_site(phone: Admission) -> None:
    now = timezone.now()
    pauses.pause(participant=someone(phone), now=now, actor=audit.COMMAND, kind="hospital")
    assert "Your site wrote down a stay" in faults(prefer(phone, pause=None))["/pause"]
    assert call(phone, "GET", "preferences").json()["pause"]["kind"] == "hospital"


def test_whoever_withdrew_changes_nothing(phone: Admission) -> None:
    call(phone, "POST", "withdraw")
    assert "You have withdrawn" in faults(prefer(phone, pause=None))[""]


def test_the_effective_date_is_that_of_days_no_phone_has(phone: Admission) -> None:
    now = timezone.now()
    plan_prompts(now)
    call(phone, "GET", "schedule?horizon=3d")
    prefer(phone, waking_windows=NIGHTS)
    plan_prompts(now)
    change = ScheduleChange.objects.get()
    assert change.holds_from is not None
    assert change.holds_from > change.effective_on
    told = call(phone, "GET", "preferences").json()["effective_on"]
    assert told == change.holds_from.isoformat()
    ScheduleChange.objects.update(effective_on=now.date(), holds_from=now.date())
    assert call(phone, "GET", "preferences").json()["effective_on"] is None


def test_languages_are_those_of_questionnaires_and_texts(phone: Admission) -> None:
    study = phone.device.participant.study
    study.instructions = {"en": "Answer.", "fr": "Répondez."}
    assert languages.languages_of(study) == ["en", "fr"]


def test_withdrawing_cancels_what_is_to_come_and_keeps_the_first_instant(phone: Admission) -> None:
    person, now = phone.device.participant, timezone.now()
    behind = make_prompt(person, now - timedelta(minutes=5), ordinal=1)
    ahead = make_prompt(person, now + timedelta(days=2), ordinal=2)
    first = call(phone, "POST", "withdraw", {"reason": "moving away"})
    assert first.status_code == 202, first.content
    for prompt in (behind, ahead):
        prompt.refresh_from_db()
    assert (behind.cancel_reason, ahead.cancel_reason) == ("", "withdrawn")
    again = call(phone, "POST", "withdraw")
    assert (again.status_code, again.json()) == (202, first.json())
    assert first.json()["keep_data"] is None
    event = AuditEvent.objects.get(action="participant.withdrawn")
    assert (event.door, event.reason, event.site) == ("phone", "moving away", person.site)
    assert someone(phone).withdrawal_reason == "moving away"
    assert statuses(submit(phone, [item(behind)])) == ["created"]
    assert call(phone, "GET", "schedule").json()["cancelled"] == [str(ahead.pk)]


def test_what_becomes_of_the_data_may_be_said_later(phone: Admission) -> None:
    first = call(phone, "POST", "withdraw", {"keep_data": True}).json()
    second = call(phone, "POST", "withdraw", {"keep_data": False}).json()
    assert second == {**first, "keep_data": False}
    said = AuditEvent.objects.filter(action="participant.withdrawn").order_by("pk")
    assert [(each.after or {})["keep_data"] for each in said] == [True, False]
    assert call(phone, "POST", "withdraw").json() == second


def test_a_reason_that_is_too_long_is_refused(phone: Admission) -> None:
    answer = call(phone, "POST", "withdraw", {"reason": "x" * 201})
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/reason")
    assert someone(phone).withdrawn_at is None


def make_history(phone: Admission) -> Prompt:
    """One record of every kind."""
    person, now = someone(phone), timezone.now()
    prompt = make_prompt(person, now - timedelta(minutes=5))
    by: Any = {"participant": person, "now": now, "actor": audit.COMMAND}
    assert statuses(submit(phone, [item(prompt), {"id": "broken"}])) == ["created", "quarantined"]
    sent = {"id": str(uuid.uuid4()), "prompt_id": str(prompt.pk), "kind": "shown"}
    sent["at"] = now.isoformat()
    call(phone, "POST", "events:batch", {"items": [sent]})
    pauses.pause(**by, ends_at=now + timedelta(hours=1), reason="says Dr Who")
    travel.move(**by, zone="Asia/Tokyo")
    Phase.objects.filter(study=person.study).update(starts="visit", visit="baseline")
    visits.record_visit(**by, key="baseline", on_date=person.enrolled_on)
    phase = Phase.objects.get(study=person.study)
    PhaseStart.objects.create(
        participant=person, phase=phase, begins_on=person.enrolled_on, known_at=now
    )
    person.urine_tests.create(due_on=person.enrolled_on)
    PushRegistration.objects.create(
        device=phone.device, kind="fcm", address="push-secret", registered_at=now
    )
    return prompt


def test_own_data_hold_every_kind_of_record(phone: Admission) -> None:
    prompt = make_history(phone)
    answer = call(phone, "GET", "data")
    assert answer["Cache-Control"] == "no-store"
    told = answer.json()
    assert {name: len(rows) for name, rows in told.items() if isinstance(rows, list)} == {
        "prompts": 1,
        "responses": 1,
        "events": 1,
        "not_readable": 1,
        "pauses": 1,
        "schedule_changes": 1,
        "visits": 1,
        "phases": 1,
        "urine_tests": 1,
        "phones": 1,
    }
    assert told["participant"]["code"] == "S1-001"
    assert told["prompts"][0]["state"] == "answered"
    [response] = told["responses"]
    assert (response["prompt_id"], response["questionnaire_key"]) == (str(prompt.pk), "hourly")
    assert response["answers"] == Response.objects.get().answers
    assert told["phones"][0]["push_kind"] == "fcm"
    assert told["not_readable"][0]["raw"] == {"id": "broken"}


def test_own_data_tell_neither_arms_nor_names_nor_secrets(phone: Admission) -> None:
    make_history(phone)
    before = call(phone, "GET", "data").json()
    trial.allocate(someone(phone), "clonidine")
    answer = call(phone, "GET", "data")
    assert {**answer.json(), "generated_at": ""} == {**before, "generated_at": ""}
    text = answer.content.decode()
    hidden = ["clonidine", "placebo", "says Dr Who", "push-secret", phone.device.access_hash]
    assert [word for word in hidden if word in text] == []


def test_the_config_says_what_an_app_needs_and_has_an_etag(phone: Admission, settings: Any) -> None:
    settings.VAPID_PRIVATE_KEY = vapid.new_private_key()
    in_two_languages(phone)
    Phase.objects.update(self_initiated_daily_cap=3, reminders_after=[15])
    answer = call(phone, "GET", "config")
    told = answer.json()
    assert told["study"]["contact"] == {"nl": "Bel 0123."}
    assert told["languages"] == ["en", "nl"]
    assert told["phases"] == []
    assert told["push"]["kinds"] == ["webpush"]
    assert len(told["push"]["vapid_public_key"]) == 87
    assert told["limits"] == {"batch_items": 100, "body_bytes": 2097152, "schedule_days": 14}
    assert told["minimum_app_version"] is None
    assert abs(parsedate_to_datetime(answer["Date"]) - timezone.now()) < timedelta(seconds=5)
    same = call(phone, "GET", "config", **{"If-None-Match": answer["ETag"]})
    assert (same.status_code, same.content) == (304, b"")
    plan_prompts(timezone.now())
    changed = call(phone, "GET", "config", **{"If-None-Match": answer["ETag"]})
    [phase] = changed.json()["phases"]
    assert (phase["self_initiated_daily_cap"], phase["reminders_after_min"]) == (3, [15])
    assert phase["begins_on"] == someone(phone).enrolled_on.isoformat()


def test_the_config_tells_nothing_of_arms(phone: Admission) -> None:
    before = call(phone, "GET", "config").content
    trial.allocate(someone(phone), "clonidine")
    assert call(phone, "GET", "config").content == before
    assert b"clonidine" not in before


def test_a_phone_reaches_only_its_own_participant(phone: Admission) -> None:
    study = phone.device.participant.study
    other = trial.redeem(trial.enrol(study, "S1-002", "Asia/Tokyo", timezone.now()))
    make_history(other)
    told = call(phone, "GET", "data").json()
    kinds = {name for name, rows in told.items() if isinstance(rows, list) and rows}
    assert kinds == {"phones"}
    assert "S1-002" not in json.dumps(told)
    assert call(phone, "GET", "preferences").json()["pause"] is None
    assert call(phone, "GET", "preferences").json()["zone"] == "Europe/Brussels"
    assert call(phone, "GET", "config").json()["phases"] == []
    prefer(phone, waking_windows=NIGHTS)
    call(phone, "POST", "withdraw")
    left = Participant.objects.get(code="S1-002")
    assert (left.windows, left.withdrawn_at) == (None, None)


def test_a_replaced_phone_and_one_without_a_token_are_refused(phone: Admission) -> None:
    trial.redeem(phone.device.participant)
    asked = [("GET", path) for path in PATHS] + [("PATCH", "preferences"), ("POST", "withdraw")]
    for method, path in asked:
        refused = call(phone, method, path, {} if method != "GET" else None)
        assert (refused.status_code, refused.json()["code"]) == (403, "device_replaced"), path
        assert Client().generic(method, f"/api/v1/me/{path}").status_code == 401
    phone.device.revoked_at = timezone.now()
    phone.device.save()
    for method, path in asked:
        assert call(phone, method, path).status_code == 401, path
    assert someone(phone).withdrawn_at is None


def test_both_doors_withdraw_by_one_step(phone: Admission) -> None:
    now = timezone.now()
    by: Any = {"participant": someone(phone), "now": now, "actor": audit.COMMAND}
    left = withdrawal.withdraw(reason="told the site", **by)
    assert call(phone, "POST", "withdraw").json()["withdrawn_at"] == (
        left.withdrawn_at and left.withdrawn_at.isoformat().replace("+00:00", "Z")
    )


def test_an_app_that_is_too_old_reads_nothing_new_and_uploads_all_it_holds(
    phone: Admission,
) -> None:
    study = phone.device.participant.study
    study.minimum_app_version = "2.1"
    study.save()
    prompt = make_prompt(phone.device.participant, timezone.now() - timedelta(minutes=5))
    old = {"App-Version": "2.0.9"}
    refused = call(phone, "GET", "schedule", **old)
    assert (refused.status_code, refused.json()["code"]) == (426, "app_too_old")
    assert "update it to 2.1" in refused.json()["title"]
    assert refused["Upgrade"] == "app/2.1"
    for version in ("2.1", "2.10.0", "3"):
        assert call(phone, "GET", "schedule", **{"App-Version": version}).status_code == 200
    assert call(phone, "GET", "schedule").status_code == 200  # it said nothing
    assert call(phone, "GET", "config", **old).json()["minimum_app_version"] == "2.1"
    assert statuses(submit(phone, [item(prompt)], app_version="2.0.9")) == ["created"]
