"""Deliver: prompts that are due reach a phone, in time or not at all.

An outbox of Delivery rows, claimed by lease: a dispatcher that dies loses nothing, and two at once
send nothing twice. Nothing is sent after it expired; what nobody received says why.
"""

import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import datetime, timedelta
from typing import NamedTuple

from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, Q
from django.utils import timezone

from ema.models import Prompt
from scheduler.channels import Message, PushError, Send, channel
from scheduler.models import Delivery

LEASE = timedelta(seconds=30)
LAST_START = timedelta(seconds=10)  # into the lease; a send then has 20 s to end before it
SENDERS = 8
EXPIRED_AT_ONCE = 10_000
FIRST_WAIT_S = 2.0
LONGEST_WAIT_S = 300.0
Clock = Callable[[], datetime]
log = logging.getLogger(__name__)


class Dispatched(NamedTuple):
    """What one run did: deliveries queued, sent, put off, failed and expired; prompts given up."""

    queued: int
    sent: int
    postponed: int
    failed: int
    expired: int
    undelivered: int


class Outcome(NamedTuple):
    """What became of one attempt: sent, or an error, or neither when there was no time left."""

    delivery: Delivery
    at: datetime
    is_sent: bool
    error: PushError | None = None


def dispatch_due(
    now: datetime, *, send: Send | None = None, clock: Clock = timezone.now, batch: int = 200
) -> Dispatched:
    """Queue, claim, send and mark what is due; give up what expired.

    `clock` tells when each message is really sent, and `send` is the channel of DELIVERY_CHANNEL
    unless another is given. Claims of `batch` follow one another until one is not full.
    """
    name = settings.DELIVERY_CHANNEL
    queued = _queue(now, name)
    done: Counter[str] = Counter()
    claimed = _claim(clock(), name, batch)
    while claimed:
        for outcome in _send_all(claimed, send or channel(name), clock):
            done[_mark(outcome)] += 1
        claimed = _claim(clock(), name, batch) if len(claimed) == batch else []
    expired = _expire(now)
    return Dispatched(
        queued=queued,
        sent=done["sent"],
        postponed=done["postponed"],
        failed=done["failed"],
        expired=expired,
        undelivered=_give_up(now),
    )


# --- the outbox -------------------------------------------------------------------------

QUEUE = """
INSERT INTO scheduler_delivery
    (prompt_id, channel, kind, due_at, expires_at, next_attempt_at, attempts, failure)
SELECT prompt.id, %(channel)s, 'prompt', prompt.due_at, prompt.expires_at, %(now)s, 0, ''
FROM ema_prompt prompt
JOIN ema_participant participant ON participant.id = prompt.participant_id
JOIN ema_study study ON study.id = participant.study_id
WHERE prompt.due_at <= %(now)s AND prompt.expires_at > %(now)s
AND prompt.cancelled_at IS NULL AND prompt.armed_at IS NULL AND prompt.sent_at IS NULL
AND prompt.answered_at IS NULL AND prompt.undelivered = ''
AND prompt.shown_at IS NULL AND prompt.opened_at IS NULL
AND coalesce(participant.withdrawn_at > %(now)s, true) AND study.locked_at IS NULL
AND EXISTS (
    SELECT FROM ema_device device WHERE device.participant_id = participant.id
    AND device.replaced_at IS NULL AND device.revoked_at IS NULL
)
ORDER BY prompt.id
ON CONFLICT (prompt_id, kind, channel) DO NOTHING
"""  # one order for all, so that two dispatchers never deadlock


