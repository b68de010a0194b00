"""Waking hours: whether they can work, as weekdays and weekends, and in words.

Whether hours work is the scheduler's to say: it appends its check (decision 0007).
"""

import re
from calendar import day_name
from collections.abc import Callable
from datetime import time
from typing import Any, NamedTuple

HOURS_CHECKS: list[Callable[[object], list[str]]] = []
"""Say in words why waking hours cannot work."""

WORKING_DAYS, WEEKEND = [1, 2, 3, 4, 5], [6, 7]
WRITTEN = "%H:%M"
ONE_WINDOW = re.compile(
    r"(?P<days>[^:]+):\s*(?P<start>[\d:]+)\s*(?:to|until|-|–)\s*(?P<end>[\d:]+)", re.IGNORECASE
)
A_RANGE = re.compile(r"\s*(?:\bto\b|-|–)\s*")
A_LIST = re.compile(r"\s*(?:,|\band\b)\s*")


class HoursUnreadable(ValueError):
    """A line that names no window."""

    def __init__(self, line: str) -> None:
        super().__init__(
            f"{line!r} is not a window. Write one a line, days first: 'Monday to Friday: 08:00 to "
            "22:00', 'Saturday and Sunday: 09:30 to 23:00' or 'every day: 08:00 to 22:00'."
        )


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


def from_words(text: str) -> list[dict[str, Any]]:
    """Waking hours as they are stored, of words such as `in_words` writes. HoursUnreadable."""
    return [_window_of(line) for line in map(str.strip, text.splitlines()) if line]


def _window_of(line: str) -> dict[str, Any]:
    found = ONE_WINDOW.fullmatch(line)
    try:
        if found is None:
            raise ValueError(line)
        start, end = (clock(found[name]) for name in ("start", "end"))
        return {"weekdays": _days(found["days"].strip().lower()), "start": start, "end": end}
    except ValueError as error:
        raise HoursUnreadable(line) from error


def clock(text: str) -> str:
    """A local time as it is stored: 09:00 of 9:00 and of 0900; ValueError where it is none."""
    read = time.fromisoformat(text.zfill(5) if text.count(":") == 1 else text)
    if read.tzinfo or read.microsecond:
        raise ValueError(text)
    return read.strftime(WRITTEN) if read.second == 0 else read.isoformat()


def _days(text: str) -> list[int]:
    """Numbers of the weekdays that are named, alone or from one to another; else ValueError."""
    if text == "every day":
        return [*WORKING_DAYS, *WEEKEND]
    days: dict[int, None] = {}  # a set that keeps its order
    for part in filter(None, A_LIST.split(text)):
        first, *others = [_day(name) for name in A_RANGE.split(part)]
        if len(others) > 1:
            raise ValueError(part)
        last = others[0] if others else first
        days |= dict.fromkeys((first + n - 1) % 7 + 1 for n in range((last - first) % 7 + 1))
    if not days:
        raise ValueError(text)
    return list(days)


def _day(name: str) -> int:
    """1 is Monday; three letters are enough."""
    (number,) = [
        number
        for number, day in enumerate(day_name, start=1)
        if len(name) >= 3 and day.lower().startswith(name)
    ]
    return number


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
