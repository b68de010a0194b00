"""A mail server that wants STARTTLS (or TLS from the first byte) and a password, and keeps mail."""

import asyncio
import logging
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from email.message import EmailMessage
from typing import Any, NamedTuple

from aiosmtpd.controller import Controller
from aiosmtpd.smtp import SMTP, AuthResult, Envelope, LoginPassword, Session

from tests.scheduler.fakes.tls import Certificate

USER, PASSWORD = b"trial", b"pa/ss word"


class Received(NamedTuple):
    sender: str
    recipients: list[str]
    mail: EmailMessage
    was_encrypted: bool


class MailServer:
    """What is in `plays` comes first: answers to RCPT, or to DATA when they begin with DATA."""

    def __init__(self) -> None:
        self.plays: list[str] = []
        self.received: list[Received] = []
        self.asked: list[str] = []
        self.delay_s = 0.0
        self.port = free_port()

    async def handle_RCPT(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        self.asked.append(address)
        await asyncio.sleep(self.delay_s)
        if self.plays and not self.plays[0].startswith("DATA "):
            return self.plays.pop(0)
        envelope.rcpt_tos.append(address)
        return "250 2.1.5 OK"

    async def handle_MAIL(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        await asyncio.sleep(self.delay_s)
        envelope.mail_from = address
        return "250 2.1.0 OK"

    async def handle_DATA(  # noqa: N802
        self, server: SMTP, session: Session, envelope: Envelope
    ) -> str:
        if self.plays:
            return self.plays.pop(0).removeprefix("DATA ")
        raw = envelope.original_content or b""
        mail: Any = message_from_bytes(raw, policy=policy.default)
        encrypted = server.transport is not None and bool(server.transport.get_extra_info("cipher"))
        self.received.append(
            Received(str(envelope.mail_from), list(envelope.rcpt_tos), mail, encrypted)
        )
        return "250 2.0.0 kept"

    def check(self, server: SMTP, session: Session, envelope: Envelope, how: str, what: Any) -> Any:
        right = isinstance(what, LoginPassword) and (what.login, what.password) == (USER, PASSWORD)
        return AuthResult(success=right, handled=False)


@contextmanager
def served(
    found: MailServer, certificate: Certificate, *, by: str = "smtp+tls"
) -> Iterator[dict[str, Any]]:
    """The server in a thread; what it yields is what EMAIL_URL becomes."""
    logging.getLogger("mail.log").setLevel(logging.CRITICAL)  # refused handshakes are meant
    context = certificate.context()
    options: dict[str, Any] = {"authenticator": found.check, "auth_required": True}
    if by == "smtp+ssl":
        options |= {"ssl_context": context, "auth_require_tls": False}
    elif by == "smtp+tls":
        options |= {"tls_context": context, "require_starttls": True}
    else:
        options = {}
    controller = Controller(found, hostname="127.0.0.1", port=found.port, **options)
    controller.start()
    try:
        yield {
            "host": "127.0.0.1",
            "port": found.port,
            "username": USER.decode(),
            "password": PASSWORD.decode(),
            "use_tls": by != "smtp+ssl",
            "use_ssl": by == "smtp+ssl",
        }
    finally:
        controller.stop()


def free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
    return port
