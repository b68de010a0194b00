"""Prompt times: a participant's day against the HMAC calls that it cannot do without."""

import hashlib
import hmac
from collections.abc import Callable, Iterator
from datetime import date, timedelta
from uuid import UUID

from benchmarks.figures import Figure, seconds
from scheduler.day import Protocol, draw_day
from scheduler.sampling import DRAWS_PER_BLOCK, draws_needed, seeded_draws
from scheduler.zones import zone_named

SEED, STREAM = bytes(range(32)), "treatment"
ZONE = zone_named("Europe/Brussels")
FIRST_ON = date(2026, 1, 5)
Days = list[tuple[UUID, date]]


def measure(quick: bool) -> Iterator[Figure]:
    """Microseconds per participant-day, by design."""
    repeats = 3 if quick else 9
    days = [
        (UUID(int=person, version=4), FIRST_ON + timedelta(days=day))
        for person in range(20 if quick else 100)
        for day in range(98)
    ]
    yield _draws_alone(days, repeats)
    for design in ("circle", "stratified_rotated"):
        yield _whole_days(Protocol(design=design), days, repeats)


def _draws_alone(days: Days, repeats: int) -> Figure:
    def draw() -> None:
        for person, study_on in days:
            seeded_draws(SEED, STREAM, person, study_on, 4)

    return _against_hmac("seeded draws alone, 4", draw, days, 1, repeats)


def _whole_days(protocol: Protocol, days: Days, repeats: int) -> Figure:
    def draw() -> None:
        for person, study_on in days:
            draw_day(SEED, STREAM, person, study_on, protocol, ZONE)

    blocks = -(-draws_needed(protocol.design, protocol.prompts_per_day) // DRAWS_PER_BLOCK)
    what = f"day of 4 prompts, {protocol.design}"
    return _against_hmac(what, draw, days, blocks, repeats)


def _against_hmac(
    what: str, draw: Callable[[], None], days: Days, blocks: int, repeats: int
) -> Figure:
    """`draw` makes all the days; the baseline hashes as many blocks of the same length."""
    messages = [
        f"fourbeat-schedule/1\0{STREAM}|{person}|{study_on}\0{block}".encode()
        for person, study_on in days
        for block in range(blocks)
    ]

    def hash_only() -> None:
        for message in messages:
            hmac.digest(SEED, message, hashlib.sha256)

    draw()  # the windows of each date are remembered from now on, as in a planner's run
    micro = 1e6 / len(days)
    pairs = [(seconds(draw) * micro, seconds(hash_only) * micro) for _ in range(repeats)]
    values, limits = zip(*pairs, strict=True)
    plural = "s" if blocks > 1 else ""
    return Figure(f"draws: {what}", "µs/day", values, f"{blocks} HMAC call{plural}", limits)
