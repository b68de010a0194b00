"""Rules of a study find what they are for, once, and alerts are acknowledged with what was done."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from ema import alert_findings, alerts, audit, responses
from ema.audit import Actor
from ema.models import (
    Alert,
    AlertRule,
    AuditEvent,
    Heartbeat,
    Participant,
    Pause,
    Phase,
    Prompt,
    PushRegistration,
    Study,
)
from tests import trial
from tests.ema.alert_rules import (
    CHANGE,
    CRAVING,
    SUICIDALITY,
    add_rule,
    an_answer,
    safety_questionnaire,
)

pytestmark = pytest.mark.django_db
HOUR, DAY = timedelta(hours=1), timedelta(days=1)


@pytest.fixture
def person(study: Study) -> Participant:
    participant = trial.enrol(study, "S1-001", "Europe/Brussels", timezone.now() - 30 * DAY)
    trial.redeem(participant)
    participant.devices.update(enrolled_at=timezone.now() - 30 * DAY)
    return participant


def look() -> list[str]:
    """Look at the rules; what all alerts found, the oldest first."""
    alerts.find_alerts(timezone.now())
    return list(Alert.objects.order_by("pk").values_list("finding", flat=True))


# --- answers ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rule", "answered", "finding"),
    [
        (CRAVING, {"craving": 90}, "craving: 90"),
        (CRAVING, {"craving": 89.5}, None),
        (CRAVING, {"craving": None}, None),
        (CRAVING, {"stress": 100}, None),
        ({**CRAVING, "operator": "at_most", "value": "10"}, {"craving": 10}, "craving: 10"),
        ({**CRAVING, "operator": "is", "value": "50"}, {"craving": 50.0}, "craving: 50"),
        (SUICIDALITY, {"suicidality": True}, "suicidality: yes"),
        (SUICIDALITY, {"suicidality": False}, None),
        ({**SUICIDALITY, "value": "no"}, {"suicidality": False}, "suicidality: no"),
        ({**SUICIDALITY, "item": "place", "value": "street"}, {"place": "street"}, "place: street"),
        ({**SUICIDALITY, "item": "place", "value": "street"}, {"place": "home"}, None),
        (
            {**SUICIDALITY, "item": "company", "value": "street"},
            {"company": ["home", "street"]},
            "company: home, street",
        ),
    ],
)
def test_an_answer_that_a_rule_looks_for_raises_an_alert(
    study: Study, person: Participant, rule: dict[str, Any], answered: Any, finding: str | None
) -> None:
    safety_questionnaire(study)
    made = add_rule(study, **rule)
    response = an_answer(person, **answered)
    assert look() == ([finding] if finding else [])
    for alert in Alert.objects.all():
        assert alert.rule_sha256 == made.content_hash()
        assert alert.rule_content["value"] == rule["value"]
        assert (alert.response, alert.known_at) == (response, response.received_at)


def test_an_answer_makes_one_alert_however_often_rules_are_looked_at(
    study: Study, person: Participant
) -> None:
    add_rule(study)
    an_answer(person, craving=95)
    assert look() == look() == ["craving: 95"]
    an_answer(person, craving=96)
    assert look() == ["craving: 95", "craving: 96"]


def test_an_answer_that_arrives_days_late_raises_an_alert(
    study: Study, person: Participant
) -> None:
    add_rule(study)
    look()
    done = timezone.now() - 5 * DAY
    an_answer(person, craving=95, at=done)
    assert look() == ["craving: 95"]
    assert Alert.objects.get().occurred_at == done


def test_an_answer_that_is_committed_after_a_later_one_is_looked_at(
    study: Study, person: Participant
) -> None:
    add_rule(study)
    look()
    an_answer(person, craving=95, received_at=timezone.now() - timedelta(seconds=90))
    assert look() == ["craving: 95"]


def test_what_arrived_during_an_outage_is_found_afterwards(
    study: Study, person: Participant
) -> None:
    rule = add_rule(study, since=timezone.now() - 3 * DAY)
    an_answer(person, craving=95, received_at=timezone.now() - 2 * DAY)
    assert look() == ["craving: 95"]
    rule.refresh_from_db()
    assert rule.watched_until is not None
    assert rule.watched_until > timezone.now() - HOUR


def test_what_a_long_outage_left_is_worked_off_in_parts_that_are_kept(
    study: Study, person: Participant, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alert_findings, "CHUNK", 3)
    begun = timezone.now() - DAY
    for kind in ({}, CHANGE, {"kind": "clock", "amount": 10}):
        add_rule(study, **kind, since=begun)
    arrivals = [begun + number * HOUR for number in range(8)]
    for number, at in enumerate(arrivals):
        an_answer(person, craving=90 + number, received_at=at, at=at)
    rule = AlertRule.objects.get(kind="answer")
    parts = list(alert_findings.windows(rule))
    assert [part.until for part in parts] == [arrivals[2], arrivals[5], None]
    assert look() == [f"craving: {90 + number}" for number in range(8)]


def test_what_arrived_before_a_rule_was_switched_on_raises_nothing(
    study: Study, person: Participant
) -> None:
    an_answer(person, craving=95, received_at=timezone.now() - timedelta(seconds=5))
    rule = add_rule(study, since=timezone.now())
    assert look() == []
    AlertRule.objects.filter(pk=rule.pk).update(active_since=None)
    an_answer(person, craving=95)
    assert look() == []


def test_a_study_that_is_locked_or_another_study_raises_nothing(
    study: Study, person: Participant
) -> None:
    add_rule(study)
    other = trial.enrol(trial.make_study("other"), "O1-001", "UTC", timezone.now())
    trial.redeem(other)
    an_answer(other, craving=95)
    assert look() == []
    an_answer(person, craving=95)
    Study.objects.filter(pk=study.pk).update(locked_at=timezone.now())
    assert look() == []


def test_a_rule_that_breaks_does_not_silence_the_others(
    study: Study, person: Participant, caplog: pytest.LogCaptureFixture
) -> None:
    other = trial.enrol(trial.make_study("a-broken-one"), "B1-001", "UTC", timezone.now())
    response = an_answer(other)
    response.answers = {"craving": 95}  # what no phone can store
    response.save()
    for each in (other.study, study):
        add_rule(each)
    an_answer(person, craving=95)
    assert look() == ["craving: 95"]
    assert "of study a-broken-one broke" in caplog.text
    assert not Heartbeat.objects.filter(name=alerts.HEARTBEAT).exists()


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_make_one_alert_of_an_answer(study: Study, person: Participant) -> None:
    add_rule(study)
    for value in range(90, 100):
        an_answer(person, craving=value)

    def work(_: int) -> None:
        alerts.find_alerts(timezone.now())
        connection.close()

    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(work, range(8)))
    assert Alert.objects.count() == 10


def test_taking_in_answers_reads_and_writes_nothing_of_alerts() -> None:
    assert "alert" not in responses.INSERT


# --- changes ----------------------------------------------------------------------------


def days_of_stress(person: Participant, values: list[float]) -> None:
    for number, value in enumerate(values):
        at = timezone.now() - (len(values) - number) * DAY
        an_answer(person, stress=value, at=at, received_at=at)


@pytest.mark.parametrize(
    ("fields", "value", "is_found"),
    [
        ({}, 80, True),
        ({}, 45, False),
        ({}, 0, False),
        ({"operator": "at_most"}, 0, True),
        ({"operator": "at_most"}, 80, False),
        ({"least_answers": 7}, 80, False),
    ],
)
def test_an_answer_far_from_the_own_mean_raises_an_alert(
    study: Study, person: Participant, fields: dict[str, Any], value: int, is_found: bool
) -> None:
    days_of_stress(person, [30, 40, 50, 30, 40, 50])
    add_rule(study, **{**CHANGE, **fields})
    an_answer(person, stress=value)
    expected = f"stress: {value}; own mean 40.0, SD 8.9 of 6 earlier answers"
    assert look() == ([expected] if is_found else [])


def test_whoever_always_answered_the_same_does_not_leave_their_mean_by_a_point(
    study: Study, person: Participant
) -> None:
    days_of_stress(person, [0, 0, 0, 0, 0, 0])
    add_rule(study, **CHANGE)
    an_answer(person, stress=3)
    assert look() == []
    an_answer(person, stress=50)
    assert look() == ["stress: 50; own mean 0.4, SD 1.1 of 7 earlier answers"]


def test_somebody_elses_answers_and_later_ones_are_not_the_own_mean(
    study: Study, person: Participant
) -> None:
    other = trial.enrol(study, "S1-002", "UTC", timezone.now() - 30 * DAY)
    days_of_stress(other, [30, 40, 50, 30, 40, 50])
    add_rule(study, **CHANGE)
    an_answer(person, stress=100, at=timezone.now() - 10 * DAY)
    assert look() == []


# --- prompts and phones -----------------------------------------------------------------


def a_prompt(person: Participant, hours_ago: float, **fields: Any) -> Prompt:
    phase = Phase.objects.get(study=person.study)
    due_at = timezone.now() - timedelta(hours=hours_ago)
    return Prompt.objects.create(
        participant=person,
        phase=phase,
        questionnaire=phase.questionnaire,
        study_on=due_at.date(),
        study_day=1,
        ordinal=Prompt.objects.filter(participant=person).count() + 1,
        due_at=due_at,
        expires_at=due_at + timedelta(minutes=30),
        zone=person.zone,
        tzdata="2026a",
        planned_at=due_at - DAY,
        **{"sent_at": due_at, **fields},
    )


def test_prompts_missed_in_a_row_raise_one_alert_for_the_streak(
    study: Study, person: Participant
) -> None:
    add_rule(study, kind="missed", amount=3, since=timezone.now() - DAY)
    answered = a_prompt(person, 30)
    Prompt.objects.filter(pk=answered.pk).update(answered_at=answered.due_at)
    a_prompt(person, 31)  # before the answer
    a_prompt(person, 9, sent_at=None)  # no phone had it: no miss
    a_prompt(person, 8, cancelled_at=timezone.now(), cancel_reason="paused")
    first = a_prompt(person, 7)
    a_prompt(person, 6)
    a_prompt(person, 0.1)  # not expired yet
    assert look() == []
    a_prompt(person, 5)
    AlertRule.objects.update(watched_until=None)
    [said] = look()
    assert (
        said
        == f"3 prompts in a row without an answer, the first due {first.due_at:%Y-%m-%d %H:%M} UTC"
    )
    a_prompt(person, 4)
    AlertRule.objects.update(watched_until=None)
    assert len(look()) == 1


def test_who_has_withdrawn_misses_nothing(study: Study, person: Participant) -> None:
    add_rule(study, kind="missed", amount=1, since=timezone.now() - DAY)
    a_prompt(person, 5)
    Participant.objects.filter(pk=person.pk).update(withdrawn_at=timezone.now())
    assert look() == []


def test_an_app_that_nothing_was_heard_of_raises_one_alert(
    study: Study, person: Participant
) -> None:
    rule = add_rule(study, kind="silent", amount=48)
    assert look() == []  # no prompts to come
    a_prompt(person, -5, sent_at=None)
    heard = person.devices.get().enrolled_at
    AlertRule.objects.update(watched_until=None)
    assert look() == [f"nothing heard of the app since {heard:%Y-%m-%d %H:%M} UTC"]
    AlertRule.objects.update(watched_until=None)
    assert len(look()) == 1
    assert Alert.objects.get().known_at == heard + timedelta(hours=48)
    assert rule.alerts.count() == 1


@pytest.mark.parametrize("sign", ["schedule", "registration", "answer", "event", "pause", "none"])
def test_any_sign_of_a_phone_or_a_pause_ends_the_silence(
    study: Study, person: Participant, sign: str
) -> None:
    add_rule(study, kind="silent", amount=48)
    a_prompt(person, -5, sent_at=None)
    phone, now = person.devices.get(), timezone.now()
    if sign == "schedule":
        person.devices.update(schedule_at=now - HOUR)
    elif sign == "registration":
        PushRegistration.objects.create(device=phone, kind="fcm", address="x", registered_at=now)
    elif sign == "answer":
        an_answer(person, craving=1, received_at=now - HOUR)
    elif sign == "event":
        phone.events.create(id="8a1f6f3e-7a34-4d0c-9a57-1d1f0d3b6c11", kind="zone_changed", at=now)
    elif sign == "pause":
        Pause.objects.create(participant=person, begins_at=now - HOUR)
    assert len(look()) == (1 if sign == "none" else 0)


def test_a_wrong_clock_raises_an_alert_a_day(study: Study, person: Participant) -> None:
    add_rule(study, kind="clock", amount=10)
    an_answer(person, craving=1, clock_off=timedelta(minutes=9))
    assert look() == []
    an_answer(person, craving=1, clock_off=timedelta(minutes=-12))
    an_answer(person, craving=1, clock_off=timedelta(minutes=11))
    assert look() == ["the phone's clock was 12 minutes behind"]


# --- what people do ---------------------------------------------------------------------


@pytest.fixture
def alert(study: Study, person: Participant) -> Alert:
    add_rule(study)
    an_answer(person, craving=95)
    look()
    return Alert.objects.get()


@pytest.fixture
def cora() -> Actor:
    return Actor(user=User.objects.create_user("cora"), door="page")


def test_an_alert_is_acknowledged_once_with_what_was_done(alert: Alert, cora: Actor) -> None:
    now = alert.raised_at + 2 * HOUR
    alerts.acknowledge(alert=alert, action="called", text=" Spoke to them. ", now=now, actor=cora)
    assert (alert.action_text, alert.acknowledged_by, alert.age(now + DAY)) == (
        "Spoke to them.",
        cora.user,
        2 * HOUR,
    )
    with pytest.raises(
        alerts.AlertRefused, match=r"was acknowledged by cora at .* UTC: add a note"
    ):
        alerts.acknowledge(alert=alert, action="seen", text="x", now=now, actor=cora)
    event = AuditEvent.objects.get(action="alert.acknowledged")
    assert (event.subject, event.site) == (f"alert {alert.pk} of S1-001", alert.participant.site)
    assert event.after == {
        "action": "called",
        "text": "Spoke to them.",
        "seconds_to_acknowledge": 7200,
    }


@pytest.mark.parametrize(
    ("action", "text", "sentence"),
    [
        ("", "x", "Say what was done: one of called, "),
        ("danced", "x", "not 'danced'"),
        ("called", "  ", "Say in words what was done"),
    ],
)
def test_an_action_is_named_and_said_in_words(
    alert: Alert, cora: Actor, action: str, text: str, sentence: str
) -> None:
    with pytest.raises(alerts.AlertRefused, match=sentence):
        alerts.acknowledge(alert=alert, action=action, text=text, now=timezone.now(), actor=cora)
    with pytest.raises(alerts.AlertRefused, match="name the user"):
        alerts.acknowledge(
            alert=alert, action="seen", text="x", now=timezone.now(), actor=audit.COMMAND
        )
    assert Alert.objects.open().count() == 1


def test_a_note_is_added_and_audited(alert: Alert, cora: Actor) -> None:
    now = timezone.now()
    alerts.add_note(alert=alert, text="Called again.", now=now, actor=cora)
    with pytest.raises(alerts.AlertRefused, match="in words"):
        alerts.add_note(alert=alert, text=" ", now=now, actor=cora)
    assert [note.text for note in alert.notes.all()] == ["Called again."]
    assert AuditEvent.objects.get(action="alert.noted").after == {"text": "Called again."}
