"""What both say: that a check-in waits, until when, and where. No word of the study."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

from django.conf import settings

from scheduler.channels import TITLE, Message, PushError

LONGEST_S = 15.0  # of a whole conversation: less than the lease has left


def text(message: Message) -> str:
    """Two lines, for a screen of any size."""
    return f"{TITLE}, until {until(message)}:\n{link(message)}"


def until(message: Message) -> str:
    """The expiry on the participant's clock, with its date unless that is today."""
    zone = ZoneInfo(message.zone)
    local, today = message.expires_at.astimezone(zone), datetime.now(UTC).astimezone(zone).date()
    date = "" if local.date() == today else f" on {local.day} {local:%B}"
    return f"{local:%H:%M}{date}"


def link(message: Message) -> str:
    """The prompt's id is behind the #: no server on the way writes it into a log."""
    template: str = settings.LINK_URL_TEMPLATE
    return template.replace("{prompt_id}", str(message.prompt_id))


def seconds_to_send(message: Message) -> float:
    """How long sending may take: not beyond the lease, not beyond the expiry."""
    left = (message.expires_at - datetime.now(UTC)).total_seconds()
    if left <= 0:
        raise PushError("it expired", permanent=True)
    return min(LONGEST_S, left)
