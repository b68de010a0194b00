"""Waking hours: as they are stored, as two stretches, and in words."""

from datetime import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ema import hours
from ema.hours import Stretch

minutes = st.builds(time, st.integers(0, 23), st.integers(0, 59))


@given(minutes, minutes, minutes, minutes)
def test_stored_hours_are_read_back(a: time, b: time, c: time, d: time) -> None:
    said = Stretch(a, b), Stretch(c, d)
    assert hours.stretches_of(hours.windows_of(*said)) == said


def test_hours_of_days_that_differ_are_not_two_stretches() -> None:
    assert hours.stretches_of(None) is None
    assert hours.stretches_of([]) is None
    twice = [{"weekdays": [1, 2, 3, 4, 5, 6, 7], "start": "08:00", "end": "12:00"}] * 2
    assert hours.stretches_of(twice) is None


weekdays = st.lists(st.integers(1, 7), min_size=1, max_size=7, unique=True)
clock = minutes.map(lambda each: each.strftime("%H:%M"))
window = st.fixed_dictionaries({"weekdays": weekdays, "start": clock, "end": clock})


@given(st.lists(window, min_size=1))
def test_words_are_read_back_as_they_were_stored(windows: list[dict[str, Any]]) -> None:
    assert hours.from_words(hours.in_words(windows)) == windows


@pytest.mark.parametrize(
    ("line", "days", "start", "end"),
    [
        ("every day: 8:00 to 22:00", [1, 2, 3, 4, 5, 6, 7], "08:00", "22:00"),
        ("Every Day : 08:00 until 22:00", [1, 2, 3, 4, 5, 6, 7], "08:00", "22:00"),
        ("mon-fri: 08:00-22:00", [1, 2, 3, 4, 5], "08:00", "22:00"),
        ("Friday to Monday: 20:00 – 06:00", [5, 6, 7, 1], "20:00", "06:00"),
        ("Mon to Fri: 0800 to 22:00:30", [1, 2, 3, 4, 5], "08:00", "22:00:30"),
        ("Tue, Thursday and Sat: 09:00 to 21:00", [2, 4, 6], "09:00", "21:00"),
        ("Monday to Wednesday, Sunday: 09:00 to 21:00", [1, 2, 3, 7], "09:00", "21:00"),
    ],
)
def test_days_and_times_are_read_as_people_write_them(
    line: str, days: list[int], start: str, end: str
) -> None:
    assert hours.from_words(line) == [{"weekdays": days, "start": start, "end": end}]


@pytest.mark.parametrize(
    "line",
    [
        "always",
        "08:00 to 22:00",
        "Monday 08:00 to 22:00",
        "Monday: 08:00",
        "Monday: 25:00 to 26:00",
        "Monday: 8 to 22",
        "M: 08:00 to 22:00",
        "Someday: 08:00 to 22:00",
        "Monday to Friday to Sunday: 08:00 to 22:00",
        ", and: 08:00 to 22:00",
    ],
)
def test_a_line_that_is_no_window_is_quoted(line: str) -> None:
    with pytest.raises(hours.HoursUnreadable, match=f"^{line!r} is not a window. Write one a line"):
        hours.from_words(f"every day: 08:00 to 22:00\n{line}")
