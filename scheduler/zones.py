"""Local days into instants: time zones, waking windows, and clocks that change.

The settings pin zones to the `tzdata` package, so that a schedule does not depend on the
operating system. Pure: no clock, no database.
"""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from functools import cache, lru_cache
from importlib.resources import files
from operator import itemgetter
from zoneinfo import ZoneInfo

DAY = 86_400
WEEK = 7 * DAY
EVERY_DAY = 0b111_1111
WEEKDAY_NAMES = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")

Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Window:
    """Waking hours by the local clock, in which prompts may come.

    `weekdays` is a mask of the days on which the window begins: bit 0 is Monday, bit 6 Sunday.
    An `end` at or before `start` is on the next calendar day, so 00:00–00:00 lasts a whole day.
    """

    weekdays: int
    start: time
    end: time

    def __post_init__(self) -> None:
        if not 0 < self.weekdays <= EVERY_DAY:
            raise ValueError(
                "A window needs at least one weekday, as a mask from 1 (Mondays) to 127 "
                f"(every day); this one has {self.weekdays}."
            )
        for local_time in (self.start, self.end):
            if local_time.tzinfo or local_time.microsecond:
                raise ValueError(
                    f"A window begins and ends at whole seconds of local time, without a zone; "
                    f"{local_time.isoformat()} is not."
                )

    def __str__(self) -> str:
        return f"{self.start:%H:%M}–{self.end:%H:%M}"

    @property
    def crosses_midnight(self) -> bool:
        return self.end <= self.start

    def begins_on(self, local_on: date) -> bool:
        return bool(self.weekdays >> local_on.weekday() & 1)


def resolve(local_on: date, local_time: time, zone: ZoneInfo) -> datetime:
    """Return the UTC instant at which the clocks of `zone` show this date and time.

    The "compatible" rule (RFC 5545; PEP 495 with fold=0): a time the clocks skip moves forward by
    the length of the gap, a time they show twice is the first of the two.
    """
    return datetime.combine(local_on, local_time.replace(fold=0), zone).astimezone(UTC)


def study_day_windows(
    study_on: date, windows: tuple[Window, ...], zone: ZoneInfo
) -> tuple[Span, ...]:
    """Return the windows that begin on a local date as ascending pairs of UTC instants.

    A window is left out when its start, converted back, falls on another date: the date does not
    exist (Apia, 2011-12-30) or the clocks skip its last hour (Nuuk, 2026-03-28 from 23:00). So is
    one that the clocks skip altogether. A window that would begin before an earlier one has ended,
    because the clocks skip the hour in which it ends, begins at that end: no second counts twice.

    Raises ValueError when windows overlap.
    """
    refuse_overlap(windows)
    spans: list[Span] = []
    free_from = datetime.min.replace(tzinfo=UTC)
    for begins_on in (study_on - timedelta(days=1), study_on):
        for opens_at, closes_at in _resolved(begins_on, windows, zone):
            start_at = max(opens_at, free_from)
            if start_at < closes_at:
                free_from = closes_at
                if begins_on == study_on:
                    spans.append((start_at, closes_at))
    return tuple(spans)


