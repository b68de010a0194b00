"""Withdraw: no prompts any more; what a phone still holds may come in, and is flagged."""

from datetime import datetime

from django.db import connection, transaction

from ema import audit
from ema.audit import Actor
from ema.models import Participant


@transaction.atomic
def withdraw(
    *,
    participant: Participant,
    reason: str,
    now: datetime,
    actor: Actor,
    keep_data: bool | None = None,
) -> Participant:
    """End participation and cancel what is to come. The first withdrawal stands.

    `keep_data` is what the participant says of the data; it may still be said, or changed, later.
    """
    person = Participant.objects.select_for_update(no_key=True).get(pk=participant.pk)
    before = _said(person)
    if person.withdrawn_at is None:
        person.withdrawn_at, person.withdrawal_reason = now, reason
    if keep_data is not None:
        person.keep_data = keep_data
    after = _said(person)
    if after != before:
        person.save(update_fields=["withdrawn_at", "withdrawal_reason", "keep_data"])
        audit.record_about(
            participant=person,
            actor=actor,
            action="participant.withdrawn",
            before=before if before["withdrawn_at"] else None,
            after=after,
            reason=reason,
        )
        cancel_withdrawn(now, person)
    return person


CANCEL_WITHDRAWN = """
WITH leaving AS (
    SELECT prompt.id FROM ema_prompt prompt
    JOIN ema_participant participant ON participant.id = prompt.participant_id
    WHERE participant.withdrawn_at IS NOT NULL AND prompt.due_at > participant.withdrawn_at
    AND (%(participant)s::bigint IS NULL OR participant.id = %(participant)s)
    AND prompt.cancelled_at IS NULL AND prompt.answered_at IS NULL
    FOR NO KEY UPDATE OF prompt SKIP LOCKED
)
UPDATE ema_prompt prompt SET cancelled_at = %(now)s, cancel_reason = 'withdrawn'
FROM leaving WHERE prompt.id = leaving.id
"""  # skipping what a phone is reporting on right now: the planner's next run takes it


def cancel_withdrawn(now: datetime, participant: Participant | None = None) -> int:
    """Cancel what was still to come when participants (or this one) withdrew; how many."""
    whose = participant.pk if participant else None
    with connection.cursor() as cursor:
        cursor.execute(CANCEL_WITHDRAWN, {"now": now, "participant": whose})
        cancelled: int = cursor.rowcount
    return cancelled


def _said(person: Participant) -> dict[str, object]:
    at = person.withdrawn_at
    return {"withdrawn_at": at.isoformat() if at else None, "keep_data": person.keep_data}
