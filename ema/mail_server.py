"""A conversation with the mail server that ends: Django's SMTP backend, limited as a whole."""

import logging
import smtplib
from collections.abc import Callable
from functools import partial
from time import monotonic
from typing import Any

from django.core.mail.backends.smtp import EmailBackend

from ema import failures, link_settings

log = logging.getLogger(__name__)


class TookTooLong(smtplib.SMTPServerDisconnected, TimeoutError):
    """The conversation as a whole has no time left."""


class Talk(smtplib.SMTP):
    """Waits for each answer at most 5 s, and for all of them not beyond `ends`."""

    def __init__(self, *args: Any, ends: float, **kwargs: Any) -> None:
        self.ends = ends
        super().__init__(*args, **kwargs)

    def getreply(self) -> tuple[int, bytes]:
        left = self.ends - monotonic()
        if left <= 0:
            self.close()
            raise TookTooLong
        if self.sock:
            self.sock.settimeout(min(link_settings.TIMEOUT_S, left))
        return super().getreply()


class TlsTalk(Talk, smtplib.SMTP_SSL):
    """The same, with TLS from its first byte."""


class Server(EmailBackend):
    """Django's backend, which speaks by `Talk`."""

    def __init__(self, *, seconds: float, **kwargs: Any) -> None:
        super().__init__(timeout=link_settings.TIMEOUT_S, fail_silently=False, **kwargs)
        self.ends = monotonic() + seconds

    @property
    def connection_class(self) -> Callable[..., smtplib.SMTP]:  # type: ignore[override]
        return partial(TlsTalk if self.use_ssl else Talk, ends=self.ends)


def hang_up(server: EmailBackend) -> None:
    """Whatever the server says to QUIT, it has taken or refused the message before."""
    try:
        server.close()
    except OSError as error:
        log.info("The mail server did not say goodbye: %s", failures.in_words(error))
