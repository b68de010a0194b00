"""Web Push: RFC 8030 (the request), RFC 8291 (its encryption), RFC 8292 (who sends it)."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import http_ece
import httpx
import jwt
from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.asymmetric import ec
from django.conf import settings

from ema.push import from_base64url
from ema.vapid import private_key, public_key
from scheduler.channels import Gone, Message, PushError, post, retry_after
from scheduler.push.shared import registration_of

CLAIM_LIFETIME = timedelta(hours=12)  # the standard allows 24 hours
GONE = frozenset({404, 410})


def send(message: Message) -> None:
    """One encrypted message to the subscription's endpoint."""
    registration = registration_of(message)
    headers = {
        "TTL": str(message.seconds_left()),
        "Urgency": "high",
        "Topic": message.prompt_id.hex,  # a reminder takes the place of a prompt still waiting
        "Content-Encoding": "aes128gcm",
        "Content-Type": "application/octet-stream",
        "Authorization": authorization(registration.address, datetime.now(UTC)),
    }
    body = encrypt(json.dumps(message.content()).encode(), registration.keys)
    reply = post("Web Push", registration.address, content=body, headers=headers)
    if reply.status_code in GONE:
        raise Gone(f"the push service answered {reply.status_code}")
    if not reply.is_success:
        busy = reply.status_code in (408, 425, 429) or reply.is_server_error
        raise PushError(
            f"the push service answered {reply.status_code}",
            permanent=not busy,
            retry_after=retry_after(reply),
        )


def encrypt(
    content: bytes,
    keys: dict[str, str],
    *,
    salt: bytes | None = None,
    private_key: ec.EllipticCurvePrivateKey | None = None,
) -> bytes:
    """RFC 8291: only the browser that made `keys` can read it. `salt` and key are for tests."""
    try:
        encrypted: bytes = http_ece.encrypt(
            content,
            salt=salt,
            private_key=private_key or ec.generate_private_key(ec.SECP256R1()),
            dh=from_base64url(keys["p256dh"]),
            auth_secret=from_base64url(keys["auth"]),
            version="aes128gcm",
        )
    except (ValueError, KeyError, InvalidKey, http_ece.ECEException) as error:
        raise Gone("the subscription's keys are not those of a browser") from error
    return encrypted


def authorization(address: str, now: datetime) -> str:
    """RFC 8292: a claim to this push service, signed with our VAPID key."""
    url = httpx.URL(address)
    key = private_key(settings.VAPID_PRIVATE_KEY)
    claims: dict[str, Any] = {
        "aud": f"{url.scheme}://{url.netloc.decode()}",
        "exp": int((now + CLAIM_LIFETIME).timestamp()),
        "sub": settings.VAPID_SUBJECT,
    }
    return f"vapid t={jwt.encode(claims, key, algorithm='ES256')}, k={public_key(key)}"