def _queue(now: datetime, name: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(QUEUE, {"now": now, "channel": name})
        queued: int = cursor.rowcount
    return queued


@transaction.atomic
def _claim(now: datetime, name: str, batch: int) -> list[Delivery]:
    """Lease at most `batch` deliveries whose prompt still waits for one, the oldest first."""
    takes_part = Q(prompt__participant__withdrawn_at=None)
    takes_part |= Q(prompt__participant__withdrawn_at__gt=now)
    waiting = Delivery.objects.claimable(now).filter(
        takes_part,
        channel=name,
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


# --- sending: in threads, without the database ------------------------------------------


def _send_all(claimed: Sequence[Delivery], send: Send, clock: Clock) -> Iterator[Outcome]:
    """Try every delivery, a few at a time; the outcomes as they come."""
    messages = [
        Message(each.prompt_id, each.prompt.participant.uuid, each.due_at, each.expires_at)
        for each in claimed
    ]
    with ThreadPoolExecutor(max_workers=min(SENDERS, len(claimed))) as pool:
        jobs = [
            pool.submit(_attempt, delivery, message, send, clock)
            for delivery, message in zip(claimed, messages, strict=True)
        ]
        for job in as_completed(jobs):
            yield job.result()


def _attempt(delivery: Delivery, message: Message, send: Send, clock: Clock) -> Outcome:
    """Send unless it expired meanwhile or the lease might end before the answer comes."""
    at = clock()
    leased_at = (delivery.lease_until or at) - LEASE
    if at >= delivery.expires_at or at > leased_at + LAST_START:
        return Outcome(delivery, at, is_sent=False)
    try:
        send(message)
    except PushError as error:
        return Outcome(delivery, at, is_sent=False, error=error)
    except Exception as error:  # one broken message must not stop the others
        log.exception("The channel broke on prompt %s", delivery.prompt_id)
        return Outcome(delivery, at, is_sent=False, error=PushError(repr(error)))
    return Outcome(delivery, at, is_sent=True)


# --- marking: only while the lease is ours ----------------------------------------------


def _mark(outcome: Outcome) -> str:
    """Write down what became of an attempt: sent, failed, postponed, or lost with the lease."""
    delivery, error = outcome.delivery, outcome.error
    if outcome.is_sent:
        return _mark_sent(delivery, outcome.at)
    if error is None:  # not tried: nothing is held against it
        return _settle(delivery, "postponed", attempts=F("attempts") - 1)
    next_attempt_at = outcome.at + wait_before_retry(delivery.attempts, error.retry_after)
    if error.permanent or next_attempt_at >= delivery.expires_at:
        return _settle(delivery, "failed", failed_at=outcome.at, failure=str(error)[:300] or "?")
    return _settle(delivery, "postponed", next_attempt_at=next_attempt_at)


@transaction.atomic
def _mark_sent(delivery: Delivery, at: datetime) -> str:
    end = _settle(delivery, "sent", sent_at=at)
    if end == "sent":
        Prompt.objects.filter(pk=delivery.prompt_id, sent_at=None).update(sent_at=at)
    return end


def _settle(delivery: Delivery, end: str, **fields: object) -> str:
    """End the lease by compare-and-set; another's work is left alone."""
    ours = Delivery.objects.open().filter(pk=delivery.pk, lease_until=delivery.lease_until)
    if ours.update(lease_until=None, **fields):
        return end
    log.warning("The lease on prompt %s was lost before it was %s", delivery.prompt_id, end)
    return "lost"


def wait_before_retry(
    attempts: int,
    retry_after: float | None,
    jitter: Callable[[float, float], float] = random.uniform,
) -> timedelta:
    """Exponential back-off with full jitter; never less than the channel asked for."""
    longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (attempts - 1))
    return timedelta(seconds=(retry_after or 0.0) + jitter(0.0, longest))


# --- what was never received ------------------------------------------------------------


def _expire(now: datetime) -> int:
    """Close deliveries past their time, unless somebody is sending them at this moment."""
    unleased = Q(lease_until=None) | Q(lease_until__lt=now)
    late = Delivery.objects.open().filter(unleased, expires_at__lte=now)
    return late.update(failed_at=now, failure="expired", lease_until=None)


GIVE_UP = """
WITH ended AS (
    SELECT prompt.id FROM ema_prompt prompt
    WHERE prompt.due_at < %(now)s AND prompt.expires_at <= %(now)s
    AND prompt.cancelled_at IS NULL AND prompt.armed_at IS NULL AND prompt.sent_at IS NULL
    AND prompt.answered_at IS NULL AND prompt.undelivered = ''
    AND prompt.shown_at IS NULL AND prompt.opened_at IS NULL
    AND NOT EXISTS (
        SELECT FROM scheduler_delivery delivery WHERE delivery.prompt_id = prompt.id
        AND delivery.sent_at IS NULL AND delivery.failed_at IS NULL
    )
    ORDER BY prompt.due_at LIMIT %(most)s FOR NO KEY UPDATE SKIP LOCKED
)
UPDATE ema_prompt prompt SET undelivered = CASE
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
    ELSE 'system' END
FROM ended WHERE prompt.id = ended.id
"""  # skipping what a phone is reporting on right now: the next run takes it


def _give_up(now: datetime) -> int:
    """Say why expired prompts reached no phone; a few thousand at a time.

    `system` when the prompt was planned too late or nobody tried; a channel that failed proves
    that there was a phone. Only a reason: what a phone reports later stands above it.
    """
    with connection.cursor() as cursor:
        cursor.execute(GIVE_UP, {"now": now, "most": EXPIRED_AT_ONCE})
        given_up: int = cursor.rowcount
    return given_up
