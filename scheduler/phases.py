"""When phases begin: from start rules and what has happened to dates. Pure: no clock, no database.

No two phases of a participant share a day. A phase whose rule points at a day that another one
has waits until that one has ended.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import NamedTuple

ENROLMENT, ALLOCATION, PREVIOUS_PHASE, VISIT = "enrolment", "allocation", "previous_phase", "visit"


class Happened(NamedTuple):
    """A local date, and the instant from which it was known."""

    on: date
    known_at: datetime


@dataclass(frozen=True, slots=True)
class Rule:
    """One phase of a chain: how long, and what it starts from. `visit` names a visit."""

    phase_id: int
    days: int
    starts: str = PREVIOUS_PHASE
    offset_days: int = 0
    visit: str = ""


@dataclass(frozen=True, slots=True)
class Course:
    """What is known of one participant; `standing` are the phases that have begun, or soon will."""

    enrolled: Happened
    allocated: Happened | None = None
    visits: Mapping[str, Happened] = field(default_factory=dict)
    standing: Mapping[int, Happened] = field(default_factory=dict)


def begin_dates(rules: Sequence[Rule], course: Course) -> dict[int, Happened]:
    """When each phase begins, by id, in the order of the chain; those not known yet are left out.

    The first phase of a chain follows on enrolment. Phases that stand keep their dates, and so do
    earlier ones against later ones: whoever comes later waits.
    """
    begins: dict[int, Happened] = {}
    taken = [
        (course.standing[r.phase_id].on, r.days) for r in rules if r.phase_id in course.standing
    ]
    previous: Happened | None = course.enrolled
    for rule in rules:
        begin = course.standing.get(rule.phase_id)
        if begin is None:
            asked = _asked(rule, course, previous)
            begin = asked and Happened(_first_free(asked.on, rule.days, taken), asked.known_at)
            if begin:
                taken.append((begin.on, rule.days))
        previous = None
        if begin:
            begins[rule.phase_id] = begin
            previous = Happened(begin.on + timedelta(days=rule.days), begin.known_at)
    return begins


def _asked(rule: Rule, course: Course, previous: Happened | None) -> Happened | None:
    """The date that the rule points at, if what it starts from has happened."""
    origin = {
        ENROLMENT: course.enrolled,
        ALLOCATION: course.allocated,
        PREVIOUS_PHASE: previous,
        VISIT: course.visits.get(rule.visit),
    }[rule.starts]
    return origin and Happened(origin.on + timedelta(days=rule.offset_days), origin.known_at)


def _first_free(on: date, days: int, taken: Sequence[tuple[date, int]]) -> date:
    """The first date, from `on`, from which `days` are free."""
    for begins_on, lasts in sorted(taken):
        ends_before = begins_on + timedelta(days=lasts)
        if begins_on < on + timedelta(days=days) and on < ends_before:
            on = ends_before
    return on
