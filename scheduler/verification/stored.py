"""What is stored of a study's prompts, and which days the planner has promised."""

import json
from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

from django.db.models import QuerySet

from ema.models import AuditEvent, Participant, Phase, PhaseStart, Prompt, Study
from ema.models.prompt import CancelReason
from ema.models.study import Design
from scheduler.planning import HORIZON, Stretch
from scheduler.zones import zone_named

DAY = timedelta(days=1)


class Stored(NamedTuple):
    """What is compared of a prompt's row."""

    participant_id: int
    phase_id: int
    study_on: date
    ordinal: int
    due_at: datetime
    expires_at: datetime
    zone: str
    tzdata: str
    planned_at: datetime
    inclusion_probability: float | None


Rows = dict[int, list[Stored]]  # of one participant, by phase, in the order of days


class Person(NamedTuple):
    pk: int
    uuid: UUID
    code: str
    zone: str
    windows: Any
    enrolled_on: date
    withdrawn_at: datetime | None


def drawn_phases(study: Study) -> QuerySet[Phase]:
    return Phase.objects.drawn().filter(study=study).select_related("study")


def begins_of(people: Sequence[Person]) -> dict[int, dict[int, date]]:
    """When the phases of some participants began, as the planner wrote it down."""
    begins: dict[int, dict[int, date]] = {person.pk: {} for person in people}
    started = PhaseStart.objects.filter(participant__in=list(begins))
    for participant, phase, begins_on in started.values_list(
        "participant_id", "phase_id", "begins_on"
    ):
        begins[participant][phase] = begins_on
    return begins


def people_of(study: Study) -> Iterator[Person]:
    found = Participant.objects.filter(study=study).order_by("pk")
    return map(Person._make, found.values_list(*Person._fields).iterator(chunk_size=1000))


def rows_of(people: Sequence[Person]) -> dict[int, Rows]:
    """The drawn prompts of some participants, by participant and phase, in the order of days.

    Without those that another schedule took the place of.
    """
    found = Prompt.objects.filter(participant__in=[person.pk for person in people])
    found = found.exclude(cancel_reason=CancelReason.SUPERSEDED)
    ordered = found.exclude(phase__design=Design.IMPORTED).order_by(
        "participant_id", "phase_id", "study_on", "ordinal"
    )
    rows: dict[int, Rows] = {}
    for row in map(Stored._make, ordered.values_list(*Stored._fields)):
        rows.setdefault(row.participant_id, {}).setdefault(row.phase_id, []).append(row)
    return rows


def planned_until(
    study: Study, person: Person, own: Rows, last_run: datetime | None
) -> date | None:
    """The last date that the planner must have reached for a participant; None if it need not.

    When it last wrote a prompt of theirs, it reached its horizon. So it did when it last wrote any,
    unless they had withdrawn or were not enrolled yet; a day less, as they may have moved since.
    """
    reached = []
    if own:
        last = max((row for rows in own.values() for row in rows), key=attrgetter("planned_at"))
        reached.append(_local_date(last.planned_at, last.zone, HORIZON))
    if last_run and not person.withdrawn_at and (own or _enrolled_by(study, person, last_run)):
        reached.append(_local_date(last_run, person.zone, HORIZON - DAY))
    return max(filter(None, reached), default=None)


def _enrolled_by(study: Study, person: Person, at: datetime) -> bool:
    """By the audit trail: `enrolled_at` may lie before it was written down."""
    events = AuditEvent.objects.filter(study=study, action="participant.enrolled", at__lt=at)
    return events.filter(subject=f"participant {person.code}").exists()


def _local_date(at: datetime, zone: str, later: timedelta) -> date | None:
    try:
        return at.astimezone(zone_named(zone)).date() + later
    except ValueError:  # no such zone: nobody can be planned in it
        return None


def promised(person: Person, phase: Phase, begins_on: date, planned_on: date | None) -> Stretch:
    """The days of a phase that the planner has promised, for one participant."""
    last_on = begins_on + (phase.days - 1) * DAY
    return Stretch(
        participant_id=person.pk,
        uuid=person.uuid,
        code=person.code,
        zone=person.zone,
        windows=None if person.windows is None else json.dumps(person.windows),
        enrolled_on=person.enrolled_on,
        phase_id=phase.pk,
        first_on=begins_on,
        last_on=min(last_on, planned_on) if planned_on else begins_on - DAY,
    )
