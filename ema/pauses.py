"""Pause and resume: prompts due meanwhile are cancelled, and nothing is drawn anew."""

from datetime import datetime, timedelta

from django.db import IntegrityError, connection, transaction

from ema import audit, hard_lock
from ema.audit import Actor
from ema.models import Participant, Pause
from ema.models.pause import PauseKind

AHEAD = timedelta(days=2)
"""How far an open pause cancels: a phone syncs daily, and what is cancelled never comes back."""


class PauseRefused(ValueError):
    """The pause cannot begin or end like this; the message says what would be right."""


@transaction.atomic
def pause(
    *,
    participant: Participant,
    now: datetime,
    actor: Actor,
    kind: str = PauseKind.PAUSE,
    begins_at: datetime | None = None,
    ends_at: datetime | None = None,
    reason: str = "",
) -> Pause:
    """Stop asking from `begins_at` (now) until `ends_at`, or until resumed; also in the past."""
    begins_at = begins_at or now
    refuse_wrong_pause(participant=participant, begins_at=begins_at, ends_at=ends_at)
    fields = {"kind": kind, "begins_at": begins_at, "ends_at": ends_at, "reason": reason}
    try:
        with transaction.atomic():
            paused = Pause.objects.create(participant=participant, **fields)
            audit.record_about(
                participant=participant,
                actor=actor,
                action="participant.paused",
                after={"kind": kind, "begins_at": _iso(begins_at), "ends_at": _iso(ends_at)},
                reason=reason,
            )
            cancel_paused(now, participant)
    except IntegrityError as error:
        if "a_participant_has_one_open_pause" not in str(error):
            raise
        message = f"Participant {participant.code} is paused already: resume first."
        raise PauseRefused(message) from error
    return paused


def refuse_wrong_pause(
    *, participant: Participant, begins_at: datetime, ends_at: datetime | None
) -> None:
    """PauseRefused in a locked study, of who has left, or when it would end before it begins."""
    if why := hard_lock.refusal(participant.study):
        raise PauseRefused(why)
    if participant.withdrawn_at:
        raise PauseRefused(f"Participant {participant.code} has withdrawn.")
    if ends_at and ends_at <= begins_at:
        raise PauseRefused("A pause ends after it begins.")
    if begins_at < participant.enrolled_at:
        raise PauseRefused("A pause does not begin before enrolment.")


@transaction.atomic
def resume(*, participant: Participant, now: datetime, actor: Actor) -> None:
    """End the pauses that are open; what they cancelled stays cancelled."""
    if participant.withdrawn_at:
        raise PauseRefused(f"Participant {participant.code} has withdrawn.")
    ended = Pause.objects.open(now).filter(participant=participant, begins_at__lte=now)
    before = [_iso(each.ends_at) for each in ended.select_for_update()]
    if not before:
        raise PauseRefused(f"Participant {participant.code} is not paused.")
    cancel_paused(now, participant)  # what came due since the planner last looked
    ended.update(ends_at=now)
    audit.record_about(
        participant=participant,
        actor=actor,
        action="participant.resumed",
        before={"ends_at": before},
        after={"ends_at": _iso(now)},
    )


CANCEL_PAUSED = """
WITH resting AS (
    SELECT prompt.id FROM ema_pause pause
    JOIN ema_prompt prompt ON prompt.participant_id = pause.participant_id
    WHERE (%(participant)s::bigint IS NULL OR pause.participant_id = %(participant)s)
    AND prompt.due_at >= pause.begins_at AND prompt.due_at < coalesce(pause.ends_at, %(until)s)
    AND prompt.cancelled_at IS NULL AND prompt.answered_at IS NULL
    FOR NO KEY UPDATE OF prompt SKIP LOCKED
)
UPDATE ema_prompt prompt SET cancelled_at = %(now)s, cancel_reason = 'paused'
FROM resting WHERE prompt.id = resting.id
"""  # skipping what a phone is reporting on right now: the planner's next run takes it


def cancel_paused(now: datetime, participant: Participant | None = None) -> int:
    """Cancel standing, unanswered prompts that are due in a pause (of one participant); how many.

    A pause that has an end cancels all of its prompts; an open one those of the next two days.
    """
    whose = participant.pk if participant else None
    with connection.cursor() as cursor:
        cursor.execute(CANCEL_PAUSED, {"now": now, "until": now + AHEAD, "participant": whose})
        cancelled: int = cursor.rowcount
    return cancelled


def _iso(at: datetime | None) -> str | None:
    return at.isoformat() if at else None
