"""Laplace's likelihood of a logistic mixed model with a random intercept and slope, and its best.

With b = Λu, u ~ N(0, I), the likelihood is Laplace's approximation, as lme4's glmer has it with
nAGQ = 1 (Bates et al.; Tierney & Kadane 1986): at each participant's mode û, where r = k − nμ,
w = nμ(1 − μ) and H = I + Λ'Z'WZΛ,

    log L = Σ_i [ Σ_c kη − n log(1 + e^η) − |û|²/2 − ½ log|H| ].

Gradient in (θ, β): with w' = dw/dη, the leverage q = z'ΛH⁻¹Λ'z and t = Σ_c w'q Λ'z, each cell has
the score s = r − ½ w'q + ½ w z'ΛH⁻¹t, and β's gradient is X's.

Cumulative logits (McCullagh 1980) are the same with one more term. For an answer between the cuts
c₋ < c₊,

    P = F(c₊ − η) − F(c₋ − η) = F(c₊ − η) F(η − c₋) (1 − e^{c₋ − c₊}),

so a cell is one binomial of each cut, of the answers next to it, about η − cut; what is left does
not know η. The cuts are estimated as the first and the logarithms of the gaps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
from scipy.optimize import minimize

from analytics.summing import Floats, Ints

_MODES = 100  # Newton steps to a participant's mode
_FARTHEST = 40.0  # a standardised coefficient, in log odds, that only separated answers have
SINGULAR = 1e-4
_SUSPICIOUS = 0.05  # of θ's diagonal: an answer nearer to zero is sought from two starts


class Cells(NamedTuple):
    """Binomials sorted by participant: k of n at x; every participant has one.

    cut: of an ordinal outcome, the number of the cut that the binomial is about.
    """

    person: Ints
    x: Floats
    n: Ints
    k: Ints
    cut: Ints | None = None


class FixedPart(Protocol):
    """Xβ of every cell, and X's of cells' scores."""

    @property
    def n_terms(self) -> int: ...

    def predictor(self, beta: Floats) -> Floats: ...

    def gradient(self, score: Floats) -> Floats: ...


@dataclass(frozen=True, eq=False)
class ByPerson:
    """Columns that are a level and a slope on x for each participant (P × p each)."""

    cells: Cells
    on_level: Floats
    on_slope: Floats

    @property
    def n_terms(self) -> int:
        return int(self.on_level.shape[1])

    def predictor(self, beta: Floats) -> Floats:
        person = self.cells.person
        slopes = (self.on_slope @ beta)[person] * self.cells.x
        return np.asarray((self.on_level @ beta)[person] + slopes)

    def gradient(self, score: Floats) -> Floats:
        person, size = self.cells.person, len(self.on_level)
        levels = np.bincount(person, score, size)
        return np.asarray(
            levels @ self.on_level + np.bincount(person, score * self.cells.x, size) @ self.on_slope
        )


@dataclass(frozen=True, eq=False)
class Cuts:
    """Where an ordinal outcome is cut: how many answers lie between neighbouring cuts."""

    between: Floats

    @property
    def n(self) -> int:
        return len(self.between) + 1

    def places(self, free: Floats) -> Floats:
        """The cuts, ascending, of the first and the logarithms of the gaps."""
        return np.asarray(free[0] + np.r_[0.0, np.cumsum(np.exp(free[1:]))])

    def left(self, free: Floats) -> float:
        """The log-likelihood's part that does not know η."""
        return float(self.between @ np.log(-np.expm1(-np.exp(free[1:]))))

    def gradient(self, free: Floats, by_cut: Floats) -> Floats:
        """Of the log-likelihood in the free parameters, given its gradient in the cuts' places."""
        gap = np.exp(free[1:])
        above = np.cumsum(by_cut[::-1])[::-1]
        return np.asarray(np.r_[above[0], gap * (above[1:] + self.between / np.expm1(gap))])


