"""What is kept of a failure: a sentence of our own, never the words of an exception.

Those may repeat what a server answered, or what somebody wrote.
"""

import smtplib
import socket
import ssl

import httpx

from ema.logs import chain

SENTENCES: tuple[tuple[type[BaseException], str], ...] = (
    (TimeoutError, "it took too long"),
    (httpx.TimeoutException, "it took too long"),
    (ssl.SSLCertVerificationError, "its certificate is not trusted"),
    (ConnectionRefusedError, "the connection was refused"),
    (socket.gaierror, "its name cannot be looked up"),
    (httpx.RemoteProtocolError, "it answered nothing that can be read"),
    (smtplib.SMTPNotSupportedError, "it lacks STARTTLS, AUTH or SMTPUTF8"),
)


def in_words(error: BaseException) -> str:
    """Why it failed, as far as the kinds of this error and of what it came from tell."""
    found = (
        sentence for each in chain(error) for kind, sentence in SENTENCES if isinstance(each, kind)
    )
    return next(found, type(error).__name__)
