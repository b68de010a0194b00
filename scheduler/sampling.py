"""Random prompt times within one day: seeded draws in, whole seconds out.

Everything here is integer arithmetic on a keyed hash, so a schedule is the same on every
machine, and anyone who holds the study's seed can recompute it. There is no clock, no calendar
and no library random generator; `scheduler.zones` turns seconds into instants.
"""

import hashlib
import struct
from collections.abc import Callable, Sequence
from copy import copy
from datetime import date
from functools import lru_cache
from typing import NamedTuple, Self
from uuid import UUID

SEED_BYTES = 32
DRAWS_PER_BLOCK = 4
SHA256_BLOCK_BYTES = 64
FIXED = "fixed"


class Sample(NamedTuple):
    """The prompts of one day.

    `offsets` are seconds since the day's first window opened, ascending, each in [0, length).
    `gap_relaxed` says that the day was too short for the minimum gap, so a smaller one was kept.
    """

    offsets: tuple[int, ...]
    gap_relaxed: bool


class _Design(NamedTuple):
    place: Callable[[int, int, int, Sequence[int]], list[int]]
    keeps_gap: bool
    extra_draws: int


def seeded_draws(
    seed: bytes, stream: str, participant_uuid: UUID, study_on: date, count: int
) -> tuple[int, ...]:
    """Return `count` unsigned 64-bit integers that belong to one participant, stream and day.

    Block b is HMAC-SHA256 with the seed as key and as message the UTF-8 bytes of

        "fourbeat-schedule/1" NUL stream "|" participant_uuid "|" study_on NUL b

    with the UUID in lower case with hyphens (36 characters), the date as YYYY-MM-DD, and b in
    ASCII decimal without leading zeros ("0", "1", …). NUL is one zero byte. Each block gives four
    big-endian integers, in order. Everything after the stream's name has a known form, so no two
    (stream, participant, day, block) share a message. The arm is not part of it.

    Raises ValueError when the seed is not 32 bytes, the stream is empty or `count` is negative.
    """
    digest = keyed(seed).digest
    day = f"{message_head(stream, participant_uuid)}{study_on.isoformat()}\0"
    hashed = b""
    for block in range(blocks_needed(count)):
        hashed += digest(f"{day}{block}".encode())
    return struct.unpack_from(f">{count}Q", hashed)


class Key:
    """HMAC-SHA256 (RFC 2104) under one key, whose two padded blocks are hashed only once.

    The same digest as `hmac.digest(seed, message, "sha256")` in less than half of its time.
    """

    __slots__ = ("_inner", "_outer")

    def __init__(self, seed: bytes) -> None:
        padded = seed.ljust(SHA256_BLOCK_BYTES, b"\0")
        self._inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in padded))
        self._outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in padded))

    def after(self, head: bytes) -> Self:
        """Return the same key for messages that all begin with `head`; give it their rest."""
        longer = copy(self)
        longer._inner = self._inner.copy()
        longer._inner.update(head)
        return longer

    def digest(self, message: bytes) -> bytes:
        inner, outer = self._inner.copy(), self._outer.copy()
        inner.update(message)
        outer.update(inner.digest())
        return outer.digest()


@lru_cache(maxsize=64)
def keyed(seed: bytes) -> Key:
    """Return a study's key, ready to hash. Raises ValueError when the seed is not 32 bytes."""
    if len(seed) != SEED_BYTES:
        raise ValueError(f"A study seed has {SEED_BYTES} bytes; this one has {len(seed)}.")
    return Key(seed)


# Spelling a UUID out takes nearly as long as hashing, and a participant's days come in a row.
@lru_cache(maxsize=256)
def message_head(stream: str, participant_uuid: UUID) -> str:
    """Return how the messages of one participant begin. Raises ValueError without a stream."""
    if not stream:
        raise ValueError("The stream needs a name, such as the key of the phase.")
    return f"fourbeat-schedule/1\0{stream}|{participant_uuid}|"


