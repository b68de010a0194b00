"""Which phases begin when, written down for each participant as they come into sight."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from datetime import date, datetime
from itertools import groupby
from operator import attrgetter

from django.db.models import Count

from ema.models import Allocation, Participant, Phase, PhaseStart, Visit
from scheduler.phases import Course, Happened, Rule, begin_dates
from scheduler.zones import zone_named


def write_starts(phases: Iterable[Phase], last_dates: Mapping[str, date]) -> int:
    """Write down the phases that begin by their participant's last date to plan; how many.

    What is written stands. Two at once write the same: the first row stays.
    """
    drawn = sorted(phases, key=attrgetter("study_id"))
    fresh = [
        start
        for study_id, own in groupby(drawn, key=attrgetter("study_id"))
        for start in _starts_in(study_id, {phase.pk for phase in own}, last_dates)
    ]
    PhaseStart.objects.bulk_create(fresh, ignore_conflicts=True, batch_size=5000)
    return len(fresh)


def _starts_in(
    study_id: int, drawn: set[int], last_dates: Mapping[str, date]
) -> Iterator[PhaseStart]:
    lacking = list(
        Participant.objects.active()
        .select_related("study")
        .filter(study_id=study_id, zone__in=last_dates)
        .annotate(begun=Count("phase_starts"))
        .filter(begun__lt=len(drawn))
        .order_by("pk")
    )
    if not lacking:
        return
    rules = [_rule(phase) for phase in Phase.objects.filter(study_id=study_id).order_by("position")]
    courses = _courses(study_id, lacking)
    for participant in lacking:
        course = courses[participant.pk]
        for phase_id, begin in begin_dates(rules, course).items():
            is_new = phase_id in drawn and phase_id not in course.standing
            if is_new and begin.on <= last_dates[participant.zone]:
                yield PhaseStart(
                    participant=participant,
                    phase_id=phase_id,
                    begins_on=begin.on,
                    known_at=begin.known_at,
                )


def _rule(phase: Phase) -> Rule:
    return Rule(phase.pk, phase.days, phase.starts, phase.offset_days, phase.visit)


def _courses(study_id: int, participants: Iterable[Participant]) -> dict[int, Course]:
    """What has happened to each. Of allocation only the instant is read, never the arm."""
    allocated: dict[int | None, datetime | None] = dict(
        Allocation.objects.filter(participant__study=study_id).values_list(
            "participant_id", "allocated_at"
        )
    )
    visits: dict[int, dict[str, Happened]] = defaultdict(dict)
    for visit in Visit.objects.filter(participant__study=study_id):
        visits[visit.participant_id][visit.key] = Happened(visit.on_date, visit.recorded_at)
    standing: dict[int, dict[int, Happened]] = defaultdict(dict)
    for start in PhaseStart.objects.filter(participant__study=study_id):
        standing[start.participant_id][start.phase_id] = Happened(start.begins_on, start.known_at)
    return {
        each.pk: _course(each, allocated.get(each.pk), visits[each.pk], standing[each.pk])
        for each in participants
    }


def _course(
    participant: Participant,
    allocated_at: datetime | None,
    visits: Mapping[str, Happened],
    standing: Mapping[int, Happened],
) -> Course:
    """What happened before the study started counts from its start: no phase begins before it."""
    zone, enrolled_at = participant.zone, participant.enrolled_at
    started = _local(participant.study.started_at or enrolled_at, zone)
    return Course(
        enrolled=max(started, Happened(participant.enrolled_on, enrolled_at)),
        allocated=max(started, _local(allocated_at, zone)) if allocated_at else None,
        visits=visits,
        standing=standing,
    )


def _local(at: datetime, zone: str) -> Happened:
    return Happened(at.astimezone(zone_named(zone)).date(), at)
