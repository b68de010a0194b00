"""Phases: refused in words where they cannot work, written to the audit trail where they change.

Whether a sampling protocol works is the scheduler's to say, and `ema` does not know it: when Django
starts, the scheduler appends its check to `PHASE_CHECKS` (docs/decisions/0007).
"""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction
from django.db.models import Q
from django.forms.models import model_to_dict

from ema import audit
from ema.audit import Actor
from ema.models import Phase, Prompt, Study

PhaseCheck = Callable[[Phase, datetime], list[str]]
"""Says in words why a phase (perhaps not saved yet) cannot work; nothing when it can."""

PHASE_CHECKS: list[PhaseCheck] = []


def problems(phase: Phase, now: datetime) -> list[str]:
    """Every reason, in words, why this phase cannot work or cannot be saved like this."""
    wrong = [problem for check in PHASE_CHECKS for problem in check(phase, now)]
    old = Phase.objects.filter(pk=phase.pk).first() if phase.pk else None
    if old and protocol(old) == protocol(phase):
        return wrong
    return [*wrong, *_late_reminders(phase), *_late_changes(old, phase)]


def protocol(phase: Phase) -> dict[str, Any]:
    """Every field of a phase, as the audit trail keeps it."""
    fields = model_to_dict(phase, exclude=["id", "study"])
    return {name: _plain(value) for name, value in fields.items()}


@transaction.atomic
def save(*, phase: Phase, actor: Actor) -> None:
    """Save a new or changed phase, and write down what it was before."""
    old = Phase.objects.select_for_update().filter(pk=phase.pk).first()
    phase.save()
    before, after = protocol(old) if old else None, protocol(phase)
    if before != after:
        audit.record(
            actor=actor,
            action="phase.changed" if old else "phase.added",
            subject=f"phase {phase}",
            study=phase.study,
            before=before,
            after=after,
        )


@transaction.atomic
def remove(*, phase: Phase, actor: Actor) -> None:
    """Delete a phase that has no prompts, and write down what it was."""
    before, key = protocol(phase), phase.key
    phase.delete()
    audit.record(
        actor=actor,
        action="phase.removed",
        subject=f"phase {key}",
        study=phase.study,
        before=before,
    )


def _late_reminders(phase: Phase) -> list[str]:
    """A reminder is of a prompt that can still be answered; others would never be sent."""
    return [
        f"A reminder {minutes} minutes after the prompt is too late: the prompt has expired."
        for minutes in phase.reminders_after
        if timedelta(minutes=minutes) >= phase.expires_after
    ]


def _late_changes(old: Phase | None, phase: Phase) -> list[str]:
    """What is drawn stays drawn: a phase with prompts is not changed, and none goes before it."""
    if old and old.key != phase.key and old.study.started_at:
        return [f"Study {old.study} has started: phase {old} keeps its key."]
    if old and Prompt.objects.filter(phase=old).exists():
        then = "add another phase for what comes after it"
        return [f"Phase {old} has prompts already, so it stays as it is: {then}."]
    if phase.study._state.adding:
        return []
    earliest = min(phase.position, old.position if old else phase.position)
    reached = _reached(phase.study).filter(position__gt=earliest).order_by("-position").first()
    if reached and _moves_others(old, phase):
        where = f"give phase {phase} a position after {reached.position}"
        return [f"Phase {reached} has prompts already: {where}, so that nobody's times move."]
    return []


def _reached(study: Study) -> Any:
    return Phase.objects.filter(Q(study=study), Q(pk__in=Prompt.objects.values("phase_id")))


def _moves_others(old: Phase | None, new: Phase) -> bool:
    chain = ("position", "days", "starts", "offset_days", "visit")
    return old is None or any(getattr(old, name) != getattr(new, name) for name in chain)


def _plain(value: Any) -> Any:
    return value.total_seconds() if isinstance(value, timedelta) else value
