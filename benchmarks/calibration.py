"""How often each method finds a difference in coupling: where there is none, and where there is.

Simulated trials (`analytics.virtual_trial`), 98 days of four prompts. Of the same trials each
method says p < 5 % or not:

- *pooled*: one regression craving ~ stress * arm over all rows, as if prompts had been allocated;
- *no random slope*: the mixed model with a random intercept alone, by z;
- *z*, *Satterthwaite*, *Kenward–Roger*, *CR2*: the product's model, random intercept and slope;
- *permutation*, *permutation of scores*: the studentised permutation of own slopes and of scores
  for a difference, 999 draws each;
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
from analytics.fixed_effects import within_arm_term
from analytics.many_contrasts import contrasts, model_variance
from analytics.many_designs import Designs, ManySums, Places, designs
from analytics.many_models import evaluate, optima, slope_scores
from analytics.mixed_model import Method
from analytics.permutation import own_slopes, permutation_test
from analytics.rates import rate, side_by_side
from analytics.simulation import SLOPE_SD, Effect, Shape
from analytics.summing import Floats
from analytics.virtual_trial import CONTROL, Protocol, Stretch, VirtualTrial, moments_of
from benchmarks.figures import Figure, Goal, say

SEED, TRIALS, QUICK_TRIALS, CHUNK = 2026, 1000, 40, 20
DRAWS, LEVEL = 999, 0.05
DIFFERENCE = np.array([0.0, 0.0, 0.0, 0.0, 1.0])  # the last term, TERM
TERM = within_arm_term("treated")
POOLED, NO_SLOPE, BY_Z = "pooled", "no random slope", "z"
PERMUTATION, OF_SCORES, COMPANION = "permutation", "permutation of scores", "companion"
OF_THE_MODEL = {
    "Satterthwaite": Method.SATTERTHWAITE,
    "Kenward–Roger": Method.KENWARD_ROGER,
    "CR2": Method.CR2,
}
METHODS = (POOLED, NO_SLOPE, BY_Z, *OF_THE_MODEL, PERMUTATION, OF_SCORES, COMPANION)
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
    trials = [VirtualTrial(scenario.protocol, (SEED, scenario.number, each)) for each in numbers]
    parts = [trial.sums([scenario.effect]) for trial in trials]
    sums = ManySums(*map(np.concatenate, zip(*parts, strict=True)))
    p = p_values(sums, scenario.protocol)
    if companion:
        p[COMPANION] = np.array([_of_odds(trial, scenario.effect) for trial in trials])
    return Counter({method: int((value < LEVEL).sum()) for method, value in p.items()})


def _of_odds(trial: VirtualTrial, effect: Effect) -> float:
    fitted = fit_companion(trial.counts(effect), trial.protocol.arm_of, CONTROL)
    return fitted.contrast({TERM: 1.0}).p


def p_values(sums: ManySums, protocol: Protocol) -> dict[str, Floats]:
    """By method, of the difference in coupling in each trial."""
    arm = protocol.arm_index
    design = designs(sums, arm)
    best, settled = optima(design)
    if not settled.all():
        raise RuntimeError("A trial of the calibration has no regular optimum: take more people.")
    tests = {name: contrasts(design, best, DIFFERENCE, one) for name, one in OF_THE_MODEL.items()}
    z = tests["CR2"].estimate / np.sqrt(model_variance(design, best, DIFFERENCE)) / design.unit
    return {
        POOLED: pooled(sums, arm == 1),
        NO_SLOPE: two_sided(t_without_slope(design)),
        BY_Z: two_sided(z),
        **{name: one.p for name, one in tests.items()},
        **permutations(sums, arm),
    }


def permutations(sums: ManySums, arm: Places) -> dict[str, Floats]:
    """Of everybody's own slope, and of the score that a model without the difference gives them."""
    shared = designs(sums, arm, by_arm=False)
    best, settled = optima(shared)
    scores = slope_scores(shared, best)
    found = np.empty((2, len(scores)))
    for place, score in enumerate(scores):
        moments = moments_of(sums, place)
        slopes, there = own_slopes(moments.within())
        if not settled[place]:
            raise RuntimeError(f"Trial {place} has no regular optimum without a difference.")
        for row, (values, who) in enumerate(((slopes, there), (score, moments.n > 0))):
            test = permutation_test(values[who], (arm == 1)[who], seed=1, draws=DRAWS)
            found[row, place] = test.p
    return {PERMUTATION: found[0], OF_SCORES: found[1]}


def pooled(sums: ManySums, treated: NDArray[np.bool_]) -> Floats:
    """p of stress × arm in the regression over all rows: two lines with one residual variance."""
    by_arm = [
        np.stack([each[:, ~treated].sum(axis=1), each[:, treated].sum(axis=1)]) for each in sums
    ]
    n, x, y, xx, xy, yy = by_arm
    ss_xx, ss_xy, ss_yy = xx - x * x / n, xy - x * y / n, yy - y * y / n
    slope = ss_xy / ss_xx
    variance = (ss_yy - slope * ss_xy).sum(axis=0) / (n.sum(axis=0) - 4)
    return two_sided((slope[1] - slope[0]) / np.sqrt(variance * (1 / ss_xx).sum(axis=0)))


def t_without_slope(design: Designs) -> Floats:
    """Of the difference with a random intercept alone: Newton steps in the log of its SD."""
    log_sd = np.zeros(len(design.n_rows))
    for _ in range(100):
        sd = np.exp(log_sd)
        nothing = np.zeros_like(sd)
        here = evaluate(design, np.stack([sd, nothing, nothing], axis=1))
        slope = here.gradient[:, 0] * sd
        step = np.clip(slope / np.abs(here.hessian[:, 0, 0] * sd**2 + slope), -1, 1)
        if np.abs(step).max() < 1e-8:
            error = np.sqrt(model_variance(design, here, DIFFERENCE))
            return np.asarray(here.beta @ DIFFERENCE / error)
        log_sd -= step
    raise RuntimeError("The model without a random slope found no optimum.")


def two_sided(z: Floats) -> Floats:
    return np.asarray(2 * norm.sf(np.abs(z)))
