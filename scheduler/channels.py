"""Ways to reach a phone. Each takes a message and returns, or raises PushError.

A message is neutral: whoever reads the screen learns nothing of the study, the drug or the arm.
"""

import logging
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import NamedTuple
from uuid import UUID

import httpx
from django.conf import settings

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


def channel(name: str) -> Send:
    """The channel by the name it has in DELIVERY_CHANNEL."""
    return {"console": console, "webhook": webhook}[name]


def console(message: Message) -> None:
    """One line in the log; for a look on one machine."""
    log.info("%s: prompt %s due %s", TITLE, message.prompt_id, message.due_at.isoformat())


def webhook(message: Message) -> None:
    """POST the message to DELIVERY_WEBHOOK_URL; any 2xx counts as sent."""
    content = {
        "prompt_id": str(message.prompt_id),
        "participant": str(message.participant),
        "title": TITLE,
        "due_at": message.due_at.isoformat(),
        "expires_at": message.expires_at.isoformat(),
    }
    headers = {"Idempotency-Key": str(message.prompt_id)}
    try:
        reply = _client().post(settings.DELIVERY_WEBHOOK_URL, json=content, headers=headers)
    except httpx.HTTPError as error:
        raise PushError(f"webhook: {error or type(error).__name__}") from error
    if not reply.is_success:
        raise PushError(
            f"webhook answered {reply.status_code}",
            permanent=reply.status_code in PERMANENT,
            retry_after=_retry_after(reply),
        )


@cache
def _client() -> httpx.Client:
    """One client per process: its connections are kept, and threads may share it."""
    return httpx.Client(timeout=TIMEOUT_S, follow_redirects=False)


def _retry_after(reply: httpx.Response) -> float | None:
    """Seconds, from a number or an HTTP date; None when absent or unreadable."""
    stated = reply.headers.get("Retry-After", "")
    if stated.isdecimal():
        return float(stated)
    try:
        return max(0.0, (parsedate_to_datetime(stated) - datetime.now(UTC)).total_seconds())
    except (ValueError, TypeError):
        return None