def blocks_needed(count: int) -> int:
    """Return how many blocks hold `count` draws. Raises ValueError for a negative count."""
    if count < 0:
        raise ValueError(f"Cannot draw {count} numbers; ask for 0 or more.")
    return -(-count // DRAWS_PER_BLOCK)


def below(u: int, n: int) -> int:
    """Map a 64-bit integer `u` onto [0, n) by the multiply-shift rule (u·n) >> 64.

    No value is favoured by more than n / 2**64, about 5 in 10**15 for the seconds of a day.
    """
    return (u * n) >> 64


def draws_needed(design: str, prompts: int) -> int:
    """Return how many 64-bit draws a day of `prompts` prompts takes."""
    return prompts + _random_design(design).extra_draws


def sample(
    design: str, *, length: int, prompts: int, minimum_gap: int, draws: Sequence[int]
) -> Sample:
    """Place `prompts` prompts on a day whose windows last `length` elapsed seconds.

    `minimum_gap` is in seconds and is kept by the designs that promise one (`circle` and
    `stratified_rotated`), also around the end of the day to its start. A day that cannot hold
    prompts × minimum_gap keeps ⌊length / prompts⌋ instead and says so in `gap_relaxed`: no prompt
    is dropped and nothing is drawn again. The other designs ignore the gap.

    Raises ValueError in words when an argument makes no sense or there are too few draws.
    """
    chosen = _random_design(design)
    gap, gap_relaxed = kept_gap(design, length=length, prompts=prompts, minimum_gap=minimum_gap)
    needed = enough_draws(design, prompts, len(draws))
    offsets = chosen.place(length, prompts, gap, draws[:needed])
    return Sample(tuple(sorted(offsets)), gap_relaxed)


def kept_gap(design: str, *, length: int, prompts: int, minimum_gap: int) -> tuple[int, bool]:
    """Return the gap in seconds that a day of `length` seconds keeps, and whether it is relaxed.

    Raises ValueError in words when an argument makes no sense.
    """
    chosen = _random_design(design)
    _refuse_nonsense(length=length, prompts=prompts, minimum_gap=minimum_gap)
    if chosen.keeps_gap and prompts * minimum_gap > length:
        return length // prompts, True
    return minimum_gap, False


def enough_draws(design: str, prompts: int, there_are: int) -> int:
    """Return how many draws a day takes. Raises ValueError when there are fewer."""
    needed = draws_needed(design, prompts)
    if there_are < needed:
        raise ValueError(f"A {design} day needs {needed} draws; there are {there_are}.")
    return needed


def why_infeasible(design: str, *, length: int, prompts: int, minimum_gap: int) -> str | None:
    """Say why a protocol cannot keep its promise on a day of `length` seconds; None if it can.

    Never raises: it also puts into words what `sample` would refuse.
    """
    try:
        chosen = _random_design(design)
        _refuse_nonsense(length=length, prompts=prompts, minimum_gap=minimum_gap)
    except ValueError as error:
        return str(error)
    if not chosen.keeps_gap or prompts * minimum_gap <= length:
        return None
    return (
        f"{prompts} prompts at least {_in_words(minimum_gap)} apart need "
        f"{_in_words(prompts * minimum_gap)}, but the windows last only {_in_words(length)}. "
        f"Ask for fewer prompts (at most {length // minimum_gap}), a smaller gap (at most "
        f"{_in_words(length // prompts)}) or longer windows."
    )


def inclusion_probability(*, length: int, prompts: int) -> float:
    """Return the expected number of prompts in any one minute of the windows, k·60 / L.

    The same for every random design and every minute of the day, with or without a relaxed gap.
    It is the probability that the minute has a prompt when two prompts cannot share it, as under
    `circle` with a gap of a minute or more.
    """
    _refuse_nonsense(length=length, prompts=prompts, minimum_gap=0)
    return prompts * 60 / length


def _uniform(length: int, prompts: int, gap: int, draws: Sequence[int]) -> list[int]:
    return [below(u, length) for u in draws]


def _stratified(length: int, prompts: int, gap: int, draws: Sequence[int]) -> list[int]:
    # Drawn in k-ths of a second: block i is [i·L/k, (i+1)·L/k) exactly, also when k does not
    # divide L, so a second that straddles two blocks is as likely as any other.
    return [(i * length + below(u, length)) // prompts for i, u in enumerate(draws)]


def _circle(length: int, prompts: int, gap: int, draws: Sequence[int]) -> list[int]:
    spare = length - prompts * gap
    turn = below(draws[0], length)
    slack = [0, *sorted(below(u, spare + 1) for u in draws[1:])]
    return [(turn + c + i * gap) % length for i, c in enumerate(slack)]


def _stratified_rotated(length: int, prompts: int, gap: int, draws: Sequence[int]) -> list[int]:
    jitter = length // prompts - gap
    turn = below(draws[0], length)
    return [
        (turn + i * length // prompts + below(u, jitter + 1)) % length
        for i, u in enumerate(draws[1:])
    ]


_RANDOM = {
    "circle": _Design(_circle, keeps_gap=True, extra_draws=0),
    "uniform": _Design(_uniform, keeps_gap=False, extra_draws=0),
    "stratified": _Design(_stratified, keeps_gap=False, extra_draws=0),
    "stratified_rotated": _Design(_stratified_rotated, keeps_gap=True, extra_draws=1),
}
DESIGNS = (*_RANDOM, FIXED)


def _random_design(design: str) -> _Design:
    if design == FIXED:
        raise ValueError("A fixed design has local times of its own; nothing is drawn for it.")
    if design not in _RANDOM:
        raise ValueError(f"There is no design {design!r}; choose one of {', '.join(DESIGNS)}.")
    return _RANDOM[design]


def _refuse_nonsense(*, length: int, prompts: int, minimum_gap: int) -> None:
    if prompts < 1:
        raise ValueError(f"A day needs at least 1 prompt; {prompts} were asked for.")
    if minimum_gap < 0:
        raise ValueError(f"The minimum gap cannot be negative; it is {minimum_gap} seconds.")
    if length <= 0:
        raise ValueError(f"The day's windows must last at least 1 second; they last {length}.")


def _in_words(seconds: int) -> str:
    units = ((seconds // 3600, "h"), (seconds // 60 % 60, "min"), (seconds % 60, "s"))
    return " ".join(f"{n} {unit}" for n, unit in units if n) or "0 s"
