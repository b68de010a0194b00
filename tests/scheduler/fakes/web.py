"""A push service by RFC 8030 and the browser behind it, which decrypts by RFC 8291 itself.

It shares no code with the sender: the key derivation is written out here.
"""

import base64
import json
import os
import re
import time
import uuid
from typing import Any, NamedTuple

import jwt
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from tests.scheduler.fakes.tls import Reply, Service

LARGEST = 4096
DAY_S = 24 * 3600


class Received(NamedTuple):
    ttl: int
    urgency: str
    topic: str
    content: dict[str, Any]
    raw: bytes


class Browser:
    """One subscription: its keys, and what it could read."""

    def __init__(self) -> None:
        self.id = uuid.uuid4().hex
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.auth = os.urandom(16)

    @property
    def public(self) -> bytes:
        return point(self.key.public_key())

    @property
    def keys(self) -> dict[str, str]:
        return {"p256dh": base64url(self.public), "auth": base64url(self.auth)}

    def read(self, body: bytes) -> bytes:
        """RFC 8291, section 3.4, and RFC 8188 with one record."""
        salt, id_length = body[:16], body[20]
        sender, sealed = body[21 : 21 + id_length], body[21 + id_length :]
        shared = self.key.exchange(ec.ECDH(), public_key(sender))
        info = b"WebPush: info\0" + self.public + sender
        secret = derived(shared, self.auth, info, 32)
        content_key = derived(secret, salt, b"Content-Encoding: aes128gcm\0", 16)
        nonce = derived(secret, salt, b"Content-Encoding: nonce\0", 12)
        padded = AESGCM(content_key).decrypt(nonce, sealed, None).rstrip(b"\0")
        assert padded[-1] == 2, "the last record ends with a 2"
        return padded[:-1]


class StrictService(Service):
    """Takes only what the standards allow, for subscribers somebody else knows."""

    def __init__(self) -> None:
        super().__init__()
        self.refused: list[str] = []
        self.requests = 0

    def absence(self, subscriber: str) -> int:
        """The status that tells that there is no such subscriber; 0 when there is."""
        raise NotImplementedError

    def take(self, subscriber: str, headers: dict[str, str], body: bytes) -> Reply:
        """Accept a message that is as it must be."""
        raise NotImplementedError

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> Reply:
        self.requests += 1
        if self.plays:
            return self.plays.pop(0)
        subscriber = path.removeprefix("/push/")
        if absent := self.absence(subscriber):
            return Reply(absent)
        if refusal := self._fault(headers, body):
            self.refused.append(refusal[1])
            return Reply(refusal[0])
        return self.take(subscriber, headers, body)

    def _fault(self, headers: dict[str, str], body: bytes) -> tuple[int, str] | None:
        if not headers.get("ttl", "").isdecimal():
            return 400, "TTL is missing or no number"
        if headers.get("urgency", "normal") not in ("very-low", "low", "normal", "high"):
            return 400, "Urgency is not one of the four"
        if not re.fullmatch(r"[A-Za-z0-9_-]{1,32}", headers.get("topic", "x")):
            return 400, "Topic is longer than 32 characters or not base64url"
        if headers.get("content-encoding") != "aes128gcm":
            return 400, "Content-Encoding is not aes128gcm"
        if len(body) > LARGEST:
            return 413, "the body is larger than 4096 bytes"
        return self._vapid_fault(headers.get("authorization", ""))

    def _vapid_fault(self, authorization: str) -> tuple[int, str] | None:
        found = re.fullmatch(r"vapid t=([\w.-]+), ?k=([\w-]+)", authorization)
        if not found:
            return 401, "there is no VAPID authorization"
        raw = base64.urlsafe_b64decode(found[2] + "=" * (-len(found[2]) % 4))
        try:
            claims = jwt.decode(
                found[1],
                public_key(raw),
                algorithms=["ES256"],
                audience=self.origin,
                options={"require": ["aud", "exp", "sub"]},
            )
        except jwt.PyJWTError as error:
            return 403, f"VAPID: {error}"
        if claims["exp"] > time.time() + DAY_S:
            return 403, "VAPID: exp is more than 24 hours away"
        if not claims["sub"].startswith(("mailto:", "https:")):
            return 403, "VAPID: sub is nobody to ask"
        return None


class PushService(StrictService):
    """Knows subscriptions, and keeps what their browsers could read."""

    def __init__(self) -> None:
        super().__init__()
        self.browsers: dict[str, Browser] = {}
        self.received: list[Received] = []

    def subscribe(self) -> tuple[str, dict[str, str]]:
        """A new subscription: its endpoint and its keys."""
        browser = Browser()
        self.browsers[browser.id] = browser
        return f"{self.origin}/push/{browser.id}", browser.keys

    def absence(self, subscriber: str) -> int:
        return 0 if subscriber in self.browsers else 404

    def take(self, subscriber: str, headers: dict[str, str], body: bytes) -> Reply:
        try:
            content = json.loads(self.browsers[subscriber].read(body))
        except (InvalidTag, AssertionError, ValueError):
            self.refused.append("the browser could not read it")
            return Reply(400)
        self.received.append(
            Received(int(headers["ttl"]), headers["urgency"], headers["topic"], content, body)
        )
        return accepted(self.origin, headers)


def accepted(origin: str, headers: dict[str, str]) -> Reply:
    return Reply(201, headers={"Location": f"{origin}/message/1", "TTL": headers["ttl"]})


def public_key(raw: bytes) -> ec.EllipticCurvePublicKey:
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), raw)


def point(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def derived(secret: bytes, salt: bytes, info: bytes, length: int) -> bytes:
    return HKDF(hashes.SHA256(), length, salt, info).derive(secret)


def base64url(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
