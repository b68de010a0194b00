"""Push registrations: where a phone wants to be told that a prompt is due.

The address is given by a client and called by the server, so a Web Push address must be an https
URL of a push service that is known by name, without credentials and without a port of its own.
"""

import base64
import binascii
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

from django.conf import settings
from django.db import transaction

from ema.link_settings import EMAIL, NUMBER
from ema.models import Device, PushRegistration
from ema.models.push import PushKind

PUSH_SERVICES = (
    "*.push.services.mozilla.com",
    "fcm.googleapis.com",
    "web.push.apple.com",
    "*.notify.windows.com",
)
URL = re.compile(r"https://([A-Za-z0-9.-]{1,253}(?::[0-9]{1,5})?)/[A-Za-z0-9._~%/?=&:@!$'()*+,;-]*")
TOKENS = {
    PushKind.FCM: re.compile(r"[A-Za-z0-9_:.%~-]{10,1500}"),
    PushKind.APNS: re.compile(r"(?:[0-9A-Fa-f]{2}){32,100}"),
    PushKind.EMAIL: EMAIL,
    PushKind.SMS: NUMBER,
}
TOKEN_WORDS = {
    PushKind.FCM: "the registration token of Firebase",
    PushKind.APNS: "the device token of Apple in hexadecimal digits",
    PushKind.EMAIL: "an e-mail address such as someone@example.org, at most 254 characters",
    PushKind.SMS: "a phone number with its country and digits only: +32470123456",
}
SHARED = (PushKind.EMAIL, PushKind.SMS)  # anybody can know them: taking one takes it from nobody
KEY_BYTES = {"p256dh": 65, "auth": 16}


class RegistrationRefused(Exception):
    """This registration cannot work; the message says what would be right."""

    def __init__(self, code: str, title: str) -> None:
        super().__init__(title)
        self.code = code


@transaction.atomic
def register(
    *, device: Device, kind: str, address: str, keys: Mapping[str, Any], now: datetime
) -> PushRegistration:
    """Keep a phone's registration instead of its former one; whoever had this address loses it.

    Whoever shares an e-mail address or a number keeps it.
    """
    refuse_unavailable(kind)
    kept = checked_keys(kind, keys)
    refuse_wrong_address(kind, address)
    if kind not in SHARED:
        elsewhere = PushRegistration.objects.filter(kind=kind, address=address, died_at=None)
        elsewhere.exclude(device=device).update(died_at=now, death="another phone has this address")
    registration, _ = PushRegistration.objects.update_or_create(
        device=device,
        defaults={
            "kind": kind,
            "address": address,
            "keys": kept,
            "registered_at": now,
            "died_at": None,
            "death": "",
        },
    )
    return registration


def forget(device: Device) -> None:
    """The phone wants no pushes any more: its address is erased."""
    PushRegistration.objects.filter(device=device).delete()


def retire(registration: PushRegistration, *, reason: str, now: datetime) -> bool:
    """The push service does not know this address; a phone that registered anew is left alone."""
    same = PushRegistration.objects.filter(
        pk=registration.pk, kind=registration.kind, address=registration.address, died_at=None
    )
    return bool(same.update(died_at=max(now, registration.registered_at), death=reason[:300]))


def refuse_unavailable(kind: str) -> None:
    """RegistrationRefused when this server sends no e-mail, or no SMS."""
    for link, configured, setting in (
        (PushKind.EMAIL, settings.EMAIL_SERVER, "EMAIL_URL"),
        (PushKind.SMS, settings.SMS_URL, "SMS_URL"),
    ):
        if kind == link and not configured:
            title = (
                f"Kind {kind} is not set up here (an administrator sets {setting}): take another."
            )
            raise RegistrationRefused("kind_unavailable", title)


def refuse_wrong_address(kind: str, address: str) -> None:
    """RegistrationRefused unless the address can be one of its kind."""
    if kind == PushKind.WEBPUSH:
        host = URL.fullmatch(address)
        if host is None:
            title = "A Web Push address is an https URL without user name: send the subscription's."
            raise RegistrationRefused("address_refused", title)
        if not is_allowed(host[1], [*PUSH_SERVICES, *settings.PUSH_HOSTS]):
            title = f"{host[1]} is no push service known here: an administrator adds PUSH_HOSTS."
            raise RegistrationRefused("address_refused", title)
    elif not TOKENS[PushKind(kind)].fullmatch(address):
        title = f"An address of kind {kind} is {TOKEN_WORDS[PushKind(kind)]}."
        raise RegistrationRefused("address_refused", title)


def is_allowed(host: str, allowed: Iterable[str]) -> bool:
    """Whether `host` (with its port, if the URL names one) is on the list.

    `*.example.org` allows what is below example.org; a port counts only when the list names it.
    """
    host = host.lower()
    return any(
        host.endswith(name[1:]) and len(host) > len(name) - 1
        if name.startswith("*.")
        else host == name
        for name in (each.lower() for each in allowed)
    )


def checked_keys(kind: str, keys: Mapping[str, Any]) -> dict[str, str]:
    """The keys that are kept: `p256dh` and `auth` of a Web Push subscription, nothing else."""
    if kind != PushKind.WEBPUSH:
        return {}
    return {name: _checked_key(name, keys.get(name), size) for name, size in KEY_BYTES.items()}


def _checked_key(name: str, value: Any, size: int) -> str:
    try:
        raw = from_base64url(value) if isinstance(value, str) else b""
    except (binascii.Error, ValueError):
        raw = b""
    if len(raw) != size or (name == "p256dh" and raw[0] != 4):
        title = (
            f"keys.{name} is {size} bytes in base64url: send the subscription's keys as they are."
        )
        raise RegistrationRefused("keys_refused", title)
    return str(value)


def from_base64url(text: str) -> bytes:
    """Bytes of base64url, with or without its padding."""
    text = text.rstrip("=")
    if not re.fullmatch(r"[A-Za-z0-9_-]*", text):
        raise ValueError("not base64url")
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
