"""The outbox: which prompts get a delivery by which channel, and which were never received.

Rows in, rows out: every function is one statement, and safe beside another dispatcher.
"""

from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction
from django.db.models import F, Q

from ema.models import PushRegistration
from scheduler.channels import Routes
from scheduler.models import Delivery, DeliveryKind

LEASE = timedelta(seconds=30)
EXPIRED_AT_ONCE = 10_000

# A phone with a live registration is told by its push service, unless that failed for this very
# prompt; everybody else by the default channel. One order for all, so that two dispatchers never
# deadlock.
QUEUE = """
INSERT INTO scheduler_delivery
    (prompt_id, channel, kind, due_at, expires_at, next_attempt_at, attempts, failure)
SELECT prompt.id, route.channel, %(kind)s, wanted.due_at, prompt.expires_at, %(now)s, 0, ''
FROM ema_prompt prompt
JOIN ema_phase phase ON phase.id = prompt.phase_id
JOIN ema_participant participant ON participant.id = prompt.participant_id
JOIN ema_study study ON study.id = participant.study_id
JOIN ema_device device ON device.participant_id = participant.id
    AND device.replaced_at IS NULL AND device.revoked_at IS NULL
LEFT JOIN ema_pushregistration registration ON registration.device_id = device.id
    AND registration.kind = ANY(%(push)s)
CROSS JOIN LATERAL (SELECT CASE
    WHEN registration.id IS NULL THEN %(default)s
    WHEN registration.died_at IS NULL AND NOT EXISTS (
        SELECT FROM scheduler_delivery tried WHERE tried.prompt_id = prompt.id
        AND tried.kind = 'prompt' AND tried.channel = registration.kind
        AND tried.failed_at IS NOT NULL
    ) THEN registration.kind
    ELSE %(next)s END AS channel
) route
CROSS JOIN LATERAL ({wanted}) wanted
WHERE prompt.due_at <= %(now)s AND prompt.expires_at > %(now)s
AND prompt.cancelled_at IS NULL AND prompt.armed_at IS NULL AND prompt.answered_at IS NULL
AND coalesce(participant.withdrawn_at > %(now)s, true) AND study.locked_at IS NULL
AND route.channel IS NOT NULL AND wanted.due_at IS NOT NULL
AND {waits}
ORDER BY prompt.id
ON CONFLICT (prompt_id, kind, channel, due_at) DO NOTHING
"""
PROMPTS = QUEUE.format(
    wanted="SELECT prompt.due_at",
    waits="""prompt.sent_at IS NULL AND prompt.undelivered = ''
        AND prompt.shown_at IS NULL AND prompt.opened_at IS NULL""",
)
# Only the latest reminder whose time has come: after an outage they do not come all at once. None
# for a prompt that was itself sent later than that.
REMINDERS = QUEUE.format(
    wanted="""
        SELECT max(at) AS due_at
        FROM jsonb_array_elements_text(phase.reminders_after) minutes (after)
        CROSS JOIN LATERAL (
            SELECT prompt.due_at + minutes.after::numeric * interval '1 minute' AS at
        ) reminder
        WHERE at <= %(now)s AND at < prompt.expires_at AND at > prompt.sent_at
    """,
    waits="prompt.sent_at IS NOT NULL",
)


def queue(now: datetime, routes: Routes) -> int:
    """A delivery for each prompt that is due and that no phone knows of, and each reminder."""
    values = {"now": now, **routes._asdict()}
    prompts = _execute(PROMPTS, {**values, "kind": DeliveryKind.PROMPT.value})
    return prompts + _execute(REMINDERS, {**values, "kind": DeliveryKind.REMINDER.value})


