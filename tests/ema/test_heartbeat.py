"""Readiness: a server whose due prompts are not sent says so, and says no more than that."""

from datetime import timedelta
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from ema import push
from ema.models import Device, Heartbeat, Participant, Prompt, Study
from scheduler.planning import plan_prompts
from scheduler.tasks import dispatch_due as dispatch_due_task
from scheduler.tasks import plan_prompts as plan_prompts_task
from tests import trial

pytestmark = pytest.mark.django_db

READY = (200, {"status": "ready"})
HOUR = timedelta(hours=1)
NOW = timedelta(0)


def instants(fields: dict[str, Any]) -> dict[str, Any]:
    """Fields whose instants were written as distances from the moment of the test."""
    now = timezone.now()
    return {
        name: now + value if isinstance(value, timedelta) else value
        for name, value in fields.items()
    }


def ready() -> tuple[int, dict[str, str]]:
    answer = Client().get("/health/ready")
    return answer.status_code, answer.json()


@pytest.fixture
def late() -> Prompt:
    """One prompt that was due 90 seconds ago, of somebody whose phone came long before."""
    participant = trial.enrol(trial.make_study(), "S1-001", "UTC", timezone.now())
    trial.redeem(participant)
    plan_prompts(timezone.now())
    found = participant.prompts.filter(study_day=3)[0]
    participant.prompts.exclude(pk=found.pk).delete()
    long_ago = timezone.now() - timedelta(hours=1)
    Device.objects.update(enrolled_at=long_ago)
    Participant.objects.update(enrolled_at=long_ago)
    found.planned_at = long_ago
    found.due_at = timezone.now() - timedelta(seconds=90)
    found.expires_at = found.due_at + timedelta(minutes=30)
    found.save()
    return found


def test_a_prompt_that_nobody_sends_makes_the_server_unready_in_words(late: Prompt) -> None:
    status, content = ready()
    assert (status, content["status"]) == (503, "unready")
    assert "was due 9" in content["reason"]
    assert "the dispatcher has never run" in content["reason"]


def test_the_reason_tells_when_the_dispatcher_ran_last(late: Prompt) -> None:
    Heartbeat.objects.create(name="dispatcher", at=timezone.now() - timedelta(minutes=5))
    assert "the dispatcher ran last at 20" in ready()[1]["reason"]


def test_once_it_is_sent_the_server_is_ready(late: Prompt) -> None:
    call_command("run_dispatcher", once=True)
    assert ready() == READY


@pytest.mark.parametrize(
    "fields",
    [
        {"armed_at": NOW},
        {"sent_at": NOW},
        {"shown_at": NOW},
        {"answered_at": NOW},
        {"cancelled_at": NOW, "cancel_reason": "paused"},
        {"undelivered": "channel_failed"},
        {"due_at": NOW},
        {"planned_at": NOW},
        {"due_at": -2 * HOUR, "expires_at": NOW},
    ],
)
def test_what_needs_no_sending_is_not_late(late: Prompt, fields: dict[str, Any]) -> None:
    Prompt.objects.update(**instants(fields))
    assert ready() == READY


@pytest.mark.parametrize(
    ("model", "fields"),
    [
        (Device, {"revoked_at": NOW}),
        (Device, {"enrolled_at": NOW}),
        (Study, {"locked_at": NOW}),
        (Participant, {"withdrawn_at": NOW}),
    ],
)
def test_whom_nothing_can_reach_makes_nobody_late(
    late: Prompt, model: Any, fields: dict[str, Any]
) -> None:
    model.objects.update(**instants(fields))
    assert ready() == READY


def test_a_dead_registration_is_a_matter_for_the_coordinator_not_for_the_server(
    late: Prompt,
) -> None:
    device, now = late.participant.devices.get(), timezone.now()
    found = push.register(device=device, kind="apns", address="ab" * 32, keys={}, now=now)
    assert ready()[0] == 503
    push.retire(found, reason="Unregistered", now=now)
    assert ready() == READY


def test_planner_and_dispatcher_write_down_when_they_ran() -> None:
    began = timezone.now()
    for _ in range(2):
        plan_prompts_task()
        dispatch_due_task()
    found = dict(Heartbeat.objects.values_list("name", "at"))
    assert set(found) == {"planner", "dispatcher"}
    assert all(at >= began for at in found.values())
