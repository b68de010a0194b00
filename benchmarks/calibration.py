"""How often each method finds a difference in coupling: where there is none, and where there is.

Simulated trials (`analytics.virtual_trial`), 98 days of four prompts. Of the same trials each
method says p < 5 % or not:

- *pooled*: one regression craving ~ stress * arm over all rows, as if prompts had been allocated;
- *no random slope*: the mixed model with a random intercept alone, by z;
- *z*, *Satterthwaite*, *Kenward–Roger*, *CR2*: the product's model, random intercept and slope;
- *permutation*: the studentised permutation of own slopes, 999 draws;
- *companion*: the logistic mixed model of any craving, by z.

With a floor, arms whose slopes vary differently differ in mean slope after clipping too. So where
variances are 2:1 craving is rounded and not clipped, and the null is true.
"""

import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from analytics.companion import fit_companion
from analytics.design import summarise
from analytics.fixed_effects import arms_of, coupling_design, within_arm_term
from analytics.gram import Gram
from analytics.mixed_model import Method, fit_mixed_model
from analytics.moments import Moments
from analytics.permutation import own_slopes, permutation_test
from analytics.rates import rate, side_by_side
from analytics.reml import Criterion, evaluate
from analytics.simulation import SLOPE_SD, Effect, Shape
from analytics.summaries import Summaries
from analytics.summing import Floats
from analytics.virtual_trial import CONTROL, Protocol, Stretch, VirtualTrial
from benchmarks.figures import Figure, Goal, say

SEED, TRIALS, QUICK_TRIALS, CHUNK = 2026, 500, 40, 10
DRAWS = 999
TERM = within_arm_term("treated")
POOLED, NO_SLOPE, BY_Z = "pooled", "no random slope", "z"
PERMUTATION, COMPANION = "permutation", "companion"
OF_THE_MODEL = {
    "Satterthwaite": Method.SATTERTHWAITE,
    "Kenward–Roger": Method.KENWARD_ROGER,
    "CR2": Method.CR2,
}
METHODS = (POOLED, NO_SLOPE, BY_Z, *OF_THE_MODEL, PERMUTATION, COMPANION)
KEEPS = ("Satterthwaite", "Kenward–Roger", "CR2", PERMUTATION)  # its promise, at the seed's size


@dataclass(frozen=True)
class Scenario:
    """Trials to simulate. `goals`: the highest share, in per cent, that a method may find."""

    name: str
    protocol: Protocol
    effect: Effect
    number: int
    companion: bool = False
    goals: tuple[str, ...] = ()


def scenarios() -> Iterator[Scenario]:
    null, days = Effect(0.0), (Stretch(98, 4),)
    exact = Shape(bounded=False)
    wider = exact._replace(slope_sd=2 * SLOPE_SD)
    seed_sized, uneven = Protocol((57, 61), days), Protocol((8, 16), days)
    yield Scenario("null, 57+61", seed_sized, null, 1, True, KEEPS)
    yield Scenario("null, 12+12", Protocol((12, 12), days), null, 2, False, ("CR2", PERMUTATION))
    yield Scenario("null, 8+16", uneven, null, 3, False, ("CR2", PERMUTATION))
    unequal = Protocol((57, 61), days, shapes=(exact, wider))
    yield Scenario("null, 57+61, SD of slopes 1:2", unequal, null, 4, False, KEEPS)
    unequal = Protocol((8, 16), days, shapes=(wider, exact))
    yield Scenario("null, 8+16, SD of slopes 2:1", unequal, null, 5)
    floor = Effect(0.0, arm_shift=-15)
    yield Scenario("floor shift −15, 57+61", seed_sized, floor, 6, True)
    yield Scenario("20 % attenuation, 57+61", seed_sized, Effect(0.2), 1, True)
    yield Scenario("40 % attenuation, 57+61", seed_sized, Effect(0.4), 1, True)


def measure(quick: bool) -> Iterator[Figure]:
    """The share of trials by scenario and method, in per cent."""
    count = QUICK_TRIALS if quick else TRIALS
    if quick:
        say(f"calibration: {count} trials each and no companion; without --quick {TRIALS}")
    for scenario in scenarios():
        found: Counter[str] = Counter()
        chunks = [range(start, min(start + CHUNK, count)) for start in range(0, count, CHUNK)]
        work = partial(found_in, scenario, scenario.companion and not quick)
        for some in side_by_side(work, chunks, processes=os.cpu_count() or 1):
            found += some
        say(f"calibration: {scenario.name}")
        for method in METHODS:
            if method != COMPANION or (scenario.companion and not quick):
                yield _figure(scenario, method, found[method], count)


