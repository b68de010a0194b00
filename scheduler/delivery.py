"""Deliver: prompts that are due reach a phone, in time or not at all.

An outbox of Delivery rows, claimed by lease: a dispatcher that dies loses nothing, and two at once
send nothing twice. Nothing is sent after it expired; what nobody received says why.
"""

import logging
import random
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import datetime, timedelta
from functools import partial
from typing import NamedTuple

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from ema import failures, push
from ema.models import Prompt, PushRegistration
from ema.models.prompt import Undelivered
from scheduler import channels, outbox
from scheduler.channels import Gone, Message, PushError, Send
from scheduler.models import Delivery, DeliveryKind
from scheduler.outbox import LEASE

LAST_START = timedelta(seconds=10)  # into the lease; a send then has 20 s to end before it
SENDERS = 8
BATCH = 3 * SENDERS  # what one that is killed leaves leased; larger ones gain nothing
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
    registration: PushRegistration | None = None


def dispatch_due(
    now: datetime, *, send: Send | None = None, clock: Clock = timezone.now, batch: int = BATCH
) -> Dispatched:
    """Queue, claim, send and mark what is due; give up what expired.

    `clock` tells when each message is really sent, and `send` takes the place of every channel.
    Claims of `batch` follow one another until one is not full.
    """
    routes = channels.routes()
    queued = outbox.queue(now, routes)
    done: Counter[str] = Counter()
    claimed = outbox.claim(clock(), routes, batch)
    while claimed:
        for outcome in _send_all(claimed, send, clock):
            done[_mark(outcome)] += 1
        claimed = outbox.claim(clock(), routes, batch) if len(claimed) == batch else []
    expired = outbox.expire(now)
    return Dispatched(
        queued=queued,
        sent=done["sent"],
        postponed=done["postponed"],
        failed=done["failed"],
        expired=expired,
        undelivered=outbox.give_up(now),
    )


# --- sending: in threads, without the database ------------------------------------------


def _send_all(claimed: list[Delivery], send: Send | None, clock: Clock) -> Iterator[Outcome]:
    """Try every delivery, a few at a time; the outcomes as they come."""
    live = outbox.registrations(claimed)
    with ThreadPoolExecutor(max_workers=min(SENDERS, len(claimed))) as pool:
        jobs = []
        for each in claimed:
            message = Message(
                prompt_id=each.prompt_id,
                participant=each.prompt.participant.uuid,
                due_at=each.prompt.due_at,
                expires_at=each.expires_at,
                kind=each.kind,
                zone=each.prompt.zone,
                registration=live.get((each.prompt.participant_id, each.channel)),
            )
            by = send or partial(channels.send, each.channel)
            jobs.append(pool.submit(_attempt, each, message, by, clock))
        for job in as_completed(jobs):
            yield job.result()


def _attempt(delivery: Delivery, message: Message, send: Send, clock: Clock) -> Outcome:
    """Send unless it expired meanwhile or the lease might end before the answer comes."""
    at, to = clock(), message.registration
    leased_at = (delivery.lease_until or at) - LEASE
    if at >= delivery.expires_at or at > leased_at + LAST_START:
        return Outcome(delivery, at, is_sent=False)
    try:
        send(message)
    except PushError as error:
        return Outcome(delivery, at, is_sent=False, error=error, registration=to)
    except Exception as error:  # one broken message must not stop the others
        log.exception("The channel broke on prompt %s", delivery.prompt_id)
        why = PushError(f"the channel broke: {failures.in_words(error)}")
        return Outcome(delivery, at, is_sent=False, error=why)
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
        return _mark_failed(outcome, error)
    return _settle(delivery, "postponed", next_attempt_at=next_attempt_at)


@transaction.atomic
def _mark_sent(delivery: Delivery, at: datetime) -> str:
    end = _settle(delivery, "sent", sent_at=at)
    if end == "sent":
        Prompt.objects.filter(pk=delivery.prompt_id, sent_at=None).update(sent_at=at)
    return end


@transaction.atomic
def _mark_failed(outcome: Outcome, error: PushError) -> str:
    """This channel is at its end: its registration may be dead, and the next one takes over."""
    delivery, at = outcome.delivery, outcome.at
    if isinstance(error, Gone) and outcome.registration:
        push.retire(outcome.registration, reason=str(error), now=at)
    end = _settle(delivery, "failed", failed_at=at, failure=str(error)[:300] or "?")
    if (
        end == "failed"
        and delivery.kind == DeliveryKind.PROMPT
        and channels.routes().next in (None, delivery.channel)
    ):
        Prompt.objects.filter(pk=delivery.prompt_id, sent_at=None, undelivered="").update(
            undelivered=Undelivered.CHANNEL_FAILED
        )
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
