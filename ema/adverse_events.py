"""Adverse events: reporting one, correcting it with a reason, striking out what was an error."""

from collections.abc import Mapping
from datetime import date, datetime
from typing import Any
from uuid import UUID

from django.core.exceptions import NON_FIELD_ERRORS, ValidationError
from django.db import transaction
from django.forms.models import model_to_dict

from ema import audit, hard_lock
from ema.audit import Actor
from ema.models import AdverseEvent, Participant
from ema.urine import today_of

SAID = (
    "term",
    "severity",
    "is_serious",
    "relatedness",
    "started_on",
    "ended_on",
    "outcome",
    "action_taken",
    "description",
)


class EventRefused(ValueError):
    """The event cannot be kept like this; `problems` has sentences by field, and for the reason."""

    def __init__(self, problems: Mapping[str, list[str]]) -> None:
        super().__init__(
            " ".join(
                text if name == NON_FIELD_ERRORS else f"{name}: {text}"
                for name, texts in problems.items()
                for text in texts
            )
        )
        self.problems = problems


@transaction.atomic
def report(
    *,
    participant: Participant,
    key: UUID,
    said: Mapping[str, Any],
    now: datetime,
    actor: Actor,
    reason: str = "",
) -> AdverseEvent:
    """Keep an event; the same key again is the event that is there. Raises EventRefused."""
    Participant.objects.select_for_update(no_key=True).get(pk=participant.pk)
    if there := AdverseEvent.objects.filter(key=key, participant=participant).first():
        return there
    event = AdverseEvent(key=key, participant=participant, reported_at=now, **said)
    _refuse_locked_study(event)
    _refuse_wrong(event, now)
    event.save()
    _write_down("adverse_event.reported", event, actor, after=_told(event), reason=reason)
    return event


def told_of(*, participant: Participant, said: Mapping[str, Any], now: datetime) -> dict[str, Any]:
    """What would be said of an event, as texts and numbers. Raises EventRefused."""
    event = AdverseEvent(participant=participant, reported_at=now, **said)
    _refuse_locked_study(event)
    _refuse_wrong(event, now)
    return _told(event)


def said_by(told: Mapping[str, Any]) -> dict[str, Any]:
    """What was said of an event, from what `told_of` made of it."""
    fields = {field.name: field for field in AdverseEvent._meta.fields}
    return {name: fields[name].to_python(told[name]) for name in SAID}


@transaction.atomic
def correct(
    *, event: AdverseEvent, said: Mapping[str, Any], reason: str, now: datetime, actor: Actor
) -> bool:
    """Change what is said of an event, with a reason; False when it says so already."""
    locked = _locked(event)
    before = _told(locked)
    for name, value in said.items():
        setattr(locked, name, value)
    if _told(locked) == before:
        return False
    _refuse_locked_study(locked)
    _refuse_no_reason(reason, "why it is corrected: what it said before is kept")
    _refuse_wrong(locked, now)
    locked.corrected_at = now
    locked.save()
    _write_down(
        "adverse_event.corrected", locked, actor, before=before, after=_told(locked), reason=reason
    )
    return True


@transaction.atomic
def strike(*, event: AdverseEvent, reason: str, now: datetime, actor: Actor) -> bool:
    """Count an event nowhere any more, as it was entered in error; False when it is struck."""
    locked = AdverseEvent.objects.select_for_update(of=("self",)).get(pk=event.pk)
    if locked.struck_at:
        return False
    _refuse_locked_study(locked)
    _refuse_no_reason(reason, "why it is struck out")
    locked.struck_at = now
    locked.save(update_fields=["struck_at"])
    _write_down("adverse_event.struck", locked, actor, before=_told(locked), reason=reason)
    return True


def subject_of(event: AdverseEvent) -> str:
    """What the audit trail calls an event."""
    return f"adverse event {event.pk} of {event.participant.code}"


def _locked(event: AdverseEvent) -> AdverseEvent:
    locked = AdverseEvent.objects.select_for_update(of=("self",)).get(pk=event.pk)
    if locked.struck_at:
        raise EventRefused({NON_FIELD_ERRORS: ["This event is struck out: report it anew."]})
    return locked


def _refuse_locked_study(event: AdverseEvent) -> None:
    if why := hard_lock.refusal(event.participant.study):
        raise EventRefused({NON_FIELD_ERRORS: [why]})


def _refuse_no_reason(reason: str, what: str) -> None:
    if not reason.strip():
        raise EventRefused({"reason": [f"Say {what}."]})


def _refuse_wrong(event: AdverseEvent, now: datetime) -> None:
    today, problems = today_of(event.participant, now), {}
    try:
        event.full_clean(exclude=["participant"])
    except ValidationError as error:
        problems = error.message_dict
    for name in ("started_on", "ended_on"):
        on = getattr(event, name)
        if isinstance(on, date) and on > today:
            problems.setdefault(name, []).append(f"{on} is in the future: today is {today}.")
    if problems:
        raise EventRefused(problems)


def _told(event: AdverseEvent) -> dict[str, Any]:
    """What is said of an event, as the audit trail keeps it."""
    said = model_to_dict(event, fields=SAID)
    return {name: v.isoformat() if isinstance(v, date) else v for name, v in said.items()}


def _write_down(
    action: str,
    event: AdverseEvent,
    actor: Actor,
    *,
    before: Any = None,
    after: Any = None,
    reason: str = "",
) -> None:
    audit.record_about(
        participant=event.participant,
        actor=actor,
        action=action,
        subject=subject_of(event),
        before=before,
        after=after,
        reason=reason.strip()[:500],
    )
