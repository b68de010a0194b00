"""Post to the webhook of a rule: signed, without redirects, and never to a private address.

The address is typed by a person and called by the server. So it is https, its host is looked up
once, every address it has must be public, and that very address is called. Hosts that the
setting ALERT_WEBHOOK_HOSTS names may be private, and may be spoken to by http.
"""

import hashlib
import hmac
import ipaddress
import re
import socket
from collections.abc import Iterable
from typing import Any
from urllib.parse import urlsplit

import httpx
from django.conf import settings

from ema import failures
from ema.push import is_allowed

URL = re.compile(r"https?://([A-Za-z0-9.-]{1,253})(:[0-9]{1,5})?(/[^\s#]*)?")
TIMEOUT_S = 5.0
PERMANENT = frozenset({400, 404, 410})
HTTPS = 443


class AddressRefused(ValueError):
    """This address is not called; the message says why."""


class NotTaken(Exception):
    """The message was not taken; `permanent`: it never will be."""

    def __init__(self, why: str, *, permanent: bool = False) -> None:
        super().__init__(why)
        self.permanent = permanent


def refuse_wrong_address(url: str) -> None:
    """AddressRefused unless a message may be posted there, as far as the address itself tells."""
    found = URL.fullmatch(url)
    if found is None:
        raise AddressRefused(
            "A webhook is an https address without user name: https://alerts.example.org/fourbeat."
        )
    if _is_listed(found):
        return
    if not url.startswith("https://"):
        raise AddressRefused(
            "A webhook is called by https; an administrator may list hosts of their own network "
            "in ALERT_WEBHOOK_HOSTS."
        )
    host = found[1]
    if _is_address(host) or "." not in host or host.endswith((".local", ".internal", ".localhost")):
        raise AddressRefused(
            f"{host} is no public host name; an administrator may list it in ALERT_WEBHOOK_HOSTS."
        )


def _is_listed(found: re.Match[str]) -> bool:
    return is_allowed(f"{found[1]}{found[2] or ''}", settings.ALERT_WEBHOOK_HOSTS)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return bool(re.fullmatch(r"[0-9.]+|0x[0-9A-Fa-f.]+", host))
    return True


def signature(key: str, body: bytes, at: int) -> str:
    """HMAC-SHA256 of the seconds, a point and the body, in hexadecimal digits."""
    return hmac.new(key.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()


def post(url: str, body: bytes, *, key: str, name: str, at: int) -> None:
    """POST a signed body; any 2xx counts as taken. NotTaken otherwise."""
    try:
        refuse_wrong_address(url)
        target, extensions = _pinned(url)
    except AddressRefused as error:
        raise NotTaken(str(error), permanent=True) from error
    headers = {
        "Content-Type": "application/json",
        "Host": urlsplit(url).netloc,
        "Idempotency-Key": name,
        "Fourbeat-Signature": f"t={at},sha256={signature(key, body, at)}",
    }
    try:
        with httpx.Client(
            verify=httpx.create_ssl_context(),  # by SSL_CERT_FILE, where a company has its own
            timeout=TIMEOUT_S,
            follow_redirects=False,
            trust_env=False,  # a proxy would look the host up anew
        ) as client:
            reply = client.post(target, content=body, headers=headers, extensions=extensions)
    except httpx.HTTPError as error:
        raise NotTaken(f"webhook: {failures.in_words(error)}") from error
    if not reply.is_success:
        permanent = reply.status_code in PERMANENT
        raise NotTaken(f"webhook answered {reply.status_code}", permanent=permanent)


def _pinned(url: str) -> tuple[str, dict[str, Any]]:
    """The URL with the looked-up address in the place of its host, and the name for TLS."""
    found = URL.fullmatch(url)
    assert found  # noqa: S101 - checked before
    if _is_listed(found):
        return url, {}
    host, port = found[1], int((found[2] or f":{HTTPS}")[1:])
    address = _public_address(host, _looked_up(host, port))
    shown = f"[{address}]" if ":" in address else address
    return f"https://{shown}:{port}{found[3] or '/'}", {"sni_hostname": host}


def _looked_up(host: str, port: int) -> list[str]:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise NotTaken(f"webhook: {host} cannot be looked up") from error
    return [str(each[4][0]) for each in found]


def _public_address(host: str, addresses: Iterable[str]) -> str:
    """The first address; AddressRefused when any of them is private."""
    listed = list(addresses)
    for address in listed:
        if not ipaddress.ip_address(address.partition("%")[0]).is_global:
            raise AddressRefused(
                f"{host} has a private address; an administrator may list it in "
                "ALERT_WEBHOOK_HOSTS."
            )
    return listed[0]
