"""Compare stored days with recomputed ones, prompt by prompt."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from itertools import groupby
from operator import attrgetter

from ema.models import Phase
from scheduler.day import Protocol
from scheduler.planning import Streams, Stretch
from scheduler.verification.causes import cause_of
from scheduler.verification.days import Days, has_probability, is_equal
from scheduler.verification.result import (
    DUE_AT,
    EXPIRES_AT,
    EXTRA,
    MISSING,
    PROBABILITY,
    UNREADABLE,
    Difference,
)
from scheduler.verification.stored import Person, Rows, Stored

DAY = timedelta(days=1)


def strange(
    person: Person, own: Rows, begins: Mapping[int, date], phases: Mapping[int, Phase]
) -> Iterator[Difference]:
    """Prompts in a phase that has not begun for the participant, or of another study."""
    for key in own.keys() - begins.keys():
        phase = phases[key].key if key in phases else "of another study"
        for row in own[key]:
            yield Difference(
                person.code, phase, row.study_on, row.ordinal, EXTRA, row.due_at, expected=None
            )


def check_stretch(
    stretch: Stretch, rows: Sequence[Stored], streams: Streams
) -> Iterator[Difference]:
    """One participant's phase: every stored day, and every promised one."""
    phase = streams.phases[stretch.phase_id]
    try:
        days = Days(stretch, phase, streams.protocol(stretch))
    except ValueError as error:  # nobody could be planned by this protocol
        days = Days(stretch, phase, Protocol())
        for row in rows:
            yield _unreadable(days, row, error)
        return
    stored = {study_on: list(day) for study_on, day in groupby(rows, attrgetter("study_on"))}
    inside = [study_on for study_on in stored if study_on < days.end_on]
    last_on = max([stretch.last_on, *inside])
    promised = {stretch.first_on + n * DAY for n in range((last_on - stretch.first_on).days + 1)}
    zone = rows[0].zone if rows else stretch.zone
    for study_on in sorted(stored.keys() | promised):
        day = stored.get(study_on, [])
        zone = day[0].zone if day else zone
        yield from _check_day(days, study_on, day, zone)


def _check_day(
    days: Days, study_on: date, rows: Sequence[Stored], zone: str
) -> Iterator[Difference]:
    try:
        plan = days.plan(study_on, zone)
    except ValueError as error:
        for row in rows:
            yield _unreadable(days, row, error)
        return
    if is_equal(rows, plan, zone):
        return
    cause, is_by_tzdata = cause_of(days, study_on, rows, plan)
    for difference in _compare(days, study_on, rows, zone):
        yield difference._replace(cause=difference.cause or cause, is_by_tzdata=is_by_tzdata)


def _compare(days: Days, study_on: date, rows: Sequence[Stored], zone: str) -> Iterator[Difference]:
    """Prompt by prompt, each in the zone that its row names."""
    found = {row.ordinal: row for row in rows}
    for ordinal, due_at in enumerate(days.plan(study_on, zone).due_at, start=1):
        if ordinal not in found:
            yield days.difference(study_on, ordinal, MISSING, None, expected=due_at)
    for ordinal, row in found.items():
        try:
            plan = days.plan(study_on, row.zone)
        except ValueError as error:
            yield _unreadable(days, row, error)
            continue
        if ordinal > len(plan.due_at):
            yield days.difference(study_on, ordinal, EXTRA, row.due_at)
            continue
        due_at, expires_at = plan.due_at[ordinal - 1], plan.expires_at[ordinal - 1]
        if row.due_at != due_at:
            yield days.difference(study_on, ordinal, DUE_AT, row.due_at, expected=due_at)
        elif not has_probability(row, plan):
            stored, drawn = row.inclusion_probability, plan.inclusion_probability
            yield days.difference(study_on, ordinal, PROBABILITY, stored, expected=drawn)
        if row.expires_at - row.due_at != expires_at - due_at and row.expires_at != expires_at:
            yield days.difference(
                study_on, ordinal, EXPIRES_AT, row.expires_at, expected=expires_at
            )


def _unreadable(days: Days, row: Stored, error: ValueError) -> Difference:
    return days.difference(row.study_on, row.ordinal, UNREADABLE, row.due_at, cause=str(error))
