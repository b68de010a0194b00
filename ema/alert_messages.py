"""Tell others of an alert that nobody acknowledges: an outbox of messages, claimed by lease.

A message names the alert, its severity and the participant's code in the study. What was found,
by which rule, and the answer stay behind the sign-in: mail is read on locked screens.
"""

import json
import logging
import random
import smtplib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed
from datetime import datetime, timedelta
from typing import NamedTuple
from urllib.parse import urlsplit

from django.conf import settings
from django.core.mail import EmailMessage
from django.db import transaction
from django.db.models import DurationField, Exists, ExpressionWrapper, F, OuterRef, QuerySet
from django.utils import timezone

from ema import alert_webhook, failures, heartbeat
from ema.alert_webhook import NotTaken
from ema.mail_server import Server, hang_up
from ema.models import Alert, AlertMessage
from ema.models.alert import Channel

LEASE = timedelta(minutes=2)
SENDERS = 8
SECONDS_TO_SEND = 15.0
LAST_CLAIM = timedelta(seconds=10)  # into a run: servers that hang keep the worker no longer
FIRST_WAIT_S, LONGEST_WAIT_S = 60.0, 3600.0
GIVE_UP_AFTER = timedelta(days=2)
HEARTBEAT = "alert messages"
REFUSED_FOR_GOOD = 500
Clock = Callable[[], datetime]
log = logging.getLogger(__name__)


class Escalated(NamedTuple):
    """What one run did: messages queued, sent, put off, and given up."""

    queued: int
    sent: int
    postponed: int
    failed: int


def escalate(now: datetime, *, clock: Clock = timezone.now) -> Escalated:
    """Queue what nobody acknowledged in time, and send what is due."""
    queued, ends = queue(now), []
    claimed = claim(now)
    while claimed:
        ends += list(_send_all(claimed, clock))
        claimed = claim(clock()) if clock() < now + LAST_CLAIM else []
    heartbeat.beat(HEARTBEAT, now)
    return Escalated(queued, ends.count("sent"), ends.count("postponed"), ends.count("failed"))


def queue(now: datetime) -> int:
    """A message to every address of the rule, once for each alert; how many."""
    waits = ExpressionWrapper(
        F("rule__escalate_after_hours") * timedelta(hours=1), output_field=DurationField()
    )
    told = AlertMessage.objects.filter(alert=OuterRef("pk"))
    late = Alert.objects.open().filter(
        ~Exists(told),
        rule__escalate_after_hours__isnull=False,
        rule__active_since__isnull=False,
        raised_at__lte=now - waits,
    )
    rows = [
        AlertMessage(
            alert=alert, channel=channel, address=address, queued_at=now, next_attempt_at=now
        )
        for alert in late.select_related("rule")
        for channel, address in _addresses(alert)
    ]
    AlertMessage.objects.bulk_create(rows, ignore_conflicts=True)
    return len(rows)


def _addresses(alert: Alert) -> Iterator[tuple[Channel, str]]:
    for address in dict.fromkeys(alert.rule.escalate_mail):
        yield Channel.MAIL, address
    if alert.rule.escalate_webhook:
        yield Channel.WEBHOOK, alert.rule.escalate_webhook


@transaction.atomic
def claim(now: datetime) -> list[AlertMessage]:
    """A few messages that are nobody else's until the lease ends."""
    free = AlertMessage.objects.claimable(now).select_for_update(skip_locked=True, of=("self",))
    few = list(free.order_by("next_attempt_at", "pk")[:SENDERS].values_list("pk", flat=True))
    ours = AlertMessage.objects.filter(pk__in=few)
    ours.update(lease_until=now + LEASE, attempts=F("attempts") + 1)
    about = ("alert__rule__study", "alert__participant__site")
    return list(ours.select_related(*about).order_by("pk"))


# --- sending: in threads, without the database ------------------------------------------


def _send_all(claimed: list[AlertMessage], clock: Clock) -> Iterator[str]:
    with ThreadPoolExecutor(max_workers=len(claimed)) as pool:
        jobs = {pool.submit(send, each, clock()): each for each in claimed}
        for job in as_completed(jobs):
            yield _mark(jobs[job], job.exception(), clock())


def send(message: AlertMessage, now: datetime) -> None:
    """Send one message, or raise NotTaken."""
    if message.channel == Channel.MAIL:
        _mail(message)
        return
    body = json.dumps(content(message), separators=(",", ":")).encode()
    alert_webhook.post(
        message.address,
        body,
        key=message.alert.rule.webhook_key,
        name=f"alert-{message.alert_id}",
        at=int(now.timestamp()),
    )


