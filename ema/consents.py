"""Consent: which version of the form was agreed to, and on which day."""

from datetime import date, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from django.db import transaction

from ema import audit
from ema.audit import Actor
from ema.models import Consent, Participant

LONGEST_VERSION = 40


class ConsentRefused(ValueError):
    """This consent cannot be recorded; the message says what would be right."""


class Agreed(NamedTuple):
    version: str
    given_on: date


@transaction.atomic
def record_consent(
    *, participant: Participant, agreed: Agreed, now: datetime, actor: Actor
) -> Consent:
    """Write down that a participant agreed to a version of the form. Raises ConsentRefused."""
    refuse_wrong_consent(agreed=agreed, zone=participant.zone, now=now)
    version = agreed.version.strip()
    consent, is_new = Consent.objects.get_or_create(
        participant=participant,
        version=version,
        defaults={
            "given_on": agreed.given_on,
            "recorded_at": now,
            "recorded_by_id": actor.user.pk if actor.user else None,
        },
    )
    if not is_new:
        raise ConsentRefused(
            f"Consent of {participant} to version {version} is recorded already: "
            f"on {consent.given_on}."
        )
    audit.record_about(
        participant=participant,
        actor=actor,
        action="consent.recorded",
        after={"version": version, "given_on": agreed.given_on.isoformat()},
    )
    return consent


def refuse_wrong_consent(*, agreed: Agreed, zone: str, now: datetime) -> None:
    """ConsentRefused unless a version is named and its day is not to come."""
    version = agreed.version.strip()
    if not version or len(version) > LONGEST_VERSION:
        raise ConsentRefused("Name the version of the consent form, in at most 40 characters.")
    today = now.astimezone(ZoneInfo(zone)).date()
    if agreed.given_on > today:
        raise ConsentRefused(f"Consent was given by today ({today}), not on {agreed.given_on}.")


def newest_consent(participant: Participant) -> Agreed | None:
    """What was agreed to last."""
    newest = Consent.objects.filter(participant=participant).order_by("-given_on", "-pk").first()
    return Agreed(newest.version, newest.given_on) if newest else None
