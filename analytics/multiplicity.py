"""More than two arms: each against the reference, all pairs, and a trend over doses.

Arms against the reference are judged together by the largest |t| of a multivariate t distribution
(Dunnett 1955; Hothorn, Bretz & Westfall 2008, single step), with the contrasts' own correlations
and the smallest of their degrees of freedom. All pairs: Holm (1979).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.stats import multivariate_t
from scipy.stats import t as student

from analytics.fixed_effects import WITHIN, within_arm_term
from analytics.mixed_model import Combination, Estimate, Method, MixedModel
from analytics.summing import Floats

_POINTS = 4_000  # of the quasi-random rule: its error is below 1e-4
_SEED = 1955


class Adjusted(NamedTuple):
    """A difference of couplings, arm minus other, its p and interval judged with the others.

    interval is None where only p is adjusted (Holm).
    """

    arm: str
    other: str
    difference: Estimate
    p: float
    interval: tuple[float, float] | None


def against_reference(model: MixedModel, method: Method = Method.CR2) -> list[Adjusted]:
    """Every arm's coupling minus the reference's; p and intervals hold for all of them together."""
    contrasts = [
        (arm, {within_arm_term(arm): 1.0})
        for arm in model.arms[1:]
        if within_arm_term(arm) in model.terms
    ]
    if not contrasts:
        return []
    estimates = model.contrasts_of([each for _, each in contrasts], method)
    vectors = np.array([model.weights_of(each) for _, each in contrasts])
    covariance = vectors @ model.covariance(method, vectors)[0] @ vectors.T
    together = _Largest(covariance, min(each.df for each in estimates))
    reach = together.critical(0.95)
    return [
        Adjusted(
            arm,
            model.arms[0],
            each,
            together.p(each.t),
            (
                each.estimate - reach * each.standard_error,
                each.estimate + reach * each.standard_error,
            ),
        )
        for (arm, _), each in zip(contrasts, estimates, strict=True)
    ]


def all_pairs(model: MixedModel, method: Method = Method.CR2) -> list[Adjusted]:
    """Every difference between two arms that have a coupling, p adjusted by Holm."""
    arms = [
        arm for arm in model.arms if arm == model.reference or within_arm_term(arm) in model.terms
    ]
    pairs = [(later, earlier) for earlier, later in combinations(arms, 2)]
    if not pairs:
        return []
    estimates = model.contrasts_of([difference(model, *pair) for pair in pairs], method)
    adjusted = holm([each.p for each in estimates])
    return [
        Adjusted(arm, other, each, p, None)
        for (arm, other), each, p in zip(pairs, estimates, adjusted, strict=True)
    ]


def trend(model: MixedModel, doses: Mapping[str, float], method: Method = Method.CR2) -> Estimate:
    """Change of the coupling per unit of dose: the line through the arms' couplings, unweighted.

    Raises ValueError for an arm without a dose or a coupling, or doses that are all the same.
    """
    lacking = [arm for arm in model.arms if arm not in doses]
    if lacking:
        raise ValueError(f"arm {lacking[0]} has no dose")
    if empty := [arm for arm in model.arms[1:] if within_arm_term(arm) not in model.terms]:
        raise ValueError(f"arm {empty[0]} has no coupling, so there is no trend over doses")
    score = trend_score([doses[arm] for arm in model.arms])
    # Scores add to zero, so the reference's own coupling drops out of Σ score × coupling.
    weights = {within_arm_term(a): float(s) for a, s in zip(model.arms[1:], score[1:], strict=True)}
    return model.contrast(weights, method)


def trend_score(doses: Sequence[float]) -> Floats:
    """The weight of each arm's coupling in the slope of the line through them."""
    away = np.array(doses) - np.mean(doses)
    if not away.any():
        raise ValueError("all arms have the same dose, so there is no trend")
    return np.asarray(away / (away @ away))


def difference(model: MixedModel, arm: str, other: str) -> Combination:
    """Coupling in an arm minus coupling in the other, as weights of terms."""
    weights = {within_arm_term(arm): 1.0, within_arm_term(other): -1.0}
    return {term: weight for term, weight in weights.items() if term != _reference_term(model)}


def coupling_in(model: MixedModel, arm: str) -> Combination:
    """The coupling in an arm, as weights of terms."""
    own = {within_arm_term(arm): 1.0}
    return {WITHIN: 1.0} | ({} if arm == model.reference else own)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's step-down adjustment, in the order given."""
    order = np.argsort(p, kind="stable")
    steps = np.array(p)[order] * np.arange(len(p), 0, -1)
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(np.maximum.accumulate(steps), 1.0)
    return [float(each) for each in adjusted]


def _reference_term(model: MixedModel) -> str:
    return within_arm_term(model.arms[0])


class _Largest:
    """The distribution of the largest |t| of correlated contrasts."""

    def __init__(self, covariance: Floats, df: float) -> None:
        spread = np.sqrt(np.diag(covariance))
        self.correlation, self.df = covariance / np.outer(spread, spread), df

    def p(self, t: float) -> float:
        """P(max |T| ≥ |t|)."""
        return float(min(max(1 - self._below(abs(t)), 0.0), 1.0))

    def critical(self, level: float) -> float:
        """What the largest |t| stays below with this probability."""
        size = len(self.correlation)
        low = float(student.ppf((1 + level) / 2, self.df))
        high = float(student.ppf(1 - (1 - level) / 2 / size, self.df))  # Bonferroni
        if size == 1:
            return low
        return float(brentq(lambda t: self._below(t) - level, 0.99 * low, 1.01 * high, xtol=1e-6))

    def _below(self, t: float) -> float:
        size = len(self.correlation)
        if size == 1:
            return float(1 - 2 * student.sf(t, self.df))
        return float(
            multivariate_t.cdf(
                np.full(size, t),
                shape=self.correlation,
                df=self.df,  # type: ignore[arg-type]  # any positive number will do
                lower_limit=np.full(size, -t),
                maxpts=_POINTS * size,
                random_state=np.random.default_rng(_SEED),
            )
        )
