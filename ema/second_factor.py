"""The second factor: a phone's six digits that change, and recovery codes for a lost phone."""

import secrets
from base64 import b32encode
from datetime import datetime
from math import ceil
from typing import Any

import segno
from django.conf import settings
from django.contrib.auth.models import AbstractBaseUser, User
from django.db import transaction
from django.http import HttpRequest
from django_otp import verify_token
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice

from ema import audit, codes
from ema.audit import Actor

RECOVERY_CODES = 10
GROUPS = 4  # of four characters: 80 bits
KEPT = 16  # characters of a hash, as long as the column


class CodeRefused(ValueError):
    """The code does not prove anything; the message says what to do."""


def is_missing(request: HttpRequest) -> bool:
    """Whether whoever signed in has still to show a second factor."""
    if not settings.MFA_REQUIRED or not request.user.is_authenticated:
        return False
    return getattr(request.user, "otp_device", None) is None


def phone_of(user: AbstractBaseUser) -> TOTPDevice | None:
    """The phone that a user has enrolled."""
    return TOTPDevice.objects.filter(user_id=user.pk, confirmed=True).first()


def phone_to_enrol(user: AbstractBaseUser) -> TOTPDevice:
    """A secret to load into a phone; the same one until it is confirmed."""
    found, _ = TOTPDevice.objects.get_or_create(
        user_id=user.pk, confirmed=False, defaults={"name": "phone"}
    )
    return found


def secret_of(phone: TOTPDevice) -> str:
    """What is written into an app by hand, in groups of four."""
    text = b32encode(phone.bin_key).decode()
    return " ".join(text[start : start + 4] for start in range(0, len(text), 4))


def as_qr(phone: TOTPDevice) -> str:
    """What an authenticator app reads, as inline SVG without styles."""
    drawn: str = segno.make(phone.config_url, error="m").svg_inline(
        scale=5, dark="#000", light="#fff", svgclass="qr", lineclass=None, omitsize=False
    )
    return drawn


@transaction.atomic
def enrol(*, user: User, typed: str, actor: Actor) -> tuple[TOTPDevice, list[str]]:
    """Confirm the phone by its first code; the recovery codes in clear, once. Or CodeRefused."""
    User.objects.select_for_update().get(pk=user.pk)
    if phone_of(user):
        raise CodeRefused("A phone is enrolled already.")
    phone = TOTPDevice.objects.select_for_update().get(pk=phone_to_enrol(user).pk)
    if not phone.verify_token(_digits(typed)):
        raise CodeRefused("This is not the code that your phone shows now. Write the next one.")
    phone.confirmed = True
    phone.save()
    made = _new_recovery_codes(user)
    audit.record(
        actor=actor,
        action="second_factor.enrolled",
        subject=f"user {user.get_username()}",
        after={"recovery_codes": len(made)},
    )
    return phone, made


def verify(*, user: AbstractBaseUser, typed: str) -> Any:
    """The device whose code this is, six digits or a recovery code. Raises CodeRefused."""
    text = _digits(typed)
    device = phone_of(user) if text.isdecimal() else _recovery_of(user)
    if device is None:
        raise CodeRefused("No second factor is enrolled; ask an administrator.")
    is_allowed, why = device.verify_is_allowed()
    if not is_allowed:
        raise CodeRefused(_too_soon(why))
    token = text if text.isdecimal() else _kept(text)
    if (proven := verify_token(user, device.persistent_id, token)) is None:
        raise CodeRefused("This code is wrong, was used already, or its time is over.")
    return proven


@transaction.atomic
def renew_recovery_codes(*, user: AbstractBaseUser, actor: Actor) -> list[str]:
    """New recovery codes in clear, once; those before stop working."""
    made = _new_recovery_codes(user)
    audit.record(
        actor=actor,
        action="recovery_codes.made",
        subject=f"user {user.get_username()}",
        after={"recovery_codes": len(made)},
    )
    return made


@transaction.atomic
def reset(*, user: AbstractBaseUser, actor: Actor, reason: str) -> bool:
    """Forget the phone and the codes: the user enrols again. False when there was nothing."""
    phones, _ = TOTPDevice.objects.filter(user_id=user.pk).delete()
    kept, _ = StaticDevice.objects.filter(user_id=user.pk).delete()
    if phones or kept:
        audit.record(
            actor=actor,
            action="second_factor.reset",
            subject=f"user {user.get_username()}",
            reason=reason,
        )
    return bool(phones or kept)


def recovery_codes_left(user: AbstractBaseUser) -> int:
    return int(StaticToken.objects.filter(device__user_id=user.pk).count())


def _new_recovery_codes(user: AbstractBaseUser) -> list[str]:
    StaticDevice.objects.filter(user_id=user.pk).delete()
    device = StaticDevice.objects.create(user_id=user.pk, name="recovery codes")
    made = ["-".join(_group() for _ in range(GROUPS)) for _ in range(RECOVERY_CODES)]
    kept = [StaticToken(device=device, token=_kept(_digits(code))) for code in made]
    StaticToken.objects.bulk_create(kept)
    return made


def _group() -> str:
    letters = codes.ALPHABET[10:]  # never digits alone, which would be read as the phone's
    return secrets.choice(letters) + "".join(secrets.choice(codes.ALPHABET) for _ in range(3))


def _recovery_of(user: AbstractBaseUser) -> StaticDevice | None:
    return StaticDevice.objects.filter(user_id=user.pk, confirmed=True).first()


def _digits(typed: str) -> str:
    return typed.replace(" ", "").replace("-", "").upper()


def _kept(code: str) -> str:
    return codes.hash_token(code)[:KEPT]


def _too_soon(why: dict[str, Any] | None) -> str:
    until: datetime | None = (why or {}).get("locked_until")
    if until is None:
        return "Too many wrong codes. Wait a little and try again."
    seconds = max(1, ceil((until - datetime.now(tz=until.tzinfo)).total_seconds()))
    return f"Too many wrong codes. Try again in {seconds} s."
