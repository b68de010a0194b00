"""Prompts by e-mail."""

import re
import smtplib
from email.utils import make_msgid

from django.conf import settings
from django.core.mail import EmailMessage

from ema import failures
from ema.mail_server import Server, hang_up
from scheduler.channels import TITLE, Gone, Message, PushError
from scheduler.links.shared import seconds_to_send, text
from scheduler.push.shared import registration_of

NOBODY = re.compile(r"5\.1\.[1236]|5\.1\.10|5\.2\.1")  # RFC 3463: no such mailbox, or closed
NOBODY_CODES = frozenset({550, 551, 553})
ENHANCED = re.compile(r"[245]\.[0-9]{1,3}\.[0-9]{1,3}\b")


def send(message: Message) -> None:
    """One e-mail in plain text; the server's 250 counts as sent."""
    to = registration_of(message)
    server = Server(seconds=seconds_to_send(message), **settings.EMAIL_SERVER)
    mail = letter(message, to.address)
    try:
        server.open()
        server.send_messages([mail])
    except OSError as error:  # what smtplib raises is among them
        raise refusal(error) from error
    finally:
        hang_up(server)


def letter(message: Message, address: str) -> EmailMessage:
    """The prompt's id is the Message-ID, so what comes twice is one; reminders refer to it."""
    domain = settings.EMAIL_FROM.rpartition("@")[2]
    first = f"<{message.prompt_id}@{domain}>"
    headers = {"Auto-Submitted": "auto-generated", "Message-ID": first}
    if message.kind != "prompt":
        headers |= {"Message-ID": make_msgid(domain=domain), "References": first}
    return EmailMessage(TITLE, text(message), settings.EMAIL_FROM, [address], headers=headers)


def refusal(error: OSError) -> PushError:
    """What the answer means for this address; its words are left out, because they may name it."""
    if isinstance(error, smtplib.SMTPRecipientsRefused):
        ((code, words),) = error.recipients.values()
        return _about_the_message(code, words, NOBODY_CODES)
    if isinstance(error, smtplib.SMTPDataError):
        return _about_the_message(error.smtp_code, error.smtp_error, frozenset())
    if isinstance(error, smtplib.SMTPResponseException):  # about us: sender, password
        return PushError(f"the mail server answered {_codes(error.smtp_code, error.smtp_error)}")
    return PushError(f"mail server: {failures.in_words(error)}")


def _about_the_message(code: int, words: bytes | str, nobody: frozenset[int]) -> PushError:
    """An enhanced code (RFC 3463) tells an unknown mailbox from a refused message."""
    codes = _codes(code, words)
    enhanced = codes.partition(" ")[2]
    if NOBODY.fullmatch(enhanced) if enhanced else code in nobody:
        return Gone(f"the mail server answered {codes}")
    return PushError(f"the mail server answered {codes}", permanent=500 <= code < 600)


def _codes(code: int, words: bytes | str) -> str:
    said = words.decode(errors="replace") if isinstance(words, bytes) else words
    enhanced = ENHANCED.match(said)
    return f"{code} {enhanced[0]}" if enhanced else str(code)
