"""A randomisation test: how often chance alone, drawn as the trial drew it, shows this much.

Each participant brings one number: the own slope (two stages), or the score, which is the
participant's share of the mixed model's derivative in the contrast under no difference. Labels of
arms are shuffled within strata and Welch's t is compared with its own shuffles: studentised, so
the test stays right in large samples when the arms' variances differ (Janssen 1997; Chung & Romano
2013), and exact when treatment does nothing at all. p = (1 + #{|t*| ≥ |t|}) / (B + 1).

The shuffles are made here from the raw 64-bit integers of PCG64 (`numpy.random.PCG64(seed)`),
whose stream does not depend on the platform: a seed gives the same p everywhere.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from typing import NamedTuple

import numpy as np
from numpy.random import PCG64
from numpy.typing import NDArray

from analytics.design import Design
from analytics.fixed_effects import within_arm_term
from analytics.mixed_model import MixedModel, fit_design
from analytics.moments import Within
from analytics.summaries import relative_covariance, residuals, weights
from analytics.summing import Floats

DRAWS = 9_999
_CELLS = 1 << 27  # bits drawn at once
_SAME = 1e-9  # relative: two t that differ by rounding are a tie

Booleans = NDArray[np.bool_]
Bytes = NDArray[np.uint8]


class Permutation(NamedTuple):
    """A randomisation test; ``n`` participants had a number to bring."""

    t: float
    p: float
    n: int
    draws: int
    seed: int


def permutation_test(
    values: Floats,
    treated: Booleans,
    *,
    seed: int,
    strata: Sequence[object] | None = None,
    draws: int = DRAWS,
) -> Permutation:
    """Two-sided test that treatment leaves the values (length n) alone.

    ``strata`` are the randomisation's: labels are shuffled within each, and their means are taken
    off first. Raises ValueError with fewer than two participants in an arm, or without variation.
    """
    treated = np.asarray(treated, dtype=bool)
    number = np.asarray(values, dtype=np.float64)
    few = min(int(treated.sum()), int((~treated).sum()))
    if few < 2:
        raise ValueError(f"an arm has {few} participants with a slope; a shuffle needs at least 2")
    groups = _groups(strata, len(number))
    for members in groups:
        number = number.copy()
        number[members] -= number[members].mean()
    if not np.abs(number).max() > 1e-12 * np.abs(values).max():
        raise ValueError("the participants' slopes do not differ, so there is nothing to shuffle")
    number /= np.abs(number).max()
    welch = _Welch(number, int(treated.sum()))
    observed = float(welch.t(number[treated].sum(keepdims=True), (number**2)[treated].sum())[0])
    as_large = 0
    for total, square in _shuffled(number, treated, groups, seed, draws):
        as_large += int(
            np.count_nonzero(np.abs(welch.t(total, square)) >= abs(observed) * (1 - _SAME))
        )
    return Permutation(observed, (1 + as_large) / (draws + 1), len(number), draws, seed)


def own_slopes(within: Within) -> tuple[Floats, Booleans]:
    """Everybody's least-squares slope, and who has one: three pairs and varying stress."""
    return within.slope, (within.n >= 3) & (within.ss_xx > 0)


def slope_scores(design: Design) -> Floats:
    """Everybody's score for a difference in coupling, from the model without one (length P).

    Levels of the arms stay in the model. So within an arm the scores of levels, u0, add to zero,
    and where levels and slopes go together the slopes' scores u1 (the elements of Z'V⁻¹(y − Xβ̂))
    scatter more than their sums can. What u0 foretells of u1 is taken off, as in any efficient
    score: u1 − (Σw01 / Σw00) u0, W = Z'V⁻¹Z. Sums within arms stay as they are.
    """
    without = {within_arm_term(arm) for arm in design.arms[1:]}
    fixed = {name: term for name, term in design.fixed.items() if name not in without}
    return scores_of(fit_design(replace(design, fixed=fixed)))


def scores_of(model: MixedModel) -> Floats:
    """The slope's element of Z'V⁻¹(y − Xβ̂) of each participant, less what the level's foretells."""
    summaries, criterion = model.engine.summaries, model.engine.criterion
    _, w = weights(summaries, relative_covariance(criterion.theta))
    level, slope = residuals(summaries, criterion.beta, w)[1]
    return np.asarray(slope - w[1].sum() / w[0].sum() * level)


class _Welch:
    """Welch's t from one arm's sum and sum of squares, when those of both arms add to zero and q.

    n, treated: numbers of participants.
    """

    def __init__(self, number: Floats, treated: int) -> None:
        self.all, self.square = float(number.sum()), float(number @ number)
        self.treated, self.others = treated, len(number) - treated

    def t(self, total: Floats, square: Floats) -> Floats:
        rest, rest_square = self.all - total, self.square - square
        difference = total / self.treated - rest / self.others
        here = (square - total**2 / self.treated) / (self.treated - 1) / self.treated
        there = (rest_square - rest**2 / self.others) / (self.others - 1) / self.others
        spread = np.sqrt(np.maximum(here + there, 1e-30))
        return np.asarray(difference / spread)


