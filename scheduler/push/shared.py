"""What push services have in common."""

from collections.abc import Callable
from datetime import UTC, datetime
from threading import Lock

from ema.models import PushRegistration
from ema.push import RegistrationRefused, refuse_wrong_address
from scheduler.channels import Message, PushError

NEVER = datetime.min.replace(tzinfo=UTC)
Issue = Callable[[datetime], tuple[str, datetime]]


def registration_of(message: Message) -> PushRegistration:
    """The registration to send to; PushError when there is none, or none that may be called."""
    registration = message.registration
    if registration is None:
        raise PushError("the phone took its registration back", permanent=True)
    try:
        refuse_wrong_address(registration.kind, registration.address)
    except RegistrationRefused as error:
        raise PushError(str(error), permanent=True) from error
    return registration


class KeptToken:
    """A token that is used until it is nearly over; threads share it, one at a time renews it."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._forget()

    def _forget(self) -> None:
        self._owner, self._token, self._until = "", "", NEVER

    def get(self, owner: str, issue: Issue) -> str:
        """The token of `owner`; `issue` tells a new one and until when it may be used."""
        now = datetime.now(UTC)
        with self._lock:
            if owner != self._owner or now >= self._until:
                self._token, self._until = issue(now)
                self._owner = owner
            return self._token

    def drop(self, token: str) -> None:
        """It was refused: issue another next time, unless somebody did already."""
        with self._lock:
            if token == self._token:
                self._forget()
