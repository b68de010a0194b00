"""Stamps as EMA systems write them: `2020-03-29 12:00:00 CEST`, with or without a zone. Pure."""

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from typing import NamedTuple

# Minutes east of UTC. Abbreviations that mean several zones (IST, CST, BST …) are left out: they
# are reported as unknown.
ABBREVIATIONS = {
    "Z": 0,
    "UTC": 0,
    "GMT": 0,
    "WET": 0,
    "WEST": 60,
    "CET": 60,
    "CEST": 120,
    "EET": 120,
    "EEST": 180,
    "MSK": 180,
    "JST": 540,
    "KST": 540,
    "AEST": 600,
    "AEDT": 660,
    "NZST": 720,
    "NZDT": 780,
    "EST": -300,
    "EDT": -240,
    "CDT": -300,
    "MDT": -360,
    "PDT": -420,
}
FIRST_YEAR = 1990  # an earlier year is a clock that was never set
_STAMP = re.compile(
    r"(?P<day>\d{4}-\d\d-\d\d)[T ](?P<time>\d\d:\d\d(?::\d\d(?:\.\d{1,6})?)?)\d*"
    r"\s*(?P<zone>[A-Za-z]{1,5}|[+-]\d\d(?::?\d\d)?)?"
)


class Stamp(NamedTuple):
    """What a cell says: the instant, the wall clock as written, its zone, and what is wrong.

    `problem` is empty, or one of stamp_unreadable, stamp_unset, stamp_future, zone_unknown; `at` is
    None for the first three.
    """

    at: datetime | None
    written: datetime | None
    zone: str
    problem: str


def read_stamp(cell: str, *, zone: tzinfo, now: datetime) -> Stamp:
    """The instant a cell names; a stamp without a zone, or with an unknown one, is in `zone`."""
    found = _STAMP.fullmatch(cell.strip())
    try:
        written = datetime.fromisoformat(f"{found['day']}T{found['time']}") if found else None
    except ValueError:
        written = None
    if found is None or written is None:
        return Stamp(None, None, "", "stamp_unreadable")
    name = (found["zone"] or "").upper()
    if written.year < FIRST_YEAR:
        return Stamp(None, written, name, "stamp_unset")
    offset = _offset(name)
    at = written.replace(tzinfo=offset or zone).astimezone(UTC)
    if at > now:
        return Stamp(None, written, name, "stamp_future")
    return Stamp(at, written, name, "zone_unknown" if name and offset is None else "")


def _offset(name: str) -> timezone | None:
    if name in ABBREVIATIONS:
        return timezone(timedelta(minutes=ABBREVIATIONS[name]))
    if name[:1] in ("+", "-"):
        digits = name[1:].replace(":", "").ljust(4, "0")
        minutes = int(digits[:2]) * 60 + int(digits[2:])
        if minutes < 24 * 60:
            return timezone(timedelta(minutes=-minutes if name[0] == "-" else minutes))
    return None
