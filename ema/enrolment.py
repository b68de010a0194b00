"""Enrol: a participant, a one-time code, a phone with its tokens."""

import uuid
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from ema import audit, codes, consents, hard_lock, tokens
from ema.audit import Actor
from ema.consents import Agreed, ConsentRefused
from ema.hours import hours_problems
from ema.models import Device, EnrolmentCode, Participant, Site
from ema.models.participant import valid_code
from ema.tokens import Admission
from ema.zone_names import zone_named

CODE_LIFETIME = timedelta(hours=72)


class EnrolmentRefused(ValueError):
    """The participant cannot be enrolled like this; the message names the field."""


class CodeUnknown(Exception):
    """No such code was issued, or it was mistyped."""


class CodeUsed(Exception):
    """The code let another phone in already."""


class CodeExpired(Exception):
    """The code is too old."""


def refuse_unknown_zone(name: str) -> ZoneInfo:
    """The zone, or EnrolmentRefused."""
    try:
        return zone_named(name)
    except ValueError as error:
        raise EnrolmentRefused(str(error)) from error


def refuse_wrong_code(code: str) -> None:
    """EnrolmentRefused unless the code is safe in lists, file names and spreadsheets."""
    try:
        valid_code(code)
    except ValidationError as error:
        raise EnrolmentRefused(f"code {code!r}: {error.message}") from error


@transaction.atomic
def enrol(
    *,
    site: Site,
    code: str,
    zone: str,
    now: datetime,
    actor: Actor,
    language: str = "en",
    enrolled_at: datetime | None = None,
    windows: list[dict[str, Any]] | None = None,
    agreed: Agreed | None = None,
) -> Participant:
    """A new participant of a site, from `enrolled_at` (now, unless the past is recorded).

    `windows` are own waking hours, `agreed` the consent that was given.
    """
    at = enrolled_at or now
    if locked := hard_lock.refusal(site.study):
        raise EnrolmentRefused(locked)
    if at > now:
        raise EnrolmentRefused(f"enrolled_at {at:%Y-%m-%d %H:%M} is in the future.")
    if enrolled_at and site.study.started_at and at < site.study.started_at:
        raise EnrolmentRefused(
            f"enrolled_at {at:%Y-%m-%d %H:%M} is before study {site.study} started "
            f"({site.study.started_at:%Y-%m-%d %H:%M}): name a time from then on."
        )
    local = refuse_unknown_zone(zone)
    refuse_wrong_code(code)
    for problem in () if windows is None else hours_problems(windows):
        raise EnrolmentRefused(f"waking hours: {problem}")
    try:
        with transaction.atomic():
            participant = Participant.objects.create(
                study=site.study,
                site=site,
                code=code,
                zone=zone,
                language=language,
                windows=windows,
                enrolled_at=at,
                enrolled_on=at.astimezone(local).date(),
            )
            audit.record(
                actor=actor,
                action="participant.enrolled",
                subject=f"participant {code}",
                study=site.study,
                site=site,
                after={"site": site.code, "zone": zone, "enrolled_at": at.isoformat()},
            )
            if agreed:
                consents.record_consent(
                    participant=participant, agreed=agreed, now=now, actor=actor
                )
    except ConsentRefused as error:
        raise EnrolmentRefused(str(error)) from error
    except IntegrityError as error:
        if "participant_code_is_unique_in_its_study" not in str(error):
            raise
        message = f"code {code!r} is taken in study {site.study}: choose another."
        raise EnrolmentRefused(message) from error
    return participant


def next_code(site: Site) -> str:
    """The code after the highest of a site's numbered ones: S1-004 after S1-003."""
    begins = f"{site.code}-"
    taken = Participant.objects.filter(study=site.study_id, code__startswith=begins)
    numbers = [code.removeprefix(begins) for code in taken.values_list("code", flat=True)]
    numbers = [number for number in numbers if number.isdecimal()]
    width = max(map(len, numbers), default=3)
    return f"{begins}{max(map(int, numbers), default=0) + 1:0{width}}"


@transaction.atomic
def issue_code(*, participant: Participant, now: datetime, actor: Actor) -> str:
    """A fresh one-time code, shown once; older codes of the participant stop working."""
    if Participant.objects.filter(pk=participant.pk, withdrawn_at__isnull=False).exists():
        raise EnrolmentRefused(f"{participant.code} has withdrawn and gets no code any more.")
    older = EnrolmentCode.objects.filter(participant=participant)
    older.filter(redeemed_at=None).delete()
    older.filter(expires_at__gt=now, issued_at__lt=now).update(expires_at=now)
    code = codes.new_code()
    EnrolmentCode.objects.create(
        participant=participant,
        code_hash=codes.hash_code(code),
        issued_at=now,
        issued_by_id=actor.user.pk if actor.user else None,
        expires_at=now + CODE_LIFETIME,
    )
    audit.record_about(
        participant=participant,
        actor=actor,
        action="code.issued",
    )
    return code


@transaction.atomic
def redeem(
    *,
    typed: str,
    installation: uuid.UUID,
    now: datetime,
    app: str = "",
    app_version: str = "",
    platform: str = "",
) -> Admission:
    """Let a phone in. The same installation may ask again: its first reply may have been lost."""
    code = codes.read_code(typed)
    found = code and EnrolmentCode.objects.filter(code_hash=codes.hash_code(code)).first()
    if not found:
        raise CodeUnknown
    if found.participant.withdrawn_at is not None:
        raise CodeExpired
    _claim_code(found, installation=installation, now=now)
    _replace_devices(found.participant, now=now)
    device = Device(
        participant=found.participant,
        installation=installation,
        enrolled_at=now,
        app=app,
        app_version=app_version,
        platform=platform,
    )
    admission = tokens.admit(device, now=now)
    audit.record_about(
        participant=found.participant,
        actor=audit.PHONE,
        action="device.enrolled",
        after={"app": app, "app_version": app_version, "platform": platform},
    )
    return admission


def _claim_code(code: EnrolmentCode, *, installation: uuid.UUID, now: datetime) -> None:
    """Spend the code by a conditional update: of two phones with one code, one gets in."""
    fresh = EnrolmentCode.objects.filter(pk=code.pk, redeemed_at=None, expires_at__gt=now)
    if fresh.update(redeemed_at=now, redeemed_by=installation):
        return
    code.refresh_from_db()
    if code.expires_at <= now:
        raise CodeUsed if code.redeemed_at else CodeExpired
    if code.redeemed_by != installation:
        raise CodeUsed


def _replace_devices(participant: Participant, *, now: datetime) -> None:
    Participant.objects.select_for_update(no_key=True).get(pk=participant.pk)
    participant.devices.active().update(replaced_at=now)
