"""Waking hours of a participant: whether they can work, and as weekdays and weekends.

Whether hours work is the scheduler's to say: it appends its check (decision 0007).
"""

from calendar import day_name
from collections.abc import Callable
from datetime import time
from typing import Any, NamedTuple

HOURS_CHECKS: list[Callable[[object], list[str]]] = []
"""Say in words why waking hours cannot work."""

WORKING_DAYS, WEEKEND = [1, 2, 3, 4, 5], [6, 7]
WRITTEN = "%H:%M"


class Stretch(NamedTuple):
    """Awake from … to …; past midnight where `end` comes before `start`."""

    start: time
    end: time


def hours_problems(windows: object) -> list[str]:
    """Why waking hours cannot work, in words; empty when they can."""
    return [problem for check in HOURS_CHECKS for problem in check(windows)]


def windows_of(working_days: Stretch, weekend: Stretch) -> list[dict[str, Any]]:
    """Waking hours as they are stored."""
    if working_days == weekend:
        return [_window([*WORKING_DAYS, *WEEKEND], weekend)]
    return [_window(WORKING_DAYS, working_days), _window(WEEKEND, weekend)]


def stretches_of(windows: object) -> tuple[Stretch, Stretch] | None:
    """Working days and weekend, or None where hours are told in more detail than that."""
    days: dict[int, list[Stretch]] = {}
    for each in windows if isinstance(windows, list) else []:
        stretch = Stretch(time.fromisoformat(each["start"]), time.fromisoformat(each["end"]))
        for day in each["weekdays"]:
            days.setdefault(day, []).append(stretch)
    found = [{tuple(days.get(day, [])) for day in group} for group in (WORKING_DAYS, WEEKEND)]
    if any(len(group) != 1 for group in found):
        return None
    (first,), (second,) = found
    return (first[0], second[0]) if len(first) == len(second) == 1 else None


def in_words(windows: object) -> str:
    """Waking hours as people say them, a window a line; the phase's where there are none."""
    if not isinstance(windows, list):
        return "as the phase has them"
    return "\n".join(
        f"{_named(each['weekdays'])}: {each['start']} to {each['end']}" for each in windows
    )


def _named(weekdays: list[int]) -> str:
    """Every day, Monday to Friday, Saturday and Sunday, or each by its name."""
    known = {(*WORKING_DAYS, *WEEKEND): "every day", tuple(WORKING_DAYS): "Monday to Friday"}
    names = [day_name[day - 1] for day in weekdays]
    return known.get(tuple(weekdays)) or " and ".join(
        filter(None, [", ".join(names[:-1]), names[-1]])
    )


def _window(weekdays: list[int], stretch: Stretch) -> dict[str, Any]:
    start, end = (each.strftime(WRITTEN) for each in stretch)
    return {"weekdays": weekdays, "start": start, "end": end}
