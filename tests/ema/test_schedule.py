"""Reading the schedule and reporting on it: /me/schedule, /me/events:batch, /questionnaires."""

import hashlib
import json
import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from ema import audit, studies
from ema.models import Participant, Phase, PhoneEvent, Prompt, ScheduleChange
from ema.questionnaires import drafts
from ema.tokens import Admission
from tests import trial

pytestmark = pytest.mark.django_db


@pytest.fixture
def phone() -> Admission:
    return trial.redeem(
        trial.enrol(trial.make_study(), "S1-001", "Europe/Brussels", timezone.now())
    )


def make_prompt(
    participant: Participant, due_at: datetime, ordinal: int = 1, **more: Any
) -> Prompt:
    phase = Phase.objects.get(study=participant.study)
    return Prompt.objects.create(
        participant=participant,
        phase=phase,
        questionnaire=phase.questionnaire,
        study_on=due_at.date(),
        study_day=1,
        ordinal=ordinal,
        due_at=due_at,
        expires_at=due_at + timedelta(minutes=30),
        zone="Europe/Brussels",
        tzdata="2026f",
        planned_at=timezone.now(),
        **more,
    )


def get(phone: Admission, path: str, **headers: str) -> Any:
    return Client().get(path, headers={"Authorization": f"Bearer {phone.access_token}", **headers})


def report(phone: Admission, events: list[dict[str, Any]]) -> list[str]:
    answer = Client().post(
        "/api/v1/me/events:batch",
        json.dumps({"client": {"sent_at": timezone.now().isoformat()}, "items": events}),
        content_type="application/json",
        headers={"Authorization": f"Bearer {phone.access_token}"},
    )
    assert answer.status_code == 200, answer.content
    return [each["status"] for each in answer.json()["items"]]


def event(prompt: Prompt, kind: str, at: datetime) -> dict[str, Any]:
    return {
        "id": str(uuid.uuid4()),
        "prompt_id": str(prompt.pk),
        "kind": kind,
        "at": at.isoformat(),
    }


def test_a_phone_reads_its_coming_prompts_and_releases_them(phone: Admission) -> None:
    soon = timezone.now() + timedelta(hours=2)
    coming = make_prompt(phone.device.participant, soon)
    far = make_prompt(phone.device.participant, soon + timedelta(days=9))
    body = get(phone, "/api/v1/me/schedule").json()
    [entry] = body["prompts"]
    assert entry["id"] == str(coming.pk)
    assert datetime.fromisoformat(entry["due_local"]) == coming.due_at
    assert entry["questionnaire"]["key"] == "hourly"
    coming.refresh_from_db()
    far.refresh_from_db()
    assert coming.released_at is not None
    assert far.released_at is None


def test_an_unchanged_schedule_costs_nothing(phone: Admission) -> None:
    make_prompt(phone.device.participant, timezone.now() + timedelta(hours=2))
    first = get(phone, "/api/v1/me/schedule")
    again = get(phone, "/api/v1/me/schedule", **{"If-None-Match": first["ETag"]})
    assert again.status_code == 304
    assert not again.content


def test_cancelled_prompts_are_named_so_that_the_phone_disarms_them(phone: Admission) -> None:
    now = timezone.now()
    prompt = make_prompt(
        phone.device.participant,
        now + timedelta(hours=2),
        cancelled_at=now,
        cancel_reason="withdrawn",
    )
    body = get(phone, "/api/v1/me/schedule").json()
    assert body["prompts"] == []
    assert body["cancelled"] == [str(prompt.pk)]


def test_another_participants_prompts_are_never_shown(phone: Admission) -> None:
    other = trial.enrol(phone.device.participant.study, "S1-002", "UTC", timezone.now())
    make_prompt(other, timezone.now() + timedelta(hours=2))
    assert get(phone, "/api/v1/me/schedule").json()["prompts"] == []


def test_a_phone_may_read_what_is_behind(phone: Admission) -> None:
    past = make_prompt(phone.device.participant, timezone.now() - timedelta(days=20))
    since = (past.due_at - timedelta(hours=1)).isoformat().replace("+", "%2B")
    [entry] = get(phone, f"/api/v1/me/schedule?since={since}&horizon=14d").json()["prompts"]
    assert entry["id"] == str(past.pk)


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ("horizon=99d", "/horizon"),
        ("horizon=week", "/horizon"),
        ("since=x", "/since"),
        ("since=9999-12-31T00:00:00Z", "/since"),
    ],
)
def test_a_wrong_query_names_its_field(phone: Admission, query: str, pointer: str) -> None:
    answer = get(phone, f"/api/v1/me/schedule?{query}")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == pointer


def test_reports_fill_the_ledger_and_the_earliest_stands(phone: Admission) -> None:
    due = timezone.now() - timedelta(minutes=10)
    prompt = make_prompt(phone.device.participant, due)
    armed = event(prompt, "armed", due - timedelta(days=1))
    shown = event(prompt, "shown", due + timedelta(seconds=3))
    assert report(phone, [armed, shown]) == ["stored", "stored"]
    assert (
        report(phone, [armed, event(prompt, "shown", due + timedelta(minutes=5))]) == ["stored"] * 2
    )
    prompt.refresh_from_db()
    assert prompt.armed_at is not None
    assert prompt.shown_at is not None
    assert abs(prompt.armed_at - (due - timedelta(days=1))) < timedelta(seconds=5)
    assert abs(prompt.shown_at - due) < timedelta(seconds=10)


