"""Many days at once: the draws and offsets of `scheduler.sampling` as arrays, bit for bit.

For recomputing whole studies and for looking at millions of days; planning needs a day at a time.
Integers only: 64-bit products are made of 32-bit halves, since NumPy has no wider integer.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date
from typing import NamedTuple
from uuid import UUID

import numpy as np
from numpy.typing import NDArray

from scheduler.sampling import (
    DRAWS_PER_BLOCK,
    blocks_needed,
    enough_draws,
    kept_gap,
    keyed,
    message_head,
)

Draws = NDArray[np.uint64]
Offsets = NDArray[np.int64]

TOO_LONG = 2**32
LOW_HALF = np.uint64(2**32 - 1)


class Samples(NamedTuple):
    """The prompts of many days of one length.

    `offsets` is (days, prompts): seconds since the first window of the day opened, ascending along
    each row. `gap_relaxed` says that such a day is too short for the minimum gap.
    """

    offsets: Offsets
    gap_relaxed: bool


def draws_for_days(
    seed: bytes, stream: str, participants: Sequence[UUID], dates: Sequence[date], count: int
) -> Draws:
    """Return the draws of many participant-days, (days, count): `seeded_draws` row by row.

    Row i belongs to `participants[i]` on `dates[i]`; quickest when the days of one participant
    follow one another. Raises ValueError as `seeded_draws` does, and when the two differ in length.
    """
    if len(participants) != len(dates):
        raise ValueError(
            f"Each day has a participant and a date; there are {len(participants)} participants "
            f"and {len(dates)} dates."
        )
    blocks = blocks_needed(count)
    hashed = b"".join(_hashed(seed, stream, zip(participants, dates, strict=True), blocks))
    draws = np.frombuffer(hashed, dtype=">u8").reshape(len(dates), blocks * DRAWS_PER_BLOCK)
    return draws[:, :count].astype(np.uint64)


def sample_days(
    design: str, *, length: int, prompts: int, minimum_gap: int, draws: Draws
) -> Samples:
    """Place the prompts of many days whose windows all last `length` seconds.

    `draws` has a row for each day and at least as many columns as the design needs. Row by row the
    same as `scheduler.sampling.sample`, and refused in the same words; besides, a day of 2**32
    seconds or more is refused, and draws that are not unsigned 64-bit integers in two dimensions.
    """
    gap, gap_relaxed = kept_gap(design, length=length, prompts=prompts, minimum_gap=minimum_gap)
    if draws.ndim != 2 or draws.dtype != np.uint64:
        raise ValueError("Draws are unsigned 64-bit integers, one row for each day.")
    if length >= TOO_LONG:
        raise ValueError(f"A day lasts less than {TOO_LONG} seconds; this one lasts {length}.")
    needed = enough_draws(design, prompts, draws.shape[1])
    offsets = _PLACE[design](length, prompts, gap, draws[:, :needed])
    offsets.sort(axis=1)
    return Samples(offsets, gap_relaxed)


def below(u: Draws, n: int) -> Offsets:
    """Map 64-bit integers onto [0, n) as `scheduler.sampling.below` does, for 0 < n < 2**32.

    With u = high·2³² + low, (u·n) >> 64 = (high·n + (low·n >> 32)) >> 32, and no term passes 64
    bits.
    """
    high, low = u >> 32, u & LOW_HALF
    return ((high * n + (low * n >> 32)) >> 32).astype(np.int64)


def _hashed(
    seed: bytes, stream: str, days: Iterable[tuple[UUID, date]], blocks: int
) -> Iterator[bytes]:
    """The blocks of each day, in order; what one participant's days begin with is hashed once."""
    key = keyed(seed)
    tails = _Tails(blocks)
    before: UUID | None = None
    for participant, study_on in days:
        if participant is not before:
            digest = key.after(message_head(stream, participant).encode()).digest
            before = participant
        for tail in tails[study_on]:
            yield digest(tail)


class _Tails(dict[date, list[bytes]]):
    """What the messages of a date end with, one for each block."""

    def __init__(self, blocks: int) -> None:
        self.blocks = range(blocks)

    def __missing__(self, study_on: date) -> list[bytes]:
        self[study_on] = [f"{study_on.isoformat()}\0{block}".encode() for block in self.blocks]
        return self[study_on]


def _uniform(length: int, prompts: int, gap: int, draws: Draws) -> Offsets:
    return below(draws, length)


def _stratified(length: int, prompts: int, gap: int, draws: Draws) -> Offsets:
    return (np.arange(prompts) * length + below(draws, length)) // prompts


def _circle(length: int, prompts: int, gap: int, draws: Draws) -> Offsets:
    spare = length - prompts * gap
    turn = below(draws[:, :1], length)
    slack = np.zeros(draws.shape, dtype=np.int64)
    slack[:, 1:] = np.sort(below(draws[:, 1:], spare + 1), axis=1)
    return (turn + slack + np.arange(prompts) * gap) % length


def _stratified_rotated(length: int, prompts: int, gap: int, draws: Draws) -> Offsets:
    jitter = length // prompts - gap
    turn = below(draws[:, :1], length)
    blocks = np.arange(prompts) * length // prompts
    return (turn + blocks + below(draws[:, 1:], jitter + 1)) % length


_PLACE: dict[str, Callable[[int, int, int, Draws], Offsets]] = {
    "circle": _circle,
    "uniform": _uniform,
    "stratified": _stratified,
    "stratified_rotated": _stratified_rotated,
}
