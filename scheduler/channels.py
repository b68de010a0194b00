"""Ways to reach a phone. Each takes a message and returns, or raises PushError.

A message is neutral: whoever reads the screen learns nothing of the study, the drug or the arm.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from importlib import import_module
from typing import Any, NamedTuple
from uuid import UUID

import httpx
from django.conf import settings

from ema import failures
from ema.models import PushRegistration

TITLE = "Check-in"
TIMEOUT_S = 5.0
PERMANENT = frozenset({400, 404, 410})
log = logging.getLogger(__name__)


class Message(NamedTuple):
    """What a channel is told. The prompt's id marks repetitions everywhere."""

    prompt_id: UUID
    participant: UUID
    due_at: datetime
    expires_at: datetime
    kind: str = "prompt"
    zone: str = "UTC"
    registration: PushRegistration | None = None

    def content(self) -> dict[str, str]:
        """As phones read it."""
        return {
            "prompt_id": str(self.prompt_id),
            "kind": self.kind,
            "title": TITLE,
            "due_at": self.due_at.isoformat(),
            "expires_at": self.expires_at.isoformat(),
        }

    def seconds_left(self) -> int:
        """Whole seconds from now to the expiry: no push service may keep it for longer."""
        return max(0, int((self.expires_at - datetime.now(UTC)).total_seconds()))


Send = Callable[[Message], None]


class PushError(Exception):
    """The channel did not take the message; `permanent`: it never will.

    `retry_after` is the number of seconds the channel asked to be left alone, if it did.
    """

    def __init__(
        self, message: str, *, permanent: bool = False, retry_after: float | None = None
    ) -> None:
        super().__init__(message)
        self.permanent = permanent
        self.retry_after = retry_after


class Gone(PushError):
    """The push service does not know this registration: it is dead."""

    def __init__(self, message: str) -> None:
        super().__init__(message, permanent=True)


# --- which channel ----------------------------------------------------------------------


class Routes(NamedTuple):
    """What a message can take: kinds of registrations with settings, and the way of all others.

    `next` is where a prompt goes that push did not take; the log of the console reaches nobody.
    """

    push: list[str]
    default: str
    next: str | None


def routes() -> Routes:
    configured = {
        "webpush": settings.VAPID_PRIVATE_KEY,
        "fcm": settings.FCM_SERVICE_ACCOUNT,
        "apns": settings.APNS_KEY,
        "email": settings.EMAIL_SERVER,
        "sms": settings.SMS_URL,
    }
    default: str = settings.DELIVERY_CHANNEL
    return Routes(
        push=[kind for kind, value in configured.items() if value],
        default=default,
        next=default if default == "webhook" else None,
    )


def channel(name: str) -> Send:
    """The channel of this name; push services need the extra `push`, SMS needs `messages`."""
    if name in ("console", "webhook"):
        return {"console": console, "webhook": webhook}[name]
    module = {"email": "links.mail", "sms": "links.sms"}.get(name, f"push.{name}")
    send: Send = import_module(f"scheduler.{module}").send
    return send


def send(name: str, message: Message) -> None:
    """Send by the channel of this name."""
    channel(name)(message)


# --- the two that need nothing ----------------------------------------------------------


def console(message: Message) -> None:
    """One line in the log; for a look on one machine."""
    log.info("%s: prompt %s due %s", TITLE, message.prompt_id, message.due_at.isoformat())


def webhook(message: Message) -> None:
    """POST the message to DELIVERY_WEBHOOK_URL; any 2xx counts as sent."""
    content = {**message.content(), "participant": str(message.participant)}
    key = str(message.prompt_id) + ("" if message.kind == "prompt" else f" {message.kind}")
    reply = post(
        "webhook",
        settings.DELIVERY_WEBHOOK_URL,
        json=content,
        headers={"Idempotency-Key": key},
    )
    if not reply.is_success:
        raise PushError(
            f"webhook answered {reply.status_code}",
            permanent=reply.status_code in PERMANENT,
            retry_after=retry_after(reply),
        )


# --- HTTP -------------------------------------------------------------------------------


def post(
    service: str, url: str, *, by: httpx.Client | None = None, **request: Any
) -> httpx.Response:
    """POST without following redirects; PushError when there is no answer."""
    try:
        return (by or client()).post(url, **request)
    except httpx.HTTPError as error:
        raise PushError(f"{service}: {failures.in_words(error)}") from error


@cache
def client() -> httpx.Client:
    """One client per process: its connections are kept, and threads may share it."""
    return httpx.Client(timeout=TIMEOUT_S, follow_redirects=False)


def retry_after(reply: httpx.Response) -> float | None:
    """Seconds, from a number or an HTTP date; None when absent or unreadable."""
    stated = reply.headers.get("Retry-After", "")
    if stated.isdecimal():
        return float(stated)
    try:
        return max(0.0, (parsedate_to_datetime(stated) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