def content(message: AlertMessage) -> dict[str, object]:
    """What a webhook is told; nothing of what was found, or of arms."""
    alert = message.alert
    return {
        "alert": alert.pk,
        "study": alert.rule.study.slug,
        "site": alert.participant.site.code,
        "participant": alert.participant.code,
        "severity": alert.severity,
        "raised_at": alert.raised_at.isoformat(),
        "unacknowledged_after_hours": alert.rule.escalate_after_hours,
    }


def letter(message: AlertMessage) -> EmailMessage:
    """The same as an e-mail in plain text."""
    told = content(message)
    text = (
        f"Alert {told['alert']} about participant {told['participant']} of site {told['site']} in "
        f"study {told['study']} was raised at {message.alert.raised_at:%Y-%m-%d %H:%M} UTC, and "
        f"nobody has acknowledged it. Severity: {told['severity']}.\n\n"
        "What was found is not in this message: sign in, and open the study's safety alerts.\n"
    )
    domain = settings.EMAIL_FROM.rpartition("@")[2]
    headers = {
        "Auto-Submitted": "auto-generated",
        "Message-ID": f"<alert-{message.alert_id}-{message.pk}@{domain}>",
    }
    subject = f"Alert {told['alert']} waits in study {told['study']}"
    return EmailMessage(subject, text, settings.EMAIL_FROM, [message.address], headers=headers)


def _mail(message: AlertMessage) -> None:
    if not settings.EMAIL_SERVER:
        raise NotTaken("e-mail is not set up here any more: an administrator sets EMAIL_URL")
    server = Server(seconds=SECONDS_TO_SEND, **settings.EMAIL_SERVER)
    try:
        server.open()
        server.send_messages([letter(message)])
    except OSError as error:  # what smtplib raises is among them
        raise _refusal(error) from error
    finally:
        hang_up(server)


def _refusal(error: OSError) -> NotTaken:
    """The server's code; its words are left out, because they may name the address."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        ((code, _),) = error.recipients.values()
    elif isinstance(error, smtplib.SMTPResponseException):
        code = error.smtp_code
    else:
        return NotTaken(f"mail server: {failures.in_words(error)}")
    about_us = isinstance(error, smtplib.SMTPAuthenticationError | smtplib.SMTPConnectError)
    for_good = code >= REFUSED_FOR_GOOD and not about_us
    return NotTaken(f"the mail server answered {code}", permanent=for_good)


# --- marking: only while the lease is ours ----------------------------------------------


def _mark(message: AlertMessage, error: BaseException | None, at: datetime) -> str:
    """Write down what became of an attempt: sent, failed, postponed, or lost with the lease."""
    if error is None:
        return _settle(message, "sent", sent_at=at, failure="")
    if not isinstance(error, NotTaken):
        log.error("Message %d about an alert broke", message.pk, exc_info=error)
        error = NotTaken(f"sending broke: {failures.in_words(error)}")
    failure = str(error)[:300]
    gives_up = at - message.queued_at >= GIVE_UP_AFTER
    if gives_up or error.permanent:
        return _settle(message, "failed", failed_at=at, failure=failure)
    next_attempt_at = at + wait_before_retry(message.attempts)
    return _settle(message, "postponed", next_attempt_at=next_attempt_at, failure=failure)


def _settle(message: AlertMessage, end: str, **fields: object) -> str:
    """End the lease by compare-and-set; another's work is left alone."""
    ours = AlertMessage.objects.filter(
        pk=message.pk, lease_until=message.lease_until, sent_at=None, failed_at=None
    )
    return end if ours.update(lease_until=None, **fields) else "lost"


def wait_before_retry(
    attempts: int, jitter: Callable[[float, float], float] = random.uniform
) -> timedelta:
    """Exponential back-off, half of it by chance."""
    longest = min(LONGEST_WAIT_S, FIRST_WAIT_S * 2 ** (attempts - 1))
    return timedelta(seconds=jitter(longest / 2, longest))


# --- what is wrong ----------------------------------------------------------------------


def failing(alerts: QuerySet[Alert]) -> list[str]:
    """A sentence for each address that open alerts could not be told to."""
    wrong = AlertMessage.objects.filter(
        alert__in=alerts, alert__acknowledged_at=None, sent_at=None
    ).exclude(failure="")
    found: dict[tuple[str, str], list[AlertMessage]] = {}
    for message in wrong.order_by("queued_at"):
        found.setdefault((message.channel, shown(message)), []).append(message)
    return [
        f"{len(those)} alert{'s' if len(those) > 1 else ''} could not be told to {address}: "
        f"{those[-1].failure}."
        for (_, address), those in found.items()
    ]


def shown(message: AlertMessage) -> str:
    """An address as pages show it; the path of a webhook may be a secret."""
    if message.channel == Channel.MAIL:
        return message.address
    return f"the webhook at {urlsplit(message.address).netloc}"
