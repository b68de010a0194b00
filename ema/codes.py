"""Codes people type and tokens phones carry; the database keeps only their hashes."""

import hashlib
import secrets

from django.utils.crypto import salted_hmac

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"  # Crockford base32: no I, L, O, U
LENGTH = 10  # nine drawn characters and a check character
_READ_AS = str.maketrans({"I": "1", "L": "1", "O": "0"})


def _check(drawn: str) -> str:
    """A weighted sum: it notices every single wrong character and most swaps of neighbours."""
    return ALPHABET[sum((2 * i + 1) * ALPHABET.index(c) for i, c in enumerate(drawn)) % 32]


def new_code() -> str:
    """Ten characters such as `7KQ2M9XT4D`: 45 random bits and a check character."""
    drawn = "".join(secrets.choice(ALPHABET) for _ in range(LENGTH - 1))
    return drawn + _check(drawn)


def read_code(typed: str) -> str | None:
    """The code somebody typed (spaces, dashes, case, O and I forgiven), or None if mistyped."""
    code = typed.upper().replace("-", "").replace(" ", "").translate(_READ_AS)
    if len(code) != LENGTH or set(code) - set(ALPHABET) or _check(code[:-1]) != code[-1]:
        return None
    return code


def hash_code(code: str) -> str:
    """Keyed by the server's secret: 45 bits alone could be searched from a stolen table."""
    return salted_hmac("fourbeat.enrolment-code", code, algorithm="sha256").hexdigest()


def new_token() -> str:
    return secrets.token_urlsafe(32)


def hash_token(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()
