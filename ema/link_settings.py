"""What the settings of e-mail and SMS must look like; a wrong one is refused in words."""

import logging
import re
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import environ
from django.core.exceptions import ImproperlyConfigured

if TYPE_CHECKING:
    from apprise import NotifyBase

TIMEOUT_S = 5.0
SCHEMES: dict[str, dict[str, Any]] = {
    "smtp": {"port": 25},
    "smtp+tls": {"port": 587, "use_tls": True},
    "smtp+ssl": {"port": 465, "use_ssl": True},
}
THIS_MACHINE = ("localhost", "127.0.0.1", "[::1]", "::1")
LINK = re.compile(r"https://[A-Za-z0-9.-]+(?::[0-9]{1,5})?[^\s#{}]*#[^\s{}]*\{prompt_id\}[^\s{}]*")
EMAIL = re.compile(
    r"(?=.{3,254}$)[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*"
    r"(?<!.{65})@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.)+[A-Za-z][A-Za-z0-9-]{1,62}"
)
NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")  # E.164
SAMPLE = "+15005550006"


def mail_server(url: str, sender: str) -> dict[str, Any]:
    """What Django's SMTP backend is told; empty when unset."""
    if not url:
        return {}
    try:
        found = environ.Env.email_url_config(url)
        scheme, host = urlsplit(url).scheme, found["EMAIL_HOST"]
    except (ValueError, KeyError, ImproperlyConfigured):
        scheme, host = "", None
    if scheme not in SCHEMES or not host or urlsplit(url).query:
        raise ImproperlyConfigured(
            "EMAIL_URL is wrong: write smtp+tls://user:password@mail.example.org:587 "
            "(STARTTLS) or smtp+ssl://user:password@mail.example.org:465."
        )
    if scheme == "smtp" and host not in THIS_MACHINE:
        raise ImproperlyConfigured(
            "EMAIL_URL: smtp:// sends in the clear, to a mail server on this machine only; "
            "write smtp+tls:// or smtp+ssl://."
        )
    if not EMAIL.fullmatch(sender):
        raise ImproperlyConfigured(
            "EMAIL_FROM must be the address that e-mail comes from, and no name: "
            "check-in@example.org."
        )
    server = {
        "host": host,
        "port": found["EMAIL_PORT"],
        "username": found["EMAIL_HOST_USER"] or "",
        "password": found["EMAIL_HOST_PASSWORD"] or "",
    }
    stated = {name: value for name, value in server.items() if value is not None}
    return {"use_tls": False, "use_ssl": False, **SCHEMES[scheme], **stated}


def refuse_wrong_addresses(name: str, addresses: list[str]) -> None:
    """ImproperlyConfigured unless these are addresses without names."""
    wrong = [each for each in addresses if not EMAIL.fullmatch(each)]
    if wrong:
        raise ImproperlyConfigured(
            f"{name}: {wrong[0]!r} is no address; write them with commas: a@example.org,b@…"
        )


def link_template(template: str, *, needed: bool) -> str:
    """An https address with the prompt's id behind its #, which browsers keep to themselves."""
    if (template or needed) and not LINK.fullmatch(template):
        raise ImproperlyConfigured(
            "LINK_URL_TEMPLATE must be set when EMAIL_URL or SMS_URL is, to an https address with "
            "{prompt_id} after a #: https://app.example.org/#prompt={prompt_id}."
        )
    return template


def sms_url(url: str) -> str:
    """The address of an SMS gateway as apprise writes it, with {to} for the number."""
    if not url:
        return ""
    if find_spec("apprise") is None:
        raise ImproperlyConfigured("SMS_URL is set, but the extra 'messages' is not installed.")
    plugin = gateway(url, SAMPLE) if url.count("{to}") == 1 else None
    if plugin is None or SAMPLE[1:] not in _shown(plugin):
        raise ImproperlyConfigured(
            "SMS_URL is wrong: write an SMS service of apprise with {to} where the number goes, "
            "such as twilio://SID:token@+15551234567/{to}."
        )
    if urlsplit(url).scheme in _names(plugin.protocol):
        instead = " or ".join(_names(plugin.secure_protocol)) or "another service"
        raise ImproperlyConfigured(f"SMS_URL sends in the clear: write {instead}.")
    is_patient = max(plugin.request_timeout) > TIMEOUT_S or plugin.retry or plugin.redirects
    if is_patient or not plugin.verify_certificate:
        raise ImproperlyConfigured(
            "SMS_URL must not change verify, redirect, retry, cto or rto: certificates are "
            f"checked, {TIMEOUT_S:g} s waited, and the dispatcher tries again by itself."
        )
    return url


def gateway(url: str, number: str) -> "NotifyBase | None":
    """The SMS service for this number, or None; logs that would tell numbers are kept off."""
    from apprise import Apprise, AppriseAsset

    for telling in ("apprise", "urllib3"):
        logging.getLogger(telling).propagate = False
    asset = AppriseAsset(http_redirects=False, async_mode=False)
    found: NotifyBase | None = Apprise.instantiate(
        url.replace("{to}", quote(number, safe="")), asset=asset
    )
    return found


def _shown(plugin: "NotifyBase") -> str:
    return str(plugin.url())  # type: ignore[no-untyped-call]


def _names(protocol: Any) -> tuple[str, ...]:
    return (protocol,) if isinstance(protocol, str) else tuple(protocol or ())