def _figure(scenario: Scenario, method: str, hits: int, count: int) -> Figure:
    """A rate is wrong where 5 % is below its interval."""
    found = rate(hits, count)
    highest = max(hits for hits in range(count + 1) if rate(hits, count).interval[0] <= 0.05)
    low, high = (100 * each for each in found.interval)
    return Figure(
        f"calibration: {scenario.name}: {method}",
        f"% ({low:.1f} to {high:.1f})",
        [100 * found.share],
        goal=Goal("≤", 100 * highest / count) if method in scenario.goals else None,
    )


def found_in(scenario: Scenario, companion: bool, numbers: range) -> Counter[str]:
    """In how many of these trials each method finds a difference."""
    found: Counter[str] = Counter()
    for number in numbers:
        trial = VirtualTrial(scenario.protocol, (SEED, scenario.number, number))
        p = p_values(trial.moments(scenario.effect), scenario.protocol)
        if companion:
            counts = trial.counts(scenario.effect)
            fitted = fit_companion(counts, scenario.protocol.arm_of, CONTROL)
            p[COMPANION] = fitted.contrast({TERM: 1.0}).p
        found.update(method for method, value in p.items() if value < 0.05)
    return found


def p_values(moments: Moments, protocol: Protocol) -> dict[str, float]:
    """By method, of the difference in coupling."""
    model = fit_mixed_model(moments, protocol.arm_of, CONTROL)
    tests = {name: model.contrast({TERM: 1.0}, one) for name, one in OF_THE_MODEL.items()}
    within = moments.within()
    slopes, there = own_slopes(within)
    treated = protocol.arm_index == 1
    shuffled = permutation_test(slopes[there], treated[there], seed=1, draws=DRAWS)
    names, summaries = summaries_of(moments, protocol)
    place = names.index(TERM)
    return {
        POOLED: pooled(moments, treated),
        NO_SLOPE: by_z(without_slope(summaries), summaries, place),
        BY_Z: float(2 * norm.sf(abs(tests["Satterthwaite"].t))),
        **{name: one.p for name, one in tests.items()},
        PERMUTATION: shuffled.p,
    }


def summaries_of(moments: Moments, protocol: Protocol) -> tuple[tuple[str, ...], Summaries]:
    """What the product's own fit starts from."""
    gram = Gram.from_moments(moments, "stress", "craving").with_rows()
    arm_of, levels = arms_of(gram.participants, protocol.arm_of, CONTROL, None)
    names, _, summaries = summarise(coupling_design(gram.centred(), arm_of, levels))
    return names, summaries


def pooled(moments: Moments, treated: NDArray[np.bool_]) -> float:
    """p of stress × arm in the regression over all rows: two lines with one residual variance."""
    columns = (moments.n, moments.sum_x, moments.sum_y, moments.sum_xx, moments.sum_xy)
    sums = np.stack([*columns, moments.sum_yy]).astype(np.float64)
    by_arm = np.stack([sums[:, ~treated].sum(axis=1), sums[:, treated].sum(axis=1)], axis=1)
    n, x, y, xx, xy, yy = by_arm
    ss_xx, ss_xy, ss_yy = xx - x * x / n, xy - x * y / n, yy - y * y / n
    slope = ss_xy / ss_xx
    variance = float((ss_yy - slope * ss_xy).sum() / (n.sum() - 4))
    error = np.sqrt(variance * (1 / ss_xx).sum())
    return float(2 * norm.sf(abs(slope[1] - slope[0]) / error))


def without_slope(summaries: Summaries) -> Criterion:
    """The REML optimum with a random intercept alone: Newton steps in the log of its SD."""
    log_sd = 0.0
    for _ in range(100):
        sd = float(np.exp(log_sd))
        here = evaluate(summaries, np.array([sd, 0.0, 0.0]))
        slope = here.gradient[0] * sd
        bend = abs(here.hessian[0, 0] * sd**2 + slope)
        step = float(np.clip(slope / bend, -1, 1))
        if abs(step) < 1e-8:
            return here
        log_sd -= step
    raise RuntimeError("The model without a random slope found no optimum.")


def by_z(criterion: Criterion, summaries: Summaries, place: int) -> float:
    """p of one coefficient from its model's own standard error."""
    variances: Floats = np.diag(criterion.unscaled_vcov) * criterion.r2 / summaries.error_df
    return float(2 * norm.sf(abs(criterion.beta[place]) / np.sqrt(variances[place])))