def elapsed_seconds(spans: tuple[Span, ...]) -> int:
    """Return how many seconds the windows of a day last together."""
    return sum((end - start) // timedelta(seconds=1) for start, end in spans)


def place(offset: int, spans: tuple[Span, ...]) -> datetime:
    """Return the instant `offset` elapsed seconds into the windows laid end to end.

    Raises ValueError when the offset is not in [0, elapsed_seconds(spans)).
    """
    left = timedelta(seconds=offset)
    if offset >= 0:
        for start, end in spans:
            if left < end - start:
                return start + left
            left -= end - start
    raise ValueError(f"Second {offset} is outside the day's {elapsed_seconds(spans)} seconds.")


def shortest_day(windows: tuple[Window, ...], zone: ZoneInfo, first_on: date, last_on: date) -> int:
    """Return the fewest seconds that the windows last on any date on which they have any.

    Both dates count. Returns 0 when no window begins on any of them.
    """
    dates = (first_on + timedelta(days=n) for n in range((last_on - first_on).days + 1))
    lengths = (elapsed_seconds(study_day_windows(on, windows, zone)) for on in dates)
    return min(filter(None, lengths), default=0)


@lru_cache(maxsize=1024)
def refuse_overlap(windows: tuple[Window, ...]) -> None:
    """Raise ValueError, naming the two windows and the day, when windows share a local time."""
    week = sorted(
        (
            (begin, begin + _clock_length(window), window)
            for window in windows
            for weekday in range(7)
            if window.weekdays >> weekday & 1
            for begin in [weekday * DAY + _second_of_day(window.start)]
        ),
        key=itemgetter(0),
    )
    following = [*week[1:], *((begin + WEEK, end, window) for begin, end, window in week[:1])]
    for (_, earlier_end, earlier), (begin, _, later) in zip(week, following, strict=True):
        if earlier_end > begin:
            raise ValueError(
                f"The windows {earlier} and {later} overlap on {WEEKDAY_NAMES[begin // DAY % 7]}; "
                "let one end before the other begins."
            )


def zone_named(name: str) -> ZoneInfo:
    """Return a zone by its IANA name; the old names that browsers send are accepted.

    Raises ValueError naming the unknown zone, with the nearest known name if one is near.
    """
    if name in zone_names():
        return ZoneInfo(name)
    known = {candidate.lower(): candidate for candidate in zone_names()}
    near = difflib.get_close_matches(name[:64].lower(), known, n=1)
    suggestion = f"; did you mean {known[near[0]]}?" if near else "."
    raise ValueError(f"There is no time zone named {name[:64]!r}{suggestion}")


def canonical_zone(name: str) -> str:
    """Return the present name of a zone: Asia/Calcutta gives Asia/Kolkata.

    A name that the zone table lists for a country stays as it is, even where tzdata shares its
    rules with a neighbour (Europe/Amsterdam is not renamed to Europe/Brussels).
    Raises ValueError for an unknown zone.
    """
    zone_named(name)
    while name not in _country_zones() and name in _links():
        name = _links()[name]
    return name


@cache
def zone_names() -> frozenset[str]:
    """Return every zone name in the `tzdata` package, old ones included."""
    return frozenset(_tzdata("zones").split()) - {"Factory"}


def _resolved(begins_on: date, windows: tuple[Window, ...], zone: ZoneInfo) -> Iterator[Span]:
    today = sorted((w for w in windows if w.begins_on(begins_on)), key=lambda w: w.start)
    for window in today:
        opens_at = resolve(begins_on, window.start, zone)
        if opens_at.astimezone(zone).date() == begins_on:
            ends_on = begins_on + timedelta(days=window.crosses_midnight)
            yield opens_at, resolve(ends_on, window.end, zone)


def _second_of_day(local_time: time) -> int:
    return local_time.hour * 3600 + local_time.minute * 60 + local_time.second


def _clock_length(window: Window) -> int:
    return (_second_of_day(window.end) - _second_of_day(window.start)) % DAY or DAY


@cache
def _links() -> dict[str, str]:
    """Return tzdata's links, old or shared name to target, from its lines "L target name"."""
    lines = (line.split() for line in _tzdata("zoneinfo/tzdata.zi").splitlines())
    return {words[2]: words[1] for words in lines if words[:1] == ["L"]}


@cache
def _country_zones() -> frozenset[str]:
    """Return the names in zone.tab, its third column: the present names, by country."""
    lines = _tzdata("zoneinfo/zone.tab").splitlines()
    return frozenset(line.split("\t")[2] for line in lines if not line.startswith("#"))


def _tzdata(resource: str) -> str:
    return files("tzdata").joinpath(resource).read_text(encoding="utf-8")


def _tzdata_version() -> str:
    return _tzdata("zoneinfo/tzdata.zi").split(maxsplit=3)[2]


TZDATA_VERSION = _tzdata_version()
"""The IANA release that the `tzdata` package carries, such as 2025b."""
