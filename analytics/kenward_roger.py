"""Kenward–Roger: standard errors and F tests that know the variances were estimated.

Kenward & Roger (1997), with pbkrtest's order of operations (Halekoh & Højsgaard 2014). V is linear
in the variance components, so their second derivatives vanish. The result is the same for any
linear change of components; taken as the directions E of D and V itself,

    T_E = Σ A'WEWA,  Q_EF = Σ A'WEWFWA,  T_V = Q_VV = X'V⁻¹X,  Q_EV = T_E,

every term with V cancels from the correction of the covariance, and REML's expected information
is [[I, s], [s', N − p]] with I and s what `analytics.reml` found on its way to the optimum. One
more pass over the participants is all that is left.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import f as fisher

from analytics.reml import DIRECTIONS, Criterion
from analytics.summaries import Summaries, crossed, relative_covariance, sandwich, weights
from analytics.summing import Floats


class FTest(NamedTuple):
    """A test of several contrasts at once: F on (numerator_df, df), already scaled."""

    f: float
    numerator_df: int
    df: float
    p: float


class KenwardRoger(NamedTuple):
    """Adjusted and model covariance of the coefficients over σ² (p × p), and what the df need.

    slopes (4 × p × p): minus the derivatives of X'V⁻¹X in the components; components (4 × 4):
    their asymptotic covariance.
    """

    adjusted: Floats
    model: Floats
    slopes: Floats
    components: Floats

    def test(self, contrasts: Floats, estimates: Floats, sigma2: float) -> FTest:
        """F test that the m contrasts (m × p) of full rank, estimated so, are all zero."""
        m = len(contrasts)
        a1, a2 = self._a1_a2(contrasts)
        scale, df = approximation(m, a1, a2)
        covariance = sigma2 * contrasts @ self.adjusted @ contrasts.T
        wald = float(estimates @ np.linalg.solve(covariance, estimates))
        f = scale * wald / m
        return FTest(f, m, df, float(fisher.sf(f, m, df)))

    def df(self, contrast: Floats) -> float:
        """The degrees of freedom of one contrast (length p)."""
        return approximation(1, *self._a1_a2(contrast[None]))[1]

    def _a1_a2(self, contrasts: Floats) -> tuple[float, float]:
        inner = np.linalg.solve(contrasts @ self.model @ contrasts.T, contrasts)
        u = contrasts.T @ inner @ self.model @ self.slopes @ self.model
        traces = np.trace(u, axis1=1, axis2=2)
        a1 = float(traces @ self.components @ traces)
        return a1, float(np.einsum("rs,rab,sba->", self.components, u, u))


def kenward_roger(summaries: Summaries, criterion: Criterion) -> KenwardRoger:
    """The adjusted covariance at the optimum; one pass over the participants."""
    vcov, weighted = criterion.unscaled_vcov, criterion.weighted
    information = np.empty((4, 4))
    information[:3, :3] = criterion.information
    information[:3, 3] = information[3, :3] = criterion.score
    information[3, 3] = summaries.error_df
    inverse = np.linalg.pinv(information, rcond=1e-12, hermitian=True)
    components = 2 * np.asarray(inverse, dtype=np.float64)
    inner = _second_moments(summaries, criterion.theta, components[:3, :3])
    inner -= np.einsum("rs,rab,bc,scd->ad", components[:3, :3], weighted, vcov, weighted)
    adjusted = vcov + 2 * vcov @ inner @ vcov
    slopes = -np.concatenate([weighted, np.linalg.inv(vcov)[None]])
    return KenwardRoger((adjusted + adjusted.T) / 2, vcov, slopes, components)


def _second_moments(summaries: Summaries, theta: Floats, components: Floats) -> Floats:
    """Σ_EF components_EF Σ A'WEWFWA (p × p)."""
    covariance = relative_covariance(theta)
    # Σ_EF c_EF E M F of a symmetric M is a linear map of M's three elements.
    full = np.einsum("rs,rac,sdb->abcd", components, DIRECTIONS, DIRECTIONS)
    packed = np.array([full[i, j] for i, j in ((0, 0), (0, 1), (1, 1))])
    onto = np.stack([packed[:, 0, 0], packed[:, 0, 1] + packed[:, 1, 0], packed[:, 1, 1]], axis=1)
    total = np.zeros((summaries.n_terms, summaries.n_terms))
    for part in summaries.chunks():
        _, w = weights(part, covariance)
        total += crossed(part, sandwich(w, onto @ w))
    return total


def approximation(q: int, a1: float, a2: float) -> tuple[float, float]:
    """The scale of F and its denominator df: Kenward & Roger (1997), section 4."""
    b = (a1 + 6 * a2) / (2 * q)
    g = ((q + 1) * a1 - (q + 4) * a2) / ((q + 2) * a2)
    bottom = 3 * q + 2 * (1 - g)
    c1, c2, c3 = g / bottom, (q - g) / bottom, (q + 2 - g) / bottom
    v0, v1, v2 = 1 + c1 * b, 1 - c2 * b, 1 - c3 * b
    v0 = 0.0 if abs(v0) < 1e-10 else v0
    ratio = 1.0 if max(abs(1 - a2 / q), abs(v1)) < 1e-14 else (1 - a2 / q) / v1
    rho = ratio**2 * v0 / v2 / q
    df = 4 + (q + 2) / (q * rho - 1)
    return (1.0 if abs(df - 2) < 1e-2 else df * (1 - a2 / q) / (df - 2)), df
