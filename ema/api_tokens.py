"""Tokens of an operator's programs: made with a name and an end, shown once, revoked."""

from datetime import datetime, timedelta

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from ema import audit, codes
from ema.audit import Actor
from ema.models import ApiToken

PREFIX = "fbt_"  # so that one is recognised where it should not be
LONGEST_DAYS = 366


class TokenNotMade(ValueError):
    """A token is not made like this; the message says why."""


@transaction.atomic
def make(*, user: AbstractBaseUser, name: str, days: int, now: datetime, actor: Actor) -> str:
    """A new token in clear, which nobody can read again. Raises TokenNotMade."""
    name = name.strip()
    if not name or len(name) > 60:
        raise TokenNotMade("Name the token after what it is for, in up to 60 characters.")
    if not 1 <= days <= LONGEST_DAYS:
        raise TokenNotMade(f"A token lasts 1 to {LONGEST_DAYS} days.")
    token = PREFIX + codes.new_token()
    made = ApiToken.objects.create(
        user_id=user.pk,
        name=name,
        token_hash=codes.hash_token(token),
        made_at=now,
        expires_at=now + timedelta(days=days),
    )
    audit.record(
        actor=actor,
        action="api_token.made",
        subject=f"user {user.get_username()}",
        after={"name": name, "expires_at": made.expires_at.isoformat()},
    )
    return token


@transaction.atomic
def revoke(*, token: ApiToken, now: datetime, actor: Actor) -> bool:
    """It opens nothing from the next request on; False when it was revoked already."""
    if not ApiToken.objects.filter(pk=token.pk, revoked_at=None).update(revoked_at=now):
        return False
    audit.record(
        actor=actor,
        action="api_token.revoked",
        subject=f"user {token.user.get_username()}",
        before={"name": token.name},
    )
    return True