class Laplace:
    """Minus twice the log-likelihood and its gradient at (θ, cuts, β); remembers the modes."""

    def __init__(self, cells: Cells, fixed: FixedPart, cuts: Cuts | None = None) -> None:
        self.person, self.x, self.n, self.k, self.cut = cells
        self.fixed, self.cuts = fixed, cuts
        self.n_cuts = cuts.n if cuts else 0
        self.starts = np.flatnonzero(np.r_[True, np.diff(cells.person) > 0])
        self.u = np.zeros((2, len(self.starts)))

    def deviance(self, at: Floats) -> tuple[float, Floats]:
        """The deviance and its gradient, both of them exact for the approximation."""
        theta, free, beta = self._split(at)
        u, mu, w, height = self._modes(theta, self._fixed(free, beta))
        r = self.k - self.n * mu
        h00, h01, h11, det = self._information(theta, w)
        value = float(np.log(det).sum() - 2 * height.sum())
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
        of_cuts = np.zeros(0)
        if self.cuts is not None and self.cut is not None:
            value -= 2 * self.cuts.left(free)
            by_cut = np.bincount(self.cut, s, self.n_cuts).astype(np.float64)
            of_cuts = self.cuts.gradient(free, -by_cut)
        gradient = np.r_[[float(each.sum()) for each in by_theta], of_cuts, self.fixed.gradient(s)]
        return value, -2 * gradient

    def hessian(self, at: Floats) -> Floats:
        """Differences of the gradient."""
        step = 1e-5
        moves = step * np.eye(len(at))
        rows = [(self.deviance(at + m)[1] - self.deviance(at - m)[1]) / 2 / step for m in moves]
        return np.asarray(np.array(rows) + np.array(rows).T) / 2

    def vcov(self, at: Floats) -> Floats:
        """Covariance of β from the curvature in everything; a variance at zero is taken as known.

        Raises ValueError where the curvature is flat: answers that the terms separate.
        """
        free = np.r_[np.abs(at[:3]) > SINGULAR, np.ones(len(at) - 3, dtype=bool)]
        curvature = self.hessian(at)[np.ix_(free, free)] / 2
        known = int(free[:3].sum()) + self.n_cuts
        beta = at[3 + self.n_cuts :]
        if np.abs(beta).max(initial=0.0) > _FARTHEST or np.linalg.cond(curvature) > 1e12:
            raise ValueError("the terms separate the answers, so some odds have no finite estimate")
        return np.asarray(np.linalg.inv(curvature)[known:, known:], dtype=np.float64)

    def start(self, lean: float) -> Floats:
        """Where to look from: cuts as the answers' shares alone would put them."""
        free = np.zeros(0)
        if self.cuts is not None and self.cut is not None:
            free = np.r_[-(self.n_cuts - 1) / 2, np.zeros(self.n_cuts - 1)]
        return np.asarray(np.r_[1.0, lean, 0.3, free, np.zeros(self.fixed.n_terms)])

    def _split(self, at: Floats) -> tuple[Floats, Floats, Floats]:
        return at[:3], at[3 : 3 + self.n_cuts], at[3 + self.n_cuts :]

    def _fixed(self, free: Floats, beta: Floats) -> Floats:
        found = self.fixed.predictor(beta)
        if self.cuts is None or self.cut is None:
            return found
        return np.asarray(found - self.cuts.places(free)[self.cut])

    def _sum(self, column: Floats) -> Floats:
        return np.asarray(np.add.reduceat(column, self.starts))

    def _information(self, theta: Floats, w: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """H = I + Λ'Z'WZΛ of each participant and its determinant."""
        z0, z1 = theta[0] + theta[1] * self.x, theta[2] * self.x
        h00, h11 = 1 + self._sum(w * z0 * z0), 1 + self._sum(w * z1 * z1)
        h01 = self._sum(w * z0 * z1)
        return h00, h01, h11, h00 * h11 - h01 * h01

    def _modes(self, theta: Floats, fixed: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """û, μ, w and the penalised likelihood at the modes: Newton, halved where it would fall."""
        z0, z1 = theta[0] + theta[1] * self.x, theta[2] * self.x
        u, height = self.u, np.full(len(self.starts), -np.inf)
        step = np.zeros_like(u)
        for _ in range(_MODES):
            eta = fixed + z0 * u[0][self.person] + z1 * u[1][self.person]
            small = np.exp(-np.abs(eta))
            log_odds = self.k * eta - self.n * (np.maximum(eta, 0) + np.log(1 + small))
            now = self._sum(log_odds) - (u * u).sum(axis=0) / 2
            worse = now < height - 1e-9 * (1 + np.abs(height))
            if worse.any():
                step = np.where(worse, step / 2, 0.0)
                u = u - step
                continue
            height = now
            mu = np.where(eta >= 0, 1.0, small) / (1 + small)
            w, r = self.n * mu * (1 - mu), self.k - self.n * mu
            h00, h01, h11, det = self._information(theta, w)
            g0, g1 = self._sum(r * z0) - u[0], self._sum(r * z1) - u[1]
            step = np.stack([h11 * g0 - h01 * g1, h00 * g1 - h01 * g0]) / det
            if np.abs(step).max() < 1e-9:
                self.u = u
                return u, mu, w, now
            u = u + step
        raise ValueError("the logistic model found no modes; look at the data for extreme values")


def optimum(laplace: Laplace) -> Floats:
    """The best (θ, cuts, β); singular answers are sought again from another start."""
    value, at = _downhill(laplace, 0.0)
    if min(abs(at[0]), abs(at[2])) < _SUSPICIOUS:
        value, at = min((value, at), _downhill(laplace, -0.3), key=lambda each: each[0])
    curvature = laplace.hessian(at)
    for _ in range(5):
        step = np.linalg.lstsq(curvature, laplace.deviance(at)[1], rcond=1e-10)[0]
        new = laplace.deviance(at - step)[0]
        if not new < value:
            break
        value, at = new, at - step
    at[:3] *= np.r_[np.sign(at[0]) or 1.0, np.sign(at[0]) or 1.0, np.sign(at[2]) or 1.0]
    return at


def _downhill(laplace: Laplace, lean: float) -> tuple[float, Floats]:
    best = minimize(
        laplace.deviance, laplace.start(lean), jac=True, method="BFGS", options={"gtol": 1e-4}
    )
    return float(best.fun), np.asarray(best.x, dtype=np.float64)
