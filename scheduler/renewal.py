"""Take up another release of zone data: days that no phone has yet follow the new rules.

Same draws, other instants where the rules differ. What a phone has keeps its instants; what is
superseded stays a row. Most releases change no instant of a study: then only the release is noted.
"""

from collections.abc import Sequence
from datetime import date, datetime
from functools import reduce
from itertools import groupby
from operator import attrgetter, or_
from typing import NamedTuple

from django.db import transaction
from django.db.models import Exists, F, OuterRef, Q, QuerySet
from django.db.models.functions import Coalesce

from ema import audit
from ema.audit import Actor
from ema.models import Participant, Prompt
from ema.models.prompt import CancelReason
from ema.models.study import Design
from scheduler.day import draw_day
from scheduler.protocols import protocol_of
from scheduler.replanning import ON_A_PHONE, take_up_changes
from scheduler.zones import TZDATA_VERSION, zone_named


class Renewed(NamedTuple):
    """How many prompts have the same times under the new rules, and how many were superseded."""

    same: int
    superseded: int


def of_other_zone_data(now: datetime) -> QuerySet[Prompt]:
    """Prompts to come in running studies that another release of zone data drew."""
    drawn = Prompt.objects.exclude(phase__design=Design.IMPORTED)
    return drawn.exclude(tzdata=TZDATA_VERSION).filter(
        due_at__gt=now,
        participant__withdrawn_at=None,
        participant__study__started_at__isnull=False,
        participant__study__locked_at=None,
    )


def renewable(now: datetime) -> QuerySet[Prompt]:
    """Those of them whose day has not begun, where no phone has that day or a later one."""
    found = of_other_zone_data(now).exclude(cancel_reason=CancelReason.SUPERSEDED)
    zones = found.order_by().values_list("zone", flat=True).distinct()
    not_begun = [Q(zone=zone, study_on__gt=on) for zone in zones if (on := _today_in(zone, now))]
    on_a_phone = Prompt.objects.filter(
        ON_A_PHONE, participant=OuterRef("participant"), study_on__gte=OuterRef("study_on")
    )
    return found.filter(reduce(or_, not_begun, Q(pk__in=[]))).exclude(Exists(on_a_phone))


def renew_zones(now: datetime, actor: Actor) -> Renewed:
    """Supersede what the new rules move, and note on the rest that they leave it; how many."""
    take_up_changes(now)
    people = renewable(now).order_by("participant").values_list("participant", flat=True)
    done = [_renew(pk, now, actor) for pk in people.distinct()]
    return Renewed(
        same=sum(each.same for each in done), superseded=sum(each.superseded for each in done)
    )


@transaction.atomic
def _renew(participant: int, now: datetime, actor: Actor) -> Renewed:
    coming = Prompt.objects.filter(participant=participant, due_at__gt=now)
    list(coming.select_for_update(no_key=True).order_by("pk").values_list("pk", flat=True))
    days = renewable(now).filter(participant=participant)
    ordered = days.select_related("phase__study", "participant")
    moved_on = _first_moved(ordered.order_by("study_on", "phase", "ordinal"))
    same = days.filter(study_on__lt=moved_on) if moved_on else days
    kept = Prompt.objects.filter(pk__in=list(same.values_list("pk", flat=True)))
    superseded = _supersede(participant, moved_on, now, actor) if moved_on else 0
    return Renewed(same=kept.update(tzdata=TZDATA_VERSION), superseded=superseded)


def _first_moved(prompts: QuerySet[Prompt]) -> date | None:
    """The first of these days whose prompts the present rules draw at other instants."""
    for _, own in groupby(prompts, attrgetter("study_on", "phase_id")):
        day = list(own)
        if _is_moved(day):
            return day[0].study_on
    return None


def _is_moved(day: Sequence[Prompt]) -> bool:
    phase, participant = day[0].phase, day[0].participant
    plan = draw_day(
        bytes(phase.study.seed),
        phase.key,
        participant.uuid,
        day[0].study_on,
        protocol_of(phase, participant.windows),
        zone_named(day[0].zone),
    )
    stored = [(prompt.due_at, prompt.expires_at) for prompt in day]
    return stored != list(zip(plan.due_at, plan.expires_at, strict=True))


def _supersede(participant: int, first_on: date, now: datetime, actor: Actor) -> int:
    """All days from the first on: the planner goes on after the last that stands."""
    overtaken = Prompt.objects.filter(participant=participant, study_on__gte=first_on)
    count = overtaken.exclude(cancel_reason=CancelReason.SUPERSEDED).update(
        cancelled_at=Coalesce(F("cancelled_at"), now), cancel_reason=CancelReason.SUPERSEDED
    )
    someone = Participant.objects.select_related("study", "site").get(pk=participant)
    audit.record_about(
        participant=someone,
        actor=actor,
        action="prompts.zones_renewed",
        after={"from": first_on.isoformat(), "prompts": count, "tzdata": TZDATA_VERSION},
    )
    return count


def _today_in(zone: str, now: datetime) -> date | None:
    """The date in a zone; None for one that this release does not have: nothing is planned anew."""
    try:
        return now.astimezone(zone_named(zone)).date()
    except ValueError:
        return None
