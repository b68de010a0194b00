"""A phone's tokens: an access token for an hour, and refresh tokens that are spent by use.

Refresh tokens of a phone form a chain. A spent one that comes back later is a copy in wrong hands,
and the phone is revoked. Right after its use it is only a repeated request whose reply was lost.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from ema import codes
from ema.models import Device, RefreshToken

ACCESS_LIFETIME = timedelta(hours=1)
REFRESH_LIFETIME = timedelta(days=400)
REPEAT_WITHIN = timedelta(minutes=2)


class TokenRefused(Exception):
    """The refresh token is unknown or expired, or its phone was revoked."""


class TokenReused(Exception):
    """A spent refresh token came back: somebody has a copy, so the phone is revoked."""


@dataclass(frozen=True)
class Admission:
    """What a phone is given once: the device and its two tokens, in clear."""

    device: Device
    access_token: str
    refresh_token: str


def admit(device: Device, *, now: datetime, parent: RefreshToken | None = None) -> Admission:
    """Give a phone new tokens; its access token before stops working."""
    access, refreshing = codes.new_token(), codes.new_token()
    device.access_hash = codes.hash_token(access)
    device.access_expires_at = now + ACCESS_LIFETIME
    device.save()
    RefreshToken.objects.create(
        device=device,
        parent=parent,
        token_hash=codes.hash_token(refreshing),
        expires_at=now + REFRESH_LIFETIME,
    )
    return Admission(device=device, access_token=access, refresh_token=refreshing)


def refresh(*, token: str, now: datetime) -> Admission:
    """Rotate both tokens, or TokenRefused or TokenReused."""
    with transaction.atomic():
        found = (
            RefreshToken.objects.select_for_update(of=("self",))
            .select_related("device")
            .filter(token_hash=codes.hash_token(token), expires_at__gt=now, device__revoked_at=None)
            .first()
        )
        if found is None:
            raise TokenRefused
        if found.spent_at is None or found.spent_at > now - REPEAT_WITHIN:
            found.spend(now)
            return admit(found.device, now=now, parent=found)
        Device.objects.filter(pk=found.device_id).update(revoked_at=now)
    raise TokenReused
