"""The floor companion: does stress raise the odds of *any* craving, and by how much less in an arm?

Near the floor a lower mean alone flattens a linear slope. The logistic mixed model with the same
terms and a random intercept and slope does not mind: what it needs is a table per participant of
how often craving was above zero at each level of stress.

With b = Λu, u ~ N(0, I), the likelihood is Laplace's approximation, as lme4's glmer has it with
nAGQ = 1 (Bates et al.; Tierney & Kadane 1986): at each participant's mode û, where r = k − nμ,
w = nμ(1 − μ) and H = I + Λ'Z'WZΛ,

    log L = Σ_i [ Σ_c kη − n log(1 + e^η) − |û|²/2 − ½ log|H| ].

Gradient in (θ, β): with w' = dw/dη, the leverage q = z'ΛH⁻¹Λ'z and t = Σ_c w'q Λ'z, each cell has
the score s = r − ½ w'q + ½ w z'ΛH⁻¹t, and β's gradient is X's.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize
from scipy.stats import norm

from analytics.design import summarise
from analytics.fixed_effects import arms_of, coupling_design, refuse_hopeless
from analytics.gram import Gram
from analytics.moments import Label, Moments
from analytics.summing import Floats, Ints

_MODES = 100  # Newton steps to a participant's mode
_SINGULAR = 1e-4


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
    terms, units, summaries = summarise(design)
    x = (counts.stress / x_scale - design.pairs.mean_x[counts.person]) / units.x
    on_level, on_slope = np.zeros((2, len(centred), len(terms)))
    on_level[:, summaries.level_at] = summaries.on_level
    on_slope[:, summaries.slope_at] = summaries.on_slope
    laplace = _Laplace(counts, x, on_level, on_slope)
    best = _optimum(laplace)
    unit = units.coefficients / units.y
    vcov = laplace.vcov(best) * np.outer(unit, unit)
    theta, beta = best[:3], best[3:] * unit
    return _reported(terms, design.fixed, theta, beta, vcov, units.x, laplace.deviance(best)[0])


def _reported(
    terms: tuple[str, ...],
    fixed: Mapping[str, Any],
    theta: Floats,
    beta: Floats,
    vcov: Floats,
    x_unit: float,
    deviance: float,
) -> Companion:
    sd_intercept, sd_slope = abs(float(theta[0])), float(np.hypot(theta[1], theta[2]))
    both = sd_intercept > _SINGULAR and sd_slope > _SINGULAR
    return Companion(
        terms=terms,
        dropped=tuple(term for term in fixed if term not in terms),
        coefficients=beta,
        vcov=vcov,
        log_likelihood=-deviance / 2,
        sd_intercept=sd_intercept,
        sd_slope=sd_slope / x_unit,
        correlation=float(theta[1] / sd_slope * np.sign(theta[0])) if both else None,
        singular=bool(min(sd_intercept, abs(theta[2])) < _SINGULAR),
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


class _Laplace:
    """Minus twice the log-likelihood and its gradient at (θ, β); remembers the modes."""

    def __init__(self, counts: Counts, x: Floats, on_level: Floats, on_slope: Floats) -> None:
        self.person, self.n, self.k, self.x = counts.person, counts.n, counts.any, x
        self.on_level, self.on_slope = on_level, on_slope
        self.starts = np.flatnonzero(np.r_[True, np.diff(counts.person) > 0])
        self.u = np.zeros((2, len(on_level)))

    def deviance(self, at: Floats) -> tuple[float, Floats]:
        """The deviance and its gradient, both of them exact for the approximation."""
        theta, beta = at[:3], at[3:]
        u, eta, mu, w = self._modes(theta, beta)
        r = self.k - self.n * mu
        h00, h01, h11, det = self._information(theta, w)
        log_odds = self.k * eta - self.n * np.logaddexp(0, eta)
        value = -2 * float(log_odds.sum()) + float((u * u).sum() + np.log(det).sum())
        lean = w * (1 - 2 * mu)  # w'
        z0 = theta[0] + theta[1] * self.x  # Λ'z of each cell
        z1 = theta[2] * self.x
        i00, i01, i11 = (each[self.person] for each in (h11 / det, -h01 / det, h00 / det))
        q = lean * (i00 * z0 * z0 + 2 * i01 * z0 * z1 + i11 * z1 * z1)
        t0, t1 = self._sum(q * z0), self._sum(q * z1)
        v0, v1 = (h11 * t0 - h01 * t1) / det, (h00 * t1 - h01 * t0) / det
        s = r - q / 2 + w * (z0 * v0[self.person] + z1 * v1[self.person]) / 2
        s0, s1, r0, r1 = (self._sum(each) for each in (s, s * self.x, r, r * self.x))
        # (H⁻¹Λ'Z'WZ)_ba of the elements (a, b) of Λ
        g = [self._sum(w), self._sum(w * self.x), self._sum(w * self.x * self.x)]
        m = [[theta[0] * g[a] + theta[1] * g[a + 1], theta[2] * g[a + 1]] for a in (0, 1)]
        by_theta = [
            s0 * u[0] - v0 * r0 / 2 - (h11 * m[0][0] - h01 * m[0][1]) / det,
            s1 * u[0] - v0 * r1 / 2 - (h11 * m[1][0] - h01 * m[1][1]) / det,
            s1 * u[1] - v1 * r1 / 2 - (h00 * m[1][1] - h01 * m[1][0]) / det,
        ]
        gradient = [float(each.sum()) for each in by_theta]
        return value, -2 * np.r_[gradient, s0 @ self.on_level + s1 @ self.on_slope]

    def hessian(self, at: Floats) -> Floats:
        """Differences of the gradient."""
        step = 1e-5
        moves = step * np.eye(len(at))
        rows = [(self.deviance(at + m)[1] - self.deviance(at - m)[1]) / 2 / step for m in moves]
        return np.asarray(np.array(rows) + np.array(rows).T) / 2

    def vcov(self, at: Floats) -> Floats:
        """Covariance of β from the curvature in (θ, β); a variance at zero is taken as known."""
        free = np.r_[np.abs(at[:3]) > _SINGULAR, np.ones(len(at) - 3, dtype=bool)]
        inverse = np.linalg.inv(self.hessian(at)[np.ix_(free, free)] / 2)
        known = int(free[:3].sum())
        return np.asarray(inverse[known:, known:], dtype=np.float64)

    def _sum(self, column: Floats) -> Floats:
        return np.asarray(np.add.reduceat(column, self.starts))

    def _information(self, theta: Floats, w: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """H = I + Λ'Z'WZΛ of each participant and its determinant."""
        z0, z1 = theta[0] + theta[1] * self.x, theta[2] * self.x
        h00, h11 = 1 + self._sum(w * z0 * z0), 1 + self._sum(w * z1 * z1)
        h01 = self._sum(w * z0 * z1)
        return h00, h01, h11, h00 * h11 - h01 * h01

    def _modes(self, theta: Floats, beta: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """û, η, μ and w at the modes: Newton, halved where the penalised likelihood would fall."""
        fixed = (self.on_level @ beta)[self.person] + (self.on_slope @ beta)[self.person] * self.x
        z0, z1 = theta[0] + theta[1] * self.x, theta[2] * self.x
        u, height = self.u, np.full(len(self.starts), -np.inf)
        step = np.zeros_like(u)
        for _ in range(_MODES):
            eta = fixed + z0 * u[0][self.person] + z1 * u[1][self.person]
            now = self._sum(self.k * eta - self.n * np.logaddexp(0, eta)) - (u * u).sum(axis=0) / 2
            worse = now < height - 1e-9 * (1 + np.abs(height))
            if worse.any():
                step = np.where(worse, step / 2, 0.0)
                u = u - step
                continue
            height = now
            mu = 1 / (1 + np.exp(-eta))
            w, r = self.n * mu * (1 - mu), self.k - self.n * mu
            h00, h01, h11, det = self._information(theta, w)
            g0, g1 = self._sum(r * z0) - u[0], self._sum(r * z1) - u[1]
            step = np.stack([h11 * g0 - h01 * g1, h00 * g1 - h01 * g0]) / det
            if np.abs(step).max() < 1e-9:
                self.u = u
                return u, eta, mu, w
            u = u + step
        raise ValueError("the logistic model found no modes; look at the data for extreme values")


def _optimum(laplace: _Laplace) -> Floats:
    """The best (θ, β) of two starts: BFGS, then Newton steps while they help."""
    p = laplace.on_level.shape[1]
    found = []
    for lean in (0.0, -0.3):
        start = np.r_[1.0, lean, 0.3, np.zeros(p)]
        best = minimize(laplace.deviance, start, jac=True, method="BFGS", options={"gtol": 1e-4})
        found.append((float(best.fun), np.asarray(best.x, dtype=np.float64)))
    value, at = min(found, key=lambda each: each[0])
    for _ in range(5):
        slope = laplace.deviance(at)[1]
        step = np.linalg.lstsq(laplace.hessian(at), slope, rcond=1e-10)[0]
        new = laplace.deviance(at - step)[0]
        if not new < value:
            break
        value, at = new, at - step
    at[:3] *= np.r_[np.sign(at[0]) or 1.0, np.sign(at[0]) or 1.0, np.sign(at[2]) or 1.0]
    return at
