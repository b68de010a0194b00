"""Every time zone, eight kinds of waking hours, 426 days: what `draw_day` gives, counted against.

From 2026-02-01 to 2027-04-02: two springs, an autumn, and two Ramadans (when Morocco changes its
clocks). What a day should be is worked out here once more, from local times alone, and shares no
code with `scheduler.zones`.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from datetime import UTC, date, datetime, time, timedelta
from functools import partial
from itertools import pairwise
from multiprocessing import get_context
from typing import NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

import django

from benchmarks.figures import Figure, Goal
from scheduler.day import DayPlan, Protocol, draw_day
from scheduler.zones import EVERY_DAY, Window, zone_names

SEED, STREAM = bytes(range(32)), "treatment"
DATES = [date(2026, 2, 1) + timedelta(days=number) for number in range(426)]
PROMPTS, GAP, SECOND = 4, timedelta(minutes=60), timedelta(seconds=1)
CLOCKS = (
    "08:00–22:00",
    "18:00–04:00",
    "22:00–07:00",
    "23:59–00:01",
    "00:00–00:00",
    "12:00–12:00",
    "01:30–03:15",
    "07:00–11:30, 17:00–01:00",
)
TELLING = {  # for --quick: half an hour, two hours, midnight, Ramadan, a day's difference, a link
    "Africa/Casablanca",
    "America/Nuuk",
    "America/Santiago",
    "Antarctica/Troll",
    "Asia/Beirut",
    "Asia/Katmandu",
    "Australia/Lord_Howe",
    "Europe/Brussels",
    "Europe/Dublin",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Pacific/Kiritimati",
}
GOALS = {
    "overlaps": "a day begins before the one before it has ended",
    "bounds": "a prompt outside its window",
    "gap": "prompts closer than the gap, or a gap relaxed for nothing",
    "count": "a day of more or fewer prompts than it should have",
}


class Hours(NamedTuple):
    """A window by the local clock. One that ends no later than it starts ends the next day."""

    start: time
    end: time


def measure(quick: bool) -> Iterator[Figure]:
    """How many days, and how often each promise is broken on them."""
    zones = sorted(zone_names() & TELLING if quick else zone_names())
    wrong: Counter[str] = Counter()
    pool = ProcessPoolExecutor(mp_context=get_context("spawn"), initializer=django.setup)
    with pool:  # set up as this process is: zones from tzdata, not from the operating system
        for found in pool.map(violations, range(len(zones)), zones, chunksize=8):
            wrong += found
    days = f"{len(zones)} zones × {len(CLOCKS)} windows × {len(DATES)} days"
    yield Figure(f"zones: {days}: days with prompts", "days", [wrong["days"]])
    for name, meaning in GOALS.items():
        yield Figure(f"zones: {meaning}", name, [wrong[name]], goal=Goal("=", 0))


def violations(number: int, name: str) -> Counter[str]:
    """What is wrong in one zone, by name of the goal, and how many days had prompts."""
    zone, participant = ZoneInfo(name), UUID(int=number, version=4)
    wrong: Counter[str] = Counter()
    for clock in CLOCKS:
        hours = [Hours(*map(time.fromisoformat, each.split("–"))) for each in clock.split(", ")]
        protocol = Protocol(
            windows=tuple(Window(EVERY_DAY, *each) for each in hours),
            prompts_per_day=PROMPTS,
            minimum_gap=GAP,
        )
        draw = partial(draw_day, SEED, STREAM, participant, protocol=protocol, zone=zone)
        ended = datetime.min.replace(tzinfo=UTC)
        for study_on in DATES:
            plan, spans = draw(study_on), expected(study_on, hours, zone)
            wrong += broken(plan, spans)
            wrong["overlaps"] += bool(plan.due_at) and plan.due_at[0] < ended
            ended = max([ended, *(end for _, end in spans), *(due + SECOND for due in plan.due_at)])
    return wrong


def expected(
    study_on: date, hours: Sequence[Hours], zone: ZoneInfo
) -> list[tuple[datetime, datetime]]:
    """The instants between which a date may have prompts, from its local times.

    None for hours that begin on a time which the clocks skip into another date.
    """
    spans = []
    for start, end in hours:
        ends_on = study_on + timedelta(days=end <= start)
        opens_at = datetime.combine(study_on, start, zone).astimezone(UTC)
        closes_at = datetime.combine(ends_on, end, zone).astimezone(UTC)
        if opens_at < closes_at and opens_at.astimezone(zone).date() == study_on:
            spans.append((opens_at, closes_at))
    return spans


def broken(plan: DayPlan, spans: Sequence[tuple[datetime, datetime]]) -> Counter[str]:
    """The promises that one day breaks."""
    length = sum((end - start for start, end in spans), timedelta(0))
    relaxed = bool(spans) and length < PROMPTS * GAP
    gap = length // SECOND // PROMPTS * SECOND if relaxed else GAP
    return Counter(
        days=bool(plan.due_at),
        bounds=sum(not any(start <= due < end for start, end in spans) for due in plan.due_at),
        gap=sum(later - earlier < gap for earlier, later in pairwise(plan.due_at))
        + (plan.gap_relaxed != relaxed),
        count=len(plan.due_at) != (PROMPTS if spans else 0),
    )
