"""The ledger: every prompt has exactly one end, and the counts add up."""

import re
from collections import Counter
from datetime import timedelta
from itertools import product
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.utils import timezone

from ema import audit, withdrawal
from ema.models import Participant, Prompt
from ema.models.prompt import CancelReason, Undelivered
from ema.prompt_state import ENDS, STAGES
from scheduler.channels import Message, PushError
from scheduler.delivery import dispatch_due
from scheduler.ledger import Ledger, ledger
from scheduler.planning import plan_prompts
from scheduler.wording import MEANINGS, explained
from tests import trial

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)
BEFORE, AFTER = -MINUTE, timedelta(minutes=31)  # as seen from the prompt, which lasts 30


@pytest.fixture
def prompt() -> Prompt:
    """One prompt of one participant."""
    someone = trial.enrol(trial.make_study(phase_days=2), "S1", "UTC", timezone.now())
    plan_prompts(timezone.now())
    found = Prompt.objects.filter(study_day=2).first()
    assert found is not None
    Prompt.objects.exclude(pk=found.pk).delete()
    assert found.participant == someone
    return found


def cell(prompt: Prompt, after: timedelta, **instants: Any) -> str:
    """The one line of the ledger in which the prompt is, so long after it was due."""
    given = {
        name: prompt.due_at + value if isinstance(value, timedelta) else value
        for name, value in instants.items()
    }
    Prompt.objects.filter(pk=prompt.pk).update(**given)
    counted = ledger(prompt.participant.study, prompt.due_at + after)
    assert counted.planned == 1
    assert counted.balances
    ((name, count),) = [(name, count) for name, count in counted.lines() if count]
    assert count == 1
    return name


@pytest.mark.parametrize(
    ("instants", "open_as", "ended_as"),
    [
        ({}, "open: planned", "not delivered: system"),
        ({"released_at": BEFORE}, "open: released", "not delivered: system"),
        ({"armed_at": BEFORE}, "open: armed", "missed"),
        ({"sent_at": MINUTE}, "open: sent", "missed"),
        ({"sent_at": MINUTE, "shown_at": MINUTE}, "open: shown", "missed"),
        ({"armed_at": BEFORE, "opened_at": MINUTE}, "open: opened", "missed"),
        ({"answered_at": MINUTE}, "answered", "answered"),
        ({"answered_at": timedelta(minutes=30)}, "answered", "answered"),
        ({"answered_at": AFTER}, "answered late", "answered late"),
        ({"undelivered": "no_device"}, "not delivered: no_device", "not delivered: no_device"),
        ({"undelivered": "no_device", "shown_at": MINUTE}, "open: shown", "missed"),
        ({"undelivered": "system", "answered_at": MINUTE}, "answered", "answered"),
    ],
)
def test_a_prompt_is_open_until_it_expires_and_then_has_one_end(
    prompt: Prompt, instants: dict[str, Any], open_as: str, ended_as: str
) -> None:
    assert cell(prompt, timedelta(minutes=29), **instants) == open_as
    assert cell(prompt, timedelta(minutes=30)) == ended_as


@pytest.mark.parametrize("reason", ["withdrawn", "paused", "before_enrolment", "superseded"])
def test_a_cancelled_prompt_says_why(prompt: Prompt, reason: str) -> None:
    cancelled = {"cancelled_at": BEFORE, "cancel_reason": reason}
    assert cell(prompt, AFTER, armed_at=BEFORE, **cancelled) == f"cancelled: {reason}"
    assert cell(prompt, AFTER, answered_at=MINUTE) == "answered"


def test_every_combination_of_instants_has_exactly_one_place(prompt: Prompt) -> None:
    stages = ["released_at", "armed_at", "sent_at", "shown_at", "opened_at", "answered_at"]
    for given in product([None, MINUTE], repeat=len(stages)):
        for after in (BEFORE, MINUTE, AFTER):
            cell(prompt, after, **dict(zip(stages, given, strict=True)))


def test_only_prompts_of_the_study_are_counted(prompt: Prompt) -> None:
    other = trial.make_study("other")
    assert ledger(other, timezone.now()).planned == 0
    assert ledger(other, timezone.now()).balances


def test_a_ledger_with_an_unknown_end_does_not_balance() -> None:
    counted = Ledger(
        planned=3, answered=1, answered_late=0, missed=0, cancelled={}, not_delivered={}, open={}
    )
    assert not counted.balances
    assert counted._replace(open={"planned": 2}).balances


def test_every_word_of_the_ledger_is_explained_also_in_the_documentation() -> None:
    written = (Path(settings.BASE_DIR) / "docs/delivery.md").read_text()
    said = {*ENDS, *STAGES, *CancelReason.values, *Undelivered.values, "open"}
    assert said - {Undelivered.NOT_NEEDED} == MEANINGS.keys()  # those are answered
    for word, meaning in MEANINGS.items():
        assert re.search(rf"`{word}` \|( \|)? {re.escape(meaning)} \|", written), word


def test_the_lines_of_a_ledger_add_up_and_parts_follow_their_group() -> None:
    counted = Ledger(
        planned=8,
        answered=1,
        answered_late=0,
        missed=1,
        cancelled={"paused": 2, "withdrawn": 1},
        not_delivered={"system": 1},
        open={"sent": 2},
    )
    lines = list(explained(counted))
    assert sum(line.prompts for line in lines if not line.is_part) == counted.planned
    assert [line.word for line in lines] == [
        *("answered", "answered_late", "missed"),
        *("not_delivered", "system"),
        *("cancelled", "paused", "withdrawn"),
        *("open", "sent"),
    ]
    assert {line.word: line.percent for line in lines}["cancelled"] == "37.5 %"


def test_a_whole_trial_balances() -> None:
    """Fourteen days of five people: one answers, one is silent, one leaves, two have no luck."""
    study, began = trial.make_study(phase_days=14), timezone.now()
    people = [trial.enrol(study, f"S{number}", "UTC", began) for number in range(5)]
    plan_prompts(began)
    for participant in people[:4]:
        trial.redeem(participant)
    leaving = began + timedelta(days=7)
    withdrawal.withdraw(participant=people[2], reason="", now=leaving, actor=audit.COMMAND)
    plan_prompts(leaving)
    run_through(people, unreachable=people[3])
    end = began + timedelta(days=16)
    dispatch_due(end, send=lambda message: None, clock=lambda: end)
    counted, expected = ledger(study, end), Counter[str]()
    for prompt in Prompt.objects.select_related("participant"):
        expected[ending(people, prompt)] += 1
    assert counted.balances
    assert counted.open == {}
    assert counted.planned == 5 * 14 * 4
    assert {name: count for name, count in counted.lines() if count} == expected


def run_through(people: list[Participant], *, unreachable: Participant) -> None:
    """Send every prompt when it is due; the first participant answers at once."""

    def send(message: Message) -> None:
        if message.participant == unreachable.uuid:
            raise PushError("gone", permanent=True)

    for at in sorted(set(Prompt.objects.standing().values_list("due_at", flat=True))):
        dispatch_due(at, send=send, clock=lambda at=at: at)  # type: ignore[misc]
        Prompt.objects.filter(participant=people[0], sent_at=at).update(answered_at=at + MINUTE)


def ending(people: list[Participant], prompt: Prompt) -> str:
    if prompt.cancel_reason:
        return f"cancelled: {prompt.cancel_reason}"
    endings = ["answered", "missed", "missed", "channel_failed", "no_device"]
    end = endings[people.index(prompt.participant)]
    return f"not delivered: {end}" if "_" in end else end