def _groups(strata: Sequence[object] | None, size: int) -> list[NDArray[np.intp]]:
    if strata is None:
        return [np.arange(size)]
    if len(strata) != size:
        raise ValueError(f"{len(strata)} strata for {size} participants")
    places: dict[object, list[int]] = {}
    for place, stratum in enumerate(strata):
        places.setdefault(stratum, []).append(place)
    return [np.array(members) for members in places.values()]


def _shuffled(
    number: Floats, treated: Booleans, groups: list[NDArray[np.intp]], seed: int, draws: int
) -> Iterator[tuple[Floats, Floats]]:
    """Sums and sums of squares of those whom a shuffle calls treated, some draws at a time."""
    sizes = tuple((len(members), int(treated[members].sum())) for members in groups)
    step = max(1, _CELLS // len(number))
    shuffles = _drawn(seed, draws, step, sizes) if draws > step else [_kept(seed, draws, sizes)]
    for chosen in shuffles:
        yield _summed(number, groups, chosen)


def _summed(
    number: Floats, groups: list[NDArray[np.intp]], chosen: Sequence[Bytes]
) -> tuple[Floats, Floats]:
    sums = sum(sums_of(number[members], of) for members, of in zip(groups, chosen, strict=True))
    return np.real(sums), np.imag(sums)


def _drawn(
    seed: int, draws: int, step: int, sizes: Sequence[tuple[int, int]]
) -> Iterator[Sequence[Bytes]]:
    """For each stratum (its size, how many of it are treated) whom the shuffles call treated."""
    bits = PCG64(seed)
    for start in range(0, draws, step):
        count = min(step, draws - start)
        yield [choose(bits, count, size, wanted) for size, wanted in sizes]


@lru_cache(maxsize=1)
def _kept(seed: int, draws: int, sizes: tuple[tuple[int, int], ...]) -> Sequence[Bytes]:
    """All shuffles at once, 16 MB at most: the next test of as many people asks for the same."""
    return next(_drawn(seed, draws, draws, sizes))


def choose(bits: PCG64, count: int, size: int, wanted: int) -> Bytes:
    """``count`` samples of ``wanted`` of ``size`` places, all equally likely: a bit per place.

    Bytes (⌈size / 8⌉ × count), the first place in the lowest bit. Every place is taken by the toss
    of a coin; then places drawn at random, of those taken too many or left too many, change sides
    until ``wanted`` are taken. Neither step prefers a place, so no sample is likelier than another.
    """
    chosen = _tossed(bits, count, size, wanted / size)
    chosen &= _places(size)[:, None]
    surplus = np.bitwise_count(chosen).sum(axis=0, dtype=np.int64) - wanted
    draw = np.flatnonzero(surplus)
    left, taken = np.abs(surplus[draw]), surplus[draw] > 0
    while len(draw):
        place, fair = _drawn_below(bits, size, len(draw))
        byte, bit = place >> 3, np.uint8(1) << (place & 7).astype(np.uint8)
        turns = fair & (((chosen[byte, draw] & bit) != 0) == taken)
        chosen[byte[turns], draw[turns]] ^= bit[turns]
        left -= turns
        still = left > 0
        draw, left, taken = draw[still], left[still], taken[still]
    return chosen


def sums_of(number: Floats, chosen: Bytes) -> NDArray[np.complex128]:
    """Σ + i Σ of squares of the numbers whose bits are set, by sample.

    Eight places at a time: what each of the 256 bytes adds is summed beforehand.
    """
    padded = np.zeros((len(chosen), 8), dtype=np.complex128)
    padded.reshape(-1)[: len(number)] = number + 1j * number**2
    byte = np.arange(256, dtype=np.uint8)[:, None]
    adds = padded @ np.unpackbits(byte, axis=1, bitorder="little").T.astype(np.float64)
    total = np.zeros(chosen.shape[1], dtype=np.complex128)
    for added, bytes_ in zip(adds, chosen, strict=True):
        total += added.take(bytes_)
    return total


def _tossed(bits: PCG64, count: int, size: int, share: float) -> Bytes:
    """Bits set with nearly this chance, in 256ths: a toss for each binary digit of it."""
    words = -(-size // 64)
    chance = min(max(round(share * 256), 1), 255)
    lowest = (chance & -chance).bit_length() - 1
    tossed = bits.random_raw(words * count)
    for digit in range(lowest + 1, 8):
        again = bits.random_raw(words * count)
        tossed = tossed | again if chance >> digit & 1 else tossed & again
    by_byte = tossed.astype("<u8").view(np.uint8).reshape(words, count, 8).transpose(0, 2, 1)
    return np.ascontiguousarray(by_byte.reshape(words * 8, count)[: -(-size // 8)])


def _places(size: int) -> Bytes:
    """Bytes with a bit set for each place."""
    return np.packbits(np.ones(size, dtype=np.uint8), bitorder="little")


def _drawn_below(bits: PCG64, size: int, count: int) -> tuple[NDArray[np.intp], Booleans]:
    """Numbers from 0 to size − 1, and which of them to keep so that all are equally likely.

    Lemire (2019): the upper half of 32 random bits times the size, unless the lower half says no.
    """
    product = (bits.random_raw(count) >> np.uint64(32)) * np.uint64(size)
    low = product & np.uint64(0xFFFFFFFF)
    return (product >> np.uint64(32)).astype(np.intp), low >= np.uint64(2**32 % size)
