"""What the settings of push services must look like; a wrong one is refused in words."""

import base64
import json
import re
from collections.abc import Iterable
from importlib.util import find_spec
from pathlib import Path

from django.core.exceptions import ImproperlyConfigured

HOST = re.compile(r"(?:\*\.)?[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?::[0-9]{1,5})?")
BASE = re.compile(r"https://[A-Za-z0-9.-]+(?::[0-9]{1,5})?")
NEEDED = ("cryptography", "h2", "http_ece", "jwt")
ACCOUNT = ("project_id", "client_email", "private_key", "token_uri")

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def refuse_wrong_hosts(hosts: Iterable[str], setting: str = "PUSH_HOSTS") -> None:
    """ImproperlyConfigured unless each is a host name, perhaps below `*.` or with a port."""
    for host in hosts:
        if not HOST.fullmatch(host):
            raise ImproperlyConfigured(
                f"{setting}: {host!r} is wrong: write push.example.org or *.push.example.org."
            )


def refuse_wrong_vapid(key: str, subject: str) -> None:
    """The private key is 32 bytes in base64url; its subject tells push services whom to ask."""
    if not key:
        return
    _need_the_extra("VAPID_PRIVATE_KEY")
    is_text = re.fullmatch(r"[A-Za-z0-9_-]{43}", key)
    number = int.from_bytes(base64.urlsafe_b64decode(key + "=")) if is_text else 0
    if not 0 < number < P256_ORDER:
        raise ImproperlyConfigured(
            "VAPID_PRIVATE_KEY must be 32 bytes in base64url: manage.py vapid_keys makes one."
        )
    if not re.fullmatch(r"mailto:[^@\s]+@[^@\s]+|https://\S+", subject):
        raise ImproperlyConfigured(
            "VAPID_SUBJECT must say whom push services may ask: mailto:trial@example.org."
        )


def service_account(value: str) -> dict[str, str]:
    """The service account of Firebase, from its JSON or the path of it; empty when unset."""
    if not value:
        return {}
    _need_the_extra("FCM_SERVICE_ACCOUNT")
    try:
        account = json.loads(_text("FCM_SERVICE_ACCOUNT", value, begins="{"))
        found = {name: str(account[name]) for name in ACCOUNT}
    except (ValueError, KeyError, TypeError) as error:
        raise ImproperlyConfigured(
            "FCM_SERVICE_ACCOUNT must be the JSON of a service account (or its path) "
            f"with {', '.join(ACCOUNT)}."
        ) from error
    if not found["token_uri"].startswith("https://"):
        raise ImproperlyConfigured("FCM_SERVICE_ACCOUNT: its token_uri must begin with https://.")
    _refuse_wrong_pem("FCM_SERVICE_ACCOUNT", found["private_key"], "an RSA key of Google")
    return found


def apns_key(value: str) -> str:
    """The .p8 key of Apple, from its text or the path of it; empty when unset."""
    if not value:
        return ""
    _need_the_extra("APNS_KEY")
    text = _text("APNS_KEY", value, begins="-----BEGIN")
    _refuse_wrong_pem("APNS_KEY", text, "the .p8 key of Apple")
    return text


def base_url(name: str, value: str) -> str:
    """An https address without a path."""
    if not BASE.fullmatch(value):
        raise ImproperlyConfigured(f"{name}={value!r} is wrong: write https://host.")
    return value


def refuse_empty(beside: str, **values: str) -> None:
    """What must be set when `beside` is."""
    for name, value in values.items():
        if not value:
            raise ImproperlyConfigured(f"{name} must be set when {beside} is.")


def _text(name: str, value: str, *, begins: str) -> str:
    """The value itself, or what is in the file it names."""
    if value.lstrip().startswith(begins):
        return value.replace("\\n", "\n") if begins.startswith("-") else value
    try:
        return Path(value).expanduser().read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise ImproperlyConfigured(f"{name} names a file that cannot be read: {error}") from error


def _refuse_wrong_pem(name: str, text: str, what: str) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec, rsa
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    wanted = ec.EllipticCurvePrivateKey if name == "APNS_KEY" else rsa.RSAPrivateKey
    try:
        key = load_pem_private_key(text.encode(), password=None)
    except (ValueError, TypeError):
        key = None
    if not isinstance(key, wanted):
        raise ImproperlyConfigured(f"{name} must hold {what}, as it was downloaded (PEM).")


def _need_the_extra(name: str) -> None:
    missing = [each for each in NEEDED if find_spec(each) is None]
    if missing:
        raise ImproperlyConfigured(
            f"{name} is set, but the extra 'push' is not installed ({', '.join(missing)} missing)."
        )
