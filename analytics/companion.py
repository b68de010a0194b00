"""The floor companion: does stress raise the odds of *any* craving, and by how much less in an arm?

Near the floor a lower mean alone flattens a linear slope. The logistic mixed model with the same
terms and a random intercept and slope (`analytics.laplace`) does not mind: what it needs is a table
per participant of how often craving was above zero at each level of stress.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import norm

from analytics.design import Design, summarise
from analytics.fixed_effects import INTERCEPT, arms_of, coupling_design, refuse_hopeless
from analytics.gram import Gram
from analytics.laplace import SINGULAR, ByPerson, Cells, Cuts, FixedPart, Laplace, optimum
from analytics.moments import Label, Moments
from analytics.summing import Floats, Ints


@dataclass(frozen=True, eq=False)
class Counts:
    """Cells sorted by participant: at this stress (stored integer), ``any`` of ``n`` were above 0.

    participants (P) sorted; person, stress, n, any: one entry per cell, every participant has one.
    """

    participants: tuple[Label, ...]
    person: Ints
    stress: Floats
    n: Ints
    any: Ints

    @classmethod
    def from_rows(cls, participant: Sequence[Label], stress: ArrayLike, any_: ArrayLike) -> Self:
        """Count complete pairs; ``any_`` is whether craving was above zero."""
        labels, person = np.unique(np.asarray(participant), return_inverse=True)
        level, place = np.unique(np.asarray(stress, dtype=np.float64), return_inverse=True)
        cells, cell = np.unique(person * len(level) + place, return_inverse=True)
        return cls(
            tuple(labels.tolist()),
            cells // len(level),
            level[cells % len(level)],
            np.bincount(cell).astype(np.int64),
            np.bincount(cell, np.asarray(any_, dtype=bool)).astype(np.int64),
        )

    def moments(self) -> Moments:
        """Sums of stress and of any craving, for the design of the model."""
        size = len(self.participants)

        def total(column: NDArray[Any]) -> Floats:
            return np.asarray(np.bincount(self.person, column, size), dtype=np.float64)

        x, n, k = self.stress, self.n, self.any
        sums = [total(each) for each in (n * x, k, n * x * x, k * x, k)]
        return Moments(self.participants, total(n).astype(np.int64), *sums)


class LogOdds(NamedTuple):
    """A log odds ratio (per stress point where it is a slope) with Wald's z and 95 % interval."""

    estimate: float
    standard_error: float
    z: float
    p: float
    interval: tuple[float, float]


@dataclass(frozen=True, eq=False)
class Companion:
    """The fitted logistic model; coefficients (p) and vcov (p × p) in the order of ``terms``."""

    terms: tuple[str, ...]
    dropped: tuple[str, ...]
    coefficients: Floats
    vcov: Floats
    log_likelihood: float
    sd_intercept: float
    sd_slope: float
    correlation: float | None
    singular: bool

    def contrast(self, combination: Mapping[str, float]) -> LogOdds:
        """Σ weight × term. Raises ValueError for a term the model does not have."""
        if unknown := [term for term in combination if term not in self.terms]:
            raise ValueError(f"no term {unknown[0]!r}; the model has {', '.join(self.terms)}")
        weights = np.array([combination.get(term, 0.0) for term in self.terms])
        estimate = float(weights @ self.coefficients)
        error = float(np.sqrt(weights @ self.vcov @ weights))
        reach, z = float(norm.ppf(0.975)) * error, estimate / error
        p = float(2 * norm.sf(abs(z)))
        return LogOdds(estimate, error, z, p, (estimate - reach, estimate + reach))


def fit_companion(
    counts: Counts,
    arms: Mapping[Any, str] | None = None,
    reference: str | None = None,
    *,
    x_scale: float = 1,
) -> Companion:
    """any craving ~ stress_within * arm + stress_between + (1 + stress_within | participant).

    Raises ValueError, in words, where craving is always or never above zero in an arm, and for
    what the linear model refuses.
    """
    moments = counts.moments()
    arm_of, levels = arms_of(moments.participants, arms, reference, None)
    _refuse_one_answer(counts, arm_of, levels)
    centred = Gram.from_moments(moments, "stress", "craving").centred({"stress": x_scale})
    design = coupling_design(centred, arm_of, levels)
    refuse_hopeless(design.pairs)
    x = counts.stress / x_scale - design.pairs.mean_x[counts.person]
    return fit_odds(design, Cells(counts.person, x, counts.n, counts.any))


def fit_odds(design: Design, cells: Cells, cuts: Cuts | None = None) -> Companion:
    """The logistic mixed model of a design's terms; of cumulative odds where there are cuts.

    x of the cells is the predictor minus the own mean. With cuts there is no intercept: they are
    in its place.
    """
    terms, units, summaries = summarise(design)
    on_level, on_slope = np.zeros((2, len(design.centred), len(terms)))
    on_level[:, summaries.level_at] = summaries.on_level
    on_slope[:, summaries.slope_at] = summaries.on_slope
    kept = np.array([cuts is None or term != INTERCEPT for term in terms])
    terms = tuple(term for term, keep in zip(terms, kept, strict=True) if keep)
    cells = cells._replace(x=cells.x / units.x)
    fixed = ByPerson(cells, on_level[:, kept], on_slope[:, kept])
    dropped = tuple(term for term in design.fixed if term not in (*terms, INTERCEPT))
    unit = units.coefficients[kept] / units.y
    return best_odds(terms, dropped, cells, fixed, cuts, unit, units.x)


def best_odds(
    terms: tuple[str, ...],
    dropped: tuple[str, ...],
    cells: Cells,
    fixed: FixedPart,
    cuts: Cuts | None,
    unit: Floats,
    x_unit: float,
) -> Companion:
    """Fit it; ``unit`` and ``x_unit`` turn coefficients and the cells' x into the items' units."""
    laplace = Laplace(cells, fixed, cuts)
    best = optimum(laplace)
    vcov = laplace.vcov(best) * np.outer(unit, unit)
    theta, beta = best[:3], best[3 + laplace.n_cuts :] * unit
    deviance = laplace.deviance(best)[0]
    sd_intercept, sd_slope = abs(float(theta[0])), float(np.hypot(theta[1], theta[2]))
    both = sd_intercept > SINGULAR and sd_slope > SINGULAR
    return Companion(
        terms=terms,
        dropped=dropped,
        coefficients=beta,
        vcov=vcov,
        log_likelihood=-deviance / 2,
        sd_intercept=sd_intercept,
        sd_slope=sd_slope / x_unit,
        correlation=float(theta[1] / sd_slope * np.sign(theta[0])) if both else None,
        singular=bool(min(sd_intercept, abs(theta[2])) < SINGULAR),
    )


def _refuse_one_answer(counts: Counts, arm_of: tuple[str, ...], levels: tuple[str, ...]) -> None:
    groups = [(arm, np.array(arm_of) == arm) for arm in levels]
    for arm, here in groups or [("", np.ones(len(counts.participants), dtype=bool))]:
        chosen = here[counts.person]
        any_, n = int(counts.any[chosen].sum()), int(counts.n[chosen].sum())
        if any_ in (0, n):
            where = f" in arm {arm!r}" if arm else ""
            raise ValueError(
                f"craving is {'never' if any_ == 0 else 'always'} above zero{where}, "
                "so the odds of any craving cannot be compared"
            )
