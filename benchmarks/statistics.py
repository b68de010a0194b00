"""The prompt times of many days of a fixed seed: as uniform, as flat and as far apart as promised.

**Uniform** is asked twice, by Kolmogorov-Smirnov against the uniform distribution on the day:

- of *one prompt a day*, chosen by a further draw. These times are independent, so the p value is
  what it says.
- of *all prompts pooled*. The times within a day are independent under `uniform` alone; the other
  designs spread them out, so that the pooled distribution lies nearer to its expectation than that
  of as many independent times. The p value is then too large, never too small: this test misses
  more than it should and raises no more false alarms. It would still show what every day shares,
  such as ends that are sampled more than the middle.

A time is put at the middle of its second, since the distribution it is held against is continuous.

**Flat** is the fullest or emptiest of the day's 56 quarters of an hour, from the mean of all. Of
400,000 days, each expects 28,571 prompts with a standard deviation of at most 0.6 %.

**Apart** counts neighbours closer than the minimum gap, the day's last prompt and its first (by
way of the day's end) among them.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from itertools import product
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from scipy import stats

from benchmarks.figures import Figure, Goal
from scheduler.sampling_arrays import Draws, Offsets, below, draws_for_days, sample_days

SEED, STREAM = bytes(range(32)), "treatment"
FIRST_ON = date(2026, 1, 1)
DAYS_EACH = 100
LENGTH, PROMPTS, GAPS = 14 * 3600, 4, (30, 60, 120)
QUARTER = 15 * 60
KEEP_GAP = ("circle", "stratified_rotated")
IGNORE_GAP = ("stratified", "uniform")


def measure(quick: bool) -> Iterator[Figure]:
    """Four figures for each design and gap; a design that ignores the gap has three, once.

    All of the same draws, so what one design shows by chance, another may show too.
    """
    draws = _draws(50_000 if quick else 400_000)
    for design, minutes in product(KEEP_GAP, GAPS):
        offsets = _offsets(design, minutes * 60, draws)
        what = f"statistics: {design}, {minutes} min"
        yield from _shape(what, offsets, draws, quick)
        yield Figure(
            f"{what}: closer than the gap", "pairs", [too_close(offsets, minutes * 60)], goal=NONE
        )
    for design in IGNORE_GAP:
        yield from _shape(f"statistics: {design}", _offsets(design, 0, draws), draws, quick)


NONE = Goal("=", 0)


def _draws(days: int) -> Draws:
    """A row for each participant-day: five draws for its prompts, and a sixth to choose one."""
    dates = [FIRST_ON + timedelta(days=number) for number in range(DAYS_EACH)]
    people = [UUID(int=number, version=4) for number in range(days // DAYS_EACH)]
    each = [person for person in people for _ in dates]
    return draws_for_days(SEED, STREAM, each, dates * len(people), PROMPTS + 2)


def _offsets(design: str, gap: int, draws: Draws) -> Offsets:
    drawn = sample_days(design, length=LENGTH, prompts=PROMPTS, minimum_gap=gap, draws=draws)
    if drawn.gap_relaxed:
        raise RuntimeError(f"{PROMPTS} prompts with a gap of {gap} s should fit into the day.")
    return drawn.offsets


def _shape(what: str, offsets: Offsets, draws: Draws, quick: bool) -> Iterator[Figure]:
    """Whether the times of day are uniform and flat."""
    chosen = below(draws[:, PROMPTS + 1], PROMPTS)
    one_a_day = np.take_along_axis(offsets, chosen[:, None], axis=1)
    likely = Goal(">", 0.01)
    yield Figure(f"{what}: one prompt a day", "KS p", [ks_p(one_a_day)], goal=likely)
    yield Figure(f"{what}: all prompts pooled", "KS p", [ks_p(offsets)], goal=likely)
    flat = Goal("<", 8.5 if quick else 3)  # as many standard deviations with an eighth of the days
    yield Figure(f"{what}: quarter of an hour", "% off flat", [off_flat(offsets)], goal=flat)


def ks_p(times: Offsets) -> float:
    """The p value of a Kolmogorov-Smirnov test against the uniform distribution on the day."""
    share: NDArray[np.float64] = (times.ravel() + 0.5) / LENGTH
    return float(stats.kstest(share, "uniform").pvalue)


def off_flat(offsets: Offsets) -> float:
    """How far, in per cent, the count of any quarter of an hour is from the mean of all."""
    counts = np.bincount(offsets.ravel() // QUARTER, minlength=LENGTH // QUARTER)
    return float(np.abs(counts / counts.mean() - 1).max() * 100)


def too_close(offsets: Offsets, gap: int) -> int:
    """How many neighbours, around the day, are less than `gap` seconds apart."""
    around = np.hstack([offsets, offsets[:, :1] + LENGTH])
    return int((np.diff(around, axis=1) < gap).sum())
