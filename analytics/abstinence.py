"""Abstinence, lapse and relapse of one participant from scheduled urine tests. Pure.

A *lapse* is a scheduled test that is opioid positive or missed, on the day it was due. A *relapse*
is two or more lapses in a row; its time is the second of them. Time is whole days since allocation,
which is day 0: the test due the day after is on day 1. Tests of day 0 and before say nothing of
the time after and are no part of this.

The calendar of lapses cuts the time from allocation to the last scheduled test into half-open
stretches [from, until): from allocation or a lapse until the next lapse, or until the last test.
The *longest abstinence* is the longest of them, in days. So the day of a lapse begins the stretch
that follows, and two lapses three days apart leave a stretch of three days between them.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby, pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from scipy.special import gammaln

NEGATIVE, POSITIVE, MISSED = "negative", "positive", "missed"
RESULTS = (NEGATIVE, POSITIVE, MISSED)
IN_A_ROW = 2  # lapses that make a relapse


class ScheduledTest(NamedTuple):
    """A scheduled test with a known result, due so many days after allocation."""

    day: int
    result: str


@dataclass(frozen=True)
class Abstinence:
    """What the tests of one participant say; days since allocation.

    `lapse_day` and `relapse_day` are None for who had none up to `last_day`, the day of the last
    scheduled test whose result is known: there the participant is censored. `longest_run` is the
    longest run of negative tests, a number of tests.
    """

    last_day: int
    n_tests: int
    n_positive: int
    n_missed: int
    longest_abstinence: int
    longest_run: int
    lapse_day: int | None
    relapse_day: int | None

    @property
    def n_negative(self) -> int:
        return self.n_tests - self.n_positive - self.n_missed

    def until_lapse(self) -> tuple[int, bool]:
        """Day of the first lapse or of censoring, and whether it was a lapse."""
        return (self.last_day if self.lapse_day is None else self.lapse_day), (
            self.lapse_day is not None
        )

    def until_relapse(self) -> tuple[int, bool]:
        """Day of the relapse or of censoring, and whether it was a relapse."""
        return (self.last_day if self.relapse_day is None else self.relapse_day), (
            self.relapse_day is not None
        )


def abstinence(
    tests: Iterable[ScheduledTest],
    *,
    dropped_out_on: int | None = None,
    missed_after_dropout_counts: bool = True,
    in_a_row: int = IN_A_ROW,
) -> Abstinence | None:
    """The outcomes of one participant; None when no test after allocation has a known result.

    Give the tests with a result only: open ones are not known. With `missed_after_dropout_counts`
    off, tests missed after the day of drop-out were never due, and the calendar ends before them.
    Raises ValueError for two tests on a day or a result that is none.
    """
    kept = sorted(test for test in tests if test.day > 0)
    _refuse_wrong(kept)
    if not missed_after_dropout_counts and dropped_out_on is not None:
        kept = [test for test in kept if test.result != MISSED or test.day <= dropped_out_on]
    if not kept:
        return None
    lapses = [test.day for test in kept if test.result != NEGATIVE]
    runs = [
        (is_lapse, [test.day for test in run])
        for is_lapse, run in groupby(kept, lambda test: test.result != NEGATIVE)
    ]
    marks = [0, *lapses, kept[-1].day]
    return Abstinence(
        last_day=kept[-1].day,
        n_tests=len(kept),
        n_positive=sum(test.result == POSITIVE for test in kept),
        n_missed=sum(test.result == MISSED for test in kept),
        longest_abstinence=max(until - since for since, until in pairwise(marks)),
        longest_run=max((len(days) for is_lapse, days in runs if not is_lapse), default=0),
        lapse_day=lapses[0] if lapses else None,
        relapse_day=next(
            (days[in_a_row - 1] for is_lapse, days in runs if is_lapse and len(days) >= in_a_row),
            None,
        ),
    )


def _refuse_wrong(tests: Sequence[ScheduledTest]) -> None:
    for one, following in pairwise(tests):
        if one.day == following.day:
            raise ValueError(f"two tests are due on day {one.day}")
    for test in tests:
        if test.result not in RESULTS:
            raise ValueError(
                f"the test of day {test.day} is {test.result!r}: it must be {', '.join(RESULTS)}"
            )


class Difference(NamedTuple):
    """The mean of one group minus that of another: Welch's t test with its 95 % interval.

    `cohen_d` is in units of the pooled standard deviation, `hedges_g` is d without its bias in
    small groups (the exact factor).
    """

    estimate: float
    standard_error: float
    df: float
    t: float
    p: float
    interval: tuple[float, float]
    cohen_d: float
    hedges_g: float


def difference_of_means(group: ArrayLike, reference: ArrayLike) -> Difference:
    """ValueError, in words, for a group of fewer than two or two groups without any spread."""
    a, b = np.asarray(group, dtype=float), np.asarray(reference, dtype=float)
    if min(len(a), len(b)) < 2:
        raise ValueError("a difference of means needs two participants in each arm")
    spread_a, spread_b = a.var(ddof=1) / len(a), b.var(ddof=1) / len(b)
    if spread_a + spread_b == 0:
        raise ValueError("everybody in both arms has the same: there is no spread to compare with")
    error = float(np.sqrt(spread_a + spread_b))
    df = float(
        (spread_a + spread_b) ** 2 / (spread_a**2 / (len(a) - 1) + spread_b**2 / (len(b) - 1))
    )
    estimate = float(a.mean() - b.mean())
    half = float(stats.t.ppf(0.975, df)) * error
    free = len(a) + len(b) - 2
    pooled = np.sqrt(((len(a) - 1) * a.var(ddof=1) + (len(b) - 1) * b.var(ddof=1)) / free)
    d = float(estimate / pooled)
    return Difference(
        estimate=estimate,
        standard_error=error,
        df=df,
        t=estimate / error,
        p=float(2 * stats.t.sf(abs(estimate / error), df)),
        interval=(estimate - half, estimate + half),
        cohen_d=d,
        hedges_g=d * _without_bias(free),
    )


def _without_bias(df: int) -> float:
    """Hedges' factor Γ(df/2) / (√(df/2) Γ((df−1)/2)); 1 − 3/(4df−1) is its approximation."""
    log_gamma = gammaln(df / 2) - gammaln((df - 1) / 2)
    return float(np.exp(log_gamma) / np.sqrt(df / 2))
