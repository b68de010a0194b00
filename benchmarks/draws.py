"""Prompt times: a participant's day against the HMAC calls that it cannot do without.

Days come in parts of ten thousand: a hundred participants, a hundred days each, as a planner or a
verification meets them. Each part is measured beside its own baseline.
"""

import hashlib
import hmac
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from functools import partial
from typing import NamedTuple
from uuid import UUID

from benchmarks.figures import Figure, Goal, seconds
from scheduler.day import Protocol, draw_day
from scheduler.sampling import DRAWS_PER_BLOCK, draws_needed, keyed, sample, seeded_draws
from scheduler.sampling_arrays import draws_for_days, sample_days
from scheduler.zones import zone_named

SEED, STREAM = bytes(range(32)), "treatment"
ZONE = zone_named("Europe/Brussels")
FIRST_ON = date(2026, 1, 5)
SIDE = 100  # participants, and days of each, in a part
LENGTH, PROMPTS, GAP = 14 * 3600, 4, 3600
GOAL = Goal("≤", 1.5)


class Days(NamedTuple):
    """One part: the days of each participant in a row, and what bare HMAC calls hash for them."""

    people: list[UUID]
    dates: list[date]
    messages: list[bytes]


def measure(quick: bool) -> Iterator[Figure]:
    """Microseconds per participant-day, one at a time and vectorised, and of whole days."""
    parts = 5 if quick else 100
    what = f"{parts * SIDE * SIDE:,} days"
    yield _against_hmac(f"{what}, 4 draws each", _one_at_a_time, parts, GOAL)
    yield _against_hmac(f"{what}, 4 draws each, vectorised", _vectorised, parts, GOAL)
    yield _against_hmac("the same, and their offsets, vectorised", _vectorised_offsets, parts)
    few = 5 if quick else 10
    yield _against_hmac("4 draws, another participant each time", _by_date, few)
    yield _against_hmac("4 draws and their offsets, circle", _offsets, few)
    for design in ("circle", "stratified_rotated"):
        yield _whole_days(Protocol(design=design), few)
    yield _against_hmac("HMAC with a key made ready", _keyed, few)


def _one_at_a_time(days: Days) -> None:
    for person, study_on in zip(days.people, days.dates, strict=True):
        seeded_draws(SEED, STREAM, person, study_on, 4)


def _vectorised(days: Days) -> None:
    draws_for_days(SEED, STREAM, days.people, days.dates, 4)


def _vectorised_offsets(days: Days) -> None:
    draws = draws_for_days(SEED, STREAM, days.people, days.dates, 4)
    sample_days("circle", length=LENGTH, prompts=PROMPTS, minimum_gap=GAP, draws=draws)


def _by_date(days: Days) -> None:
    """Nothing of the day before helps: more participants in turn than are remembered."""
    for number, study_on in enumerate(days.dates):
        seeded_draws(SEED, STREAM, MANY[number % len(MANY)], study_on, 4)


MANY = [UUID(int=person, version=4) for person in range(1000)]


def _offsets(days: Days) -> None:
    for person, study_on in zip(days.people, days.dates, strict=True):
        u = seeded_draws(SEED, STREAM, person, study_on, 4)
        sample("circle", length=LENGTH, prompts=PROMPTS, minimum_gap=GAP, draws=u)


def _keyed(days: Days) -> None:
    digest = keyed(SEED).digest
    for message in days.messages:
        digest(message)


def _whole_days(protocol: Protocol, parts: int) -> Figure:
    def draw(days: Days) -> None:
        for person, study_on in zip(days.people, days.dates, strict=True):
            draw_day(SEED, STREAM, person, study_on, protocol, ZONE)

    draw(_part(0, 1))  # the windows of each date are remembered from now on, as in a planner's run
    blocks = -(-draws_needed(protocol.design, protocol.prompts_per_day) // DRAWS_PER_BLOCK)
    return _against_hmac(f"day of 4 prompts, {protocol.design}", draw, parts, blocks=blocks)


def _against_hmac(
    what: str,
    draw: Callable[[Days], None],
    parts: int,
    goal: Goal | None = None,
    blocks: int = 1,
) -> Figure:
    """`draw` makes each part of the days; the baseline hashes their blocks, one call for each."""

    def hash_only(days: Days) -> None:
        for message in days.messages:
            hmac.digest(SEED, message, hashlib.sha256)

    micro = 1e6 / SIDE**2
    values, limits = [], []
    for number in range(parts):
        days = _part(number, blocks)
        values.append(seconds(partial(draw, days)) * micro)
        limits.append(seconds(partial(hash_only, days)) * micro)
    plural = "s" if blocks > 1 else ""
    return Figure(f"draws: {what}", "µs/day", values, f"{blocks} HMAC call{plural}", limits, goal)


def _part(number: int, blocks: int) -> Days:
    people = [UUID(int=number * SIDE + person, version=4) for person in range(SIDE)]
    dates = [FIRST_ON + timedelta(days=day) for day in range(SIDE)]
    messages = [
        f"fourbeat-schedule/1\0{STREAM}|{person}|{study_on}\0{block}".encode()
        for person in people
        for study_on in dates
        for block in range(blocks)
    ]
    return Days([person for person in people for _ in dates], dates * SIDE, messages)
