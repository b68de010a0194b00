"""Reminders: a prompt that was sent and not answered is announced again, and keeps its times."""

from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from ema.models import Device, Phase, Prompt, Study
from scheduler.channels import Message, PushError
from scheduler.delivery import Dispatched, dispatch_due
from scheduler.models import Delivery
from scheduler.planning import plan_prompts
from tests import trial

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)


@pytest.fixture
def prompt() -> Prompt:
    """One prompt of a phase that reminds after 10 and after 20 minutes."""
    study = trial.make_study(reminders_after=[20, 10])
    participant = trial.enrol(study, "S1-001", "UTC", timezone.now())
    trial.redeem(participant)
    plan_prompts(timezone.now())
    found = participant.prompts.filter(study_day=3).order_by("due_at")[0]
    participant.prompts.exclude(pk=found.pk).delete()
    return found


class Phone:
    """Whoever is sent to, and when in minutes after the prompt."""

    def __init__(self, prompt: Prompt) -> None:
        self.prompt = prompt
        self.got: list[tuple[float, str]] = []

    def run(self, minutes: float) -> Dispatched:
        at = self.prompt.due_at + minutes * MINUTE

        def send(message: Message) -> None:
            assert message.due_at == self.prompt.due_at
            assert message.expires_at == self.prompt.expires_at
            self.got.append((minutes, message.kind))

        return dispatch_due(at, send=send, clock=lambda: at)


def test_an_unanswered_prompt_is_announced_again_at_each_reminder(prompt: Prompt) -> None:
    phone = Phone(prompt)
    for minute in range(40):
        phone.run(minute)
    assert phone.got == [(0, "prompt"), (10, "reminder"), (20, "reminder")]


def test_a_reminder_moves_neither_the_prompt_nor_its_expiry(prompt: Prompt) -> None:
    before = (prompt.due_at, prompt.expires_at)
    phone = Phone(prompt)
    phone.run(0)
    prompt.refresh_from_db()
    sent_at = prompt.sent_at
    phone.run(10)
    prompt.refresh_from_db()
    assert (prompt.due_at, prompt.expires_at) == before
    assert prompt.sent_at == sent_at
    reminder = prompt.deliveries.get(kind="reminder")
    assert reminder.due_at == prompt.due_at + 10 * MINUTE
    assert reminder.expires_at == prompt.expires_at


@pytest.mark.parametrize("end", ["answered_at", "armed_at", "cancelled_at"])
@pytest.mark.parametrize("is_queued", [False, True])
def test_nobody_is_reminded_after_the_end(prompt: Prompt, end: str, is_queued: bool) -> None:
    phone = Phone(prompt)
    phone.run(0)
    if is_queued:  # but could not be sent yet
        at = prompt.due_at + 10 * MINUTE
        assert dispatch_due(at, send=busy, clock=lambda: at).postponed == 1
    ended: dict[str, Any] = {end: prompt.due_at + 9 * MINUTE}
    if end == "cancelled_at":
        ended["cancel_reason"] = "paused"
    Prompt.objects.update(**ended)
    for minute in range(11, 40):
        phone.run(minute)
    assert phone.got == [(0, "prompt")]


def busy(message: Message) -> None:
    raise PushError("busy")


@pytest.mark.parametrize(
    ("model", "change"),
    [(Study, "locked_at"), (Device, "revoked_at")],
)
def test_nobody_is_reminded_in_a_locked_study_or_on_a_revoked_phone(
    prompt: Prompt, model: Any, change: str
) -> None:
    phone = Phone(prompt)
    phone.run(0)
    model.objects.update(**{change: prompt.due_at})
    phone.run(10)
    assert phone.got == [(0, "prompt")]


def test_no_reminder_after_the_expiry(prompt: Prompt) -> None:
    Phase.objects.update(reminders_after=[30, 45])
    phone = Phone(prompt)
    for minute in range(60):
        phone.run(minute)
    assert phone.got == [(0, "prompt")]


def test_a_prompt_that_was_never_sent_has_no_reminder(prompt: Prompt) -> None:
    at = prompt.due_at + 10 * MINUTE
    dispatch_due(at, send=busy, clock=lambda: at)
    assert {each.kind for each in Delivery.objects.all()} == {"prompt"}


def test_after_an_outage_reminders_do_not_come_all_at_once(prompt: Prompt) -> None:
    phone = Phone(prompt)
    phone.run(0)
    phone.run(25)
    phone.run(26)
    assert phone.got == [(0, "prompt"), (25, "reminder")]


def test_a_prompt_sent_late_skips_the_reminders_before_it(prompt: Prompt) -> None:
    phone = Phone(prompt)
    for minute in (15, 16, 21):
        phone.run(minute)
    assert phone.got == [(15, "prompt"), (21, "reminder")]


def test_a_failed_reminder_leaves_the_prompt_sent(prompt: Prompt) -> None:
    phone = Phone(prompt)
    phone.run(0)

    def never(message: Message) -> None:
        raise PushError("no", permanent=True)

    at = prompt.due_at + 10 * MINUTE
    assert dispatch_due(at, send=never, clock=lambda: at).failed == 1
    prompt.refresh_from_db()
    assert prompt.undelivered == ""
