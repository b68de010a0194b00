"""Another zone, other waking hours: they hold from the next study day that has not begun."""

from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db import transaction

from ema import audit
from ema.audit import Actor
from ema.enrolment import EnrolmentRefused, refuse_unknown_zone
from ema.hours import hours_problems
from ema.models import Participant, ScheduleChange
from ema.models.study import Travel


class ChangeRefused(ValueError):
    """The zone or the hours cannot be taken; the message says what would be right."""


def report_zone(
    *, participant: Participant, zone: str, now: datetime, actor: Actor
) -> ScheduleChange | None:
    """A phone is in another zone: follow it, unless the study keeps to the home zone."""
    if participant.study.travel == Travel.HOME_ZONE:
        return None
    return move(participant=participant, zone=zone, now=now, actor=actor)


def move(
    *, participant: Participant, zone: str, now: datetime, actor: Actor, reason: str = ""
) -> ScheduleChange | None:
    """The participant lives in another zone from now on, whatever the study's travel policy."""
    refuse_zone(zone)
    return _change(participant, {"zone": zone}, now, actor, reason)


def change_hours(
    *,
    participant: Participant,
    windows: list[dict[str, Any]] | None,
    now: datetime,
    actor: Actor,
    reason: str = "",
) -> ScheduleChange | None:
    """Other waking hours; None is the phase's again. The draws stay the same."""
    for problem in () if windows is None else hours_problems(windows):
        raise ChangeRefused(problem)
    return _change(participant, {"windows": windows}, now, actor, reason)


def refuse_zone(zone: str) -> None:
    """Raise ChangeRefused where the zone is unknown."""
    try:
        refuse_unknown_zone(zone)
    except EnrolmentRefused as error:
        raise ChangeRefused(str(error)) from error


@transaction.atomic
def _change(
    participant: Participant, wanted: dict[str, Any], now: datetime, actor: Actor, reason: str
) -> ScheduleChange | None:
    """Write down what changes and from when; None when it is so already."""
    old = Participant.objects.select_for_update(no_key=True).get(pk=participant.pk)
    if old.withdrawn_at:
        raise ChangeRefused(f"Participant {old.code} has withdrawn.")
    before = {name: getattr(old, name) for name in wanted}
    if before == wanted:
        return None
    effective_on = now.astimezone(ZoneInfo(old.zone)).date() + timedelta(days=1)
    after = {"zone": old.zone, "windows": old.windows, **wanted}
    change = ScheduleChange.objects.create(
        participant=old,
        zone_before=old.zone,
        windows_before=old.windows,
        **after,
        reported_at=now,
        effective_on=effective_on,
    )
    Participant.objects.filter(pk=old.pk).update(**wanted)
    audit.record_about(
        participant=old,
        actor=actor,
        action="participant.schedule_changed",
        before=before,
        after={**wanted, "effective_on": effective_on.isoformat()},
        reason=reason.strip(),
    )
    return change
