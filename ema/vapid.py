"""The VAPID key pair of Web Push (RFC 8292). Needs the extra `push`, where a key is set."""

import base64
from functools import lru_cache

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from ema.push import from_base64url


@lru_cache(maxsize=4)
def private_key(text: str) -> ec.EllipticCurvePrivateKey:
    """From 32 bytes in base64url, as `manage.py vapid_keys` writes it."""
    return ec.derive_private_key(int.from_bytes(from_base64url(text), "big"), ec.SECP256R1())


def public_key(key: ec.EllipticCurvePrivateKey) -> str:
    """What a web app gives to `pushManager.subscribe` as its applicationServerKey."""
    point = key.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    return base64.urlsafe_b64encode(point).rstrip(b"=").decode()


def new_private_key() -> str:
    """A fresh VAPID key in the form of VAPID_PRIVATE_KEY."""
    number = ec.generate_private_key(ec.SECP256R1()).private_numbers().private_value
    return base64.urlsafe_b64encode(number.to_bytes(32, "big")).rstrip(b"=").decode()
