"""The mixed model from moments: the fit, everything a comparison says, a million people; and lme4.

Everything is the fit, Kenward–Roger, CR2 of every term, shrunken slopes, everybody left out in turn
and a permutation test of 9,999 draws.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from analytics.effect_sizes import influence
from analytics.fixed_effects import within_arm_term
from analytics.mixed_model import Method, fit_mixed_model
from analytics.moments import Moments
from analytics.permutation import own_slopes, permutation_test
from benchmarks import lme4
from benchmarks.figures import Figure, say, seconds

PAIRS = 300  # per participant
ARMS = ("placebo", "clonidine")
Ints = NDArray[np.int64]


def measure(quick: bool) -> Iterator[Figure]:
    """Milliseconds and nanoseconds per participant by number of participants."""
    for participants in (118, 1_000) if quick else (118, 1_000, 10_000):
        stress, craving = ratings(participants)
        moments = moments_of(stress, craving)
        yield _fit(moments, 3 if quick else 9)
        yield _everything(moments, 2 if quick else 5)
    if not quick:
        yield _a_million()
    stress, craving = ratings(118)
    if not (why_not := lme4.why_not()):
        yield _beside_lme4(stress, craving, 2 if quick else 5)
    else:
        say(f"model: lme4 is left out: {why_not}")


def ratings(participants: int) -> tuple[Ints, Ints]:
    """Stress and craving, whole points from 0 to 100, each (participants, PAIRS). Simulated."""
    rng = np.random.default_rng([2026, participants])
    level, slope = rng.normal((30, 0.4), (15, 0.15), (participants, 2)).T[:, :, None]
    stress = np.clip(np.rint(rng.normal(level, 18, (participants, PAIRS))), 0, 100)
    noise = rng.normal(0, 15, stress.shape)
    craving = np.clip(np.rint(30 + slope * (stress - level) + noise), 0, 100)
    return stress.astype(np.int64), craving.astype(np.int64)


def moments_of(x: Ints, y: Ints) -> Moments:
    sums = [each.sum(axis=1) for each in (x, y, x * x, x * y, y * y)]
    return Moments(tuple(range(len(x))), np.full(len(x), x.shape[1]), *sums)


def arms_of(participants: int) -> dict[int, str]:
    return {person: ARMS[person % 2] for person in range(participants)}


def _fit(moments: Moments, repeats: int) -> Figure:
    count = len(moments.participants)
    arms = arms_of(count)
    columns = [moments.n, moments.sum_x, moments.sum_y, moments.sum_xx, moments.sum_yy]
    floats = np.stack([*columns, moments.sum_xy]).astype(np.float64)
    passes = max(1, 100_000 // count)

    def one_pass_repeated() -> None:
        for _ in range(passes):
            (floats * floats).sum(axis=1)

    pairs = [
        (
            seconds(lambda: fit_mixed_model(moments, arms, ARMS[0])) / count * 1e9,
            seconds(one_pass_repeated) / passes / count * 1e9,
        )
        for _ in range(repeats + 1)
    ]
    values, limits = zip(*pairs[1:], strict=True)  # the first one warms up
    what = f"model: fit of {count:,}, {np.median(values) * count / 1e6:.3g} ms"
    return Figure(what, "ns/participant", values, "one pass over six sums", limits)


def _everything(moments: Moments, repeats: int, permute: bool = True) -> Figure:
    """Milliseconds, beside those of the fit alone."""
    count = len(moments.participants)
    arms = arms_of(count)
    contrast = {within_arm_term(ARMS[1]): 1.0}
    treated = np.arange(count) % 2 == 1

    def everything() -> None:
        model = fit_mixed_model(moments, arms, ARMS[0])
        model.contrasts_of([{term: 1.0} for term in model.terms], Method.KENWARD_ROGER)
        model.contrasts_of([{term: 1.0} for term in model.terms], Method.CR2)
        influence(model, contrast)
        slopes, there = own_slopes(moments.within())
        if permute:
            permutation_test(slopes[there], treated[there], seed=1)

    pairs = [
        (
            seconds(everything) * 1e3,
            seconds(lambda: fit_mixed_model(moments, arms, ARMS[0])) * 1e3,
        )
        for _ in range(repeats + 1)
    ]
    values, limits = zip(*pairs[min(1, repeats - 1) :], strict=True)  # the first one warms up
    what = f"model: everything of {count:,}" + ("" if permute else ", without permutations")
    return Figure(what, "ms", values, "the fit alone", limits)


def _a_million() -> Figure:
    """From stored moments: ten thousand people's sums, a hundred times, each time shifted."""
    few = moments_of(*ratings(10_000))
    shift = np.repeat(np.arange(100) % 7, 10_000)
    n, x, y, xx, xy, yy = (
        np.tile(np.asarray(each, dtype=np.int64), 100)
        for each in (few.n, few.sum_x, few.sum_y, few.sum_xx, few.sum_xy, few.sum_yy)
    )
    x, xy, xx = x + shift * n, xy + shift * y, xx + 2 * shift * x + shift**2 * n
    moments = Moments(tuple(range(1_000_000)), n, x, y, xx, xy, yy)
    return _everything(moments, 1, permute=False)


def _beside_lme4(stress: Ints, craving: Ints, repeats: int) -> Figure:
    count = len(stress)
    arms, moments = arms_of(count), moments_of(stress, craving)
    ours = [seconds(lambda: fit_mixed_model(moments, arms, ARMS[0])) for _ in range(repeats)]
    theirs = lme4.fit_seconds(stress, craving, arms, repeats)
    return Figure(
        f"model: the same {count} in R",
        "ms",
        [each * 1e3 for each in ours],
        "lme4::lmer",
        [each * 1e3 for each in theirs],
    )