@transaction.atomic
def claim(now: datetime, routes: Routes, batch: int) -> list[Delivery]:
    """Lease at most `batch` deliveries whose prompt still waits for one, the oldest first."""
    takes_part = Q(prompt__participant__withdrawn_at=None)
    takes_part |= Q(prompt__participant__withdrawn_at__gt=now)
    waiting = Delivery.objects.claimable(now).filter(
        takes_part,
        channel__in=[*routes.push, routes.default],
        prompt__cancelled_at=None,
        prompt__armed_at=None,
        prompt__answered_at=None,
    )
    claimed = list(
        waiting.select_related("prompt__participant")
        .select_for_update(of=("self",), skip_locked=True)
        .order_by("next_attempt_at")[:batch]
    )
    lease_until = now + LEASE
    Delivery.objects.filter(pk__in=[each.pk for each in claimed]).update(
        lease_until=lease_until, attempts=F("attempts") + 1
    )
    for each in claimed:
        each.lease_until = lease_until
        each.attempts += 1
    return claimed


def registrations(claimed: list[Delivery]) -> dict[tuple[int, str], PushRegistration]:
    """The live registrations of those participants, by participant and kind."""
    people = {each.prompt.participant_id for each in claimed}
    live = PushRegistration.objects.live().filter(device__participant__in=people)
    return {(each.device.participant_id, each.kind): each for each in live.select_related("device")}


# --- what was never received ------------------------------------------------------------


def expire(now: datetime) -> int:
    """Close deliveries past their time, unless somebody is sending them at this moment."""
    unleased = Q(lease_until=None) | Q(lease_until__lt=now)
    late = Delivery.objects.open().filter(unleased, expires_at__lte=now)
    return late.update(failed_at=now, failure="expired", lease_until=None)


GIVE_UP = """
WITH ended AS (
    SELECT prompt.id FROM ema_prompt prompt
    WHERE prompt.due_at < %(now)s AND prompt.expires_at <= %(now)s
    AND prompt.cancelled_at IS NULL AND prompt.armed_at IS NULL AND prompt.sent_at IS NULL
    AND prompt.undelivered = ''
    AND prompt.shown_at IS NULL AND prompt.opened_at IS NULL
    AND NOT EXISTS (
        SELECT FROM scheduler_delivery delivery WHERE delivery.prompt_id = prompt.id
        AND delivery.sent_at IS NULL AND delivery.failed_at IS NULL
    )
    ORDER BY prompt.due_at LIMIT %(most)s FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE ema_prompt prompt SET undelivered = CASE
    WHEN prompt.answered_at IS NOT NULL THEN 'not_needed'
    WHEN prompt.planned_at >= prompt.expires_at THEN 'system'
    WHEN EXISTS (
        SELECT FROM scheduler_delivery delivery WHERE delivery.prompt_id = prompt.id
        AND delivery.failed_at IS NOT NULL AND delivery.attempts > 0
    ) THEN 'channel_failed'
    WHEN NOT EXISTS (
        SELECT FROM ema_device device WHERE device.participant_id = prompt.participant_id
        AND device.enrolled_at <= prompt.due_at
        AND (device.replaced_at IS NULL OR device.replaced_at > prompt.due_at)
        AND (device.revoked_at IS NULL OR device.revoked_at > prompt.due_at)
    ) THEN 'no_device'
    WHEN EXISTS (
        SELECT FROM ema_device device
        JOIN ema_pushregistration registration ON registration.device_id = device.id
        WHERE device.participant_id = prompt.participant_id
        AND device.replaced_at IS NULL AND device.revoked_at IS NULL
        AND registration.died_at <= prompt.expires_at
    ) THEN 'channel_failed'
    ELSE 'system' END
FROM ended WHERE prompt.id = ended.id
"""  # skipping what a phone is reporting on right now: the next run takes it


def give_up(now: datetime) -> int:
    """Say why nothing was sent for expired prompts; a few thousand at a time.

    `system` when the prompt was planned too late or nobody tried; a channel that failed (or whose
    registration is dead) proves that there was a phone. Only a reason: what a phone reports later
    stands above it.
    """
    return _execute(GIVE_UP, {"now": now, "most": EXPIRED_AT_ONCE})


def _execute(statement: str, values: dict[str, Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)
        changed: int = cursor.rowcount
    return changed
