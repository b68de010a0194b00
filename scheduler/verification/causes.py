"""What may explain that a day is not as the seed has it."""

from collections.abc import Sequence
from datetime import date, timedelta

from scheduler.day import DayPlan
from scheduler.protocols import protocol_of
from scheduler.verification.days import Days, is_equal
from scheduler.verification.stored import Stored
from scheduler.zones import TZDATA_VERSION


def cause_of(days: Days, study_on: date, rows: Sequence[Stored], plan: DayPlan) -> tuple[str, bool]:
    """What may explain a day none of whose prompts is as drawn, and whether it is the zone data.

    A day of which some prompts are as drawn, or that has none, is left unexplained: editions of a
    protocol, of hours and of zone data move whole days.
    """
    in_plan = [row for row in rows if row.ordinal <= len(plan.due_at)]
    shifts = {row.due_at - plan.due_at[row.ordinal - 1] for row in in_plan}
    if not rows or not days.stretch.first_on <= study_on < days.end_on:
        return "", False
    if shifts == {timedelta(0)} and len(in_plan) == len(rows) == len(plan.due_at):
        later = all(r.expires_at != e for r, e in zip(rows, plan.expires_at, strict=True))
        return "was the phase's expiry changed after this was planned?" * later, False
    if timedelta(0) in shifts:
        return "", False
    others = sorted({row.tzdata for row in rows} - {TZDATA_VERSION})
    if others:
        return _cause_in_zone_data(others[0], len(shifts) == 1 and len(in_plan) == len(plan.due_at))
    if days.stretch.windows is None:
        return "was the phase's protocol changed after this was planned?", False
    if is_equal(rows, days.plan(study_on, rows[0].zone, protocol_of(days.phase)), rows[0].zone):
        return "drawn in the phase's hours: the participant's own were set later", False
    return (
        "were the participant's own hours, or the protocol, changed after this was planned?",
        False,
    )


def _cause_in_zone_data(release: str, is_one_shift: bool) -> tuple[str, bool]:
    """Other rules move a whole day by one UTC offset, or change its length by night."""
    if is_one_shift:
        return f"drawn by tzdata {release}: the same draws at another UTC offset", True
    return f"drawn by tzdata {release}: perhaps other rules for the clocks of that day", False