def test_a_report_on_somebody_elses_prompt_is_ignored(phone: Admission) -> None:
    other = trial.enrol(phone.device.participant.study, "S1-002", "UTC", timezone.now())
    prompt = make_prompt(other, timezone.now())
    assert report(phone, [event(prompt, "armed", timezone.now())]) == ["ignored"]
    assert report(phone, [{"id": "x"}]) == ["ignored"]
    prompt.refresh_from_db()
    assert prompt.armed_at is None


def test_a_replaced_phone_reads_and_arms_nothing(phone: Admission) -> None:
    prompt = make_prompt(phone.device.participant, timezone.now() + timedelta(hours=1))
    trial.redeem(phone.device.participant)
    assert report(phone, [event(prompt, "armed", timezone.now())]) == ["ignored"]
    prompt.refresh_from_db()
    assert prompt.armed_at is None
    refused = get(phone, "/api/v1/me/schedule")
    assert (refused.status_code, refused.json()["code"]) == (403, "device_replaced")


def test_an_event_at_an_impossible_time_spoils_nothing(phone: Admission) -> None:
    prompt = make_prompt(phone.device.participant, timezone.now() + timedelta(hours=1))
    broken = {**event(prompt, "armed", timezone.now()), "at": "0001-01-01T00:00:00+14:00"}
    assert report(phone, [broken]) == ["ignored"]
    assert get(phone, "/api/v1/me/schedule").status_code == 200


def test_somebody_elses_event_id_is_not_said_to_be_stored(phone: Admission) -> None:
    prompt = make_prompt(phone.device.participant, timezone.now())
    sent = event(prompt, "opened", timezone.now())
    other = trial.redeem(
        trial.enrol(phone.device.participant.study, "S1-002", "UTC", timezone.now())
    )
    theirs = make_prompt(other.device.participant, timezone.now())
    assert report(other, [{**sent, "prompt_id": str(theirs.pk)}]) == ["stored"]
    assert report(phone, [sent]) == ["ignored"]


def happened(kind: str, at: datetime, **said: Any) -> dict[str, Any]:
    return {"id": str(uuid.uuid4()), "kind": kind, "at": at.isoformat(), **said}


def test_a_phone_in_another_zone_is_followed_and_an_older_report_is_not(phone: Admission) -> None:
    now = timezone.now()
    tokyo = happened("zone_changed", now, tz="Asia/Tokyo", seq=7)
    assert report(phone, [tokyo]) == ["stored"]
    late = happened("zone_changed", now - timedelta(hours=9), tz="Europe/Lisbon", seq=3)
    assert report(phone, [late, tokyo]) == ["stored", "stored"]
    assert Participant.objects.get().zone == "Asia/Tokyo"
    [change] = ScheduleChange.objects.all()
    assert (change.zone_before, change.zone) == ("Europe/Brussels", "Asia/Tokyo")
    assert set(PhoneEvent.objects.values_list("detail", "seq")) == {
        ("Asia/Tokyo", 7),
        ("Europe/Lisbon", 3),
    }


def test_of_two_moves_in_a_batch_the_last_counts(phone: Admission) -> None:
    now = timezone.now()
    moves = [
        happened("zone_changed", now, tz="Asia/Katmandu"),
        happened("zone_changed", now - timedelta(hours=1), tz="Asia/Tokyo"),
    ]
    assert report(phone, moves) == ["stored", "stored"]
    assert Participant.objects.get().zone == "Asia/Katmandu"


def test_a_zone_that_nobody_knows_is_kept_and_not_followed(phone: Admission) -> None:
    sent = happened("zone_changed", timezone.now(), tz="Atlantis/Main")
    assert report(phone, [sent]) == ["stored"]
    assert Participant.objects.get().zone == "Europe/Brussels"
    assert PhoneEvent.objects.get().detail == "Atlantis/Main"


@pytest.mark.parametrize(
    ("kind", "said"),
    [("zone_changed", {}), ("notifications_changed", {}), ("shown", {}), ("exploded", {})],
)
def test_an_event_that_does_not_say_what_it_is_about_is_ignored(
    phone: Admission, kind: str, said: dict[str, Any]
) -> None:
    assert report(phone, [happened(kind, timezone.now(), **said)]) == ["ignored"]


def test_settings_of_the_phone_are_kept(phone: Admission) -> None:
    now = timezone.now()
    events = [
        happened("notifications_changed", now, allowed=False),
        happened("clock_changed", now),
    ]
    assert report(phone, events) == ["stored", "stored"]
    assert set(PhoneEvent.objects.values_list("kind", "detail")) == {
        ("notifications_changed", "denied"),
        ("clock_changed", ""),
    }


def test_a_published_questionnaire_is_read_once_and_for_good(phone: Admission) -> None:
    answer = get(phone, "/api/v1/questionnaires/hourly/1")
    assert [each["key"] for each in answer.json()["items"]] == ["stress", "craving", "pain"]
    assert "immutable" in answer["Cache-Control"]
    assert get(phone, "/api/v1/questionnaires/hourly/2").json()["code"] == "questionnaire_unknown"


def test_what_a_phone_reads_is_what_was_hashed(phone: Admission) -> None:
    study = phone.device.participant.study
    version = drafts.start_from_default(study=study, actor=audit.COMMAND)
    assert get(phone, "/api/v1/questionnaires/hourly/2").status_code == 404
    studies.publish(version=version, now=timezone.now(), actor=audit.COMMAND)
    read = get(phone, "/api/v1/questionnaires/hourly/2").json()
    sha256 = read.pop("sha256")
    text = json.dumps(read, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert hashlib.sha256(text.encode()).hexdigest() == sha256 == version.sha256


def test_the_servers_clock_can_be_read_without_a_token() -> None:
    body = Client().get("/api/v1/time").json()
    told = datetime.fromisoformat(body["server_time"])
    assert abs(timezone.now() - told) < timedelta(seconds=5)
