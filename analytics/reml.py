"""The REML criterion of a random intercept and slope, and its optimum.

A participant's share of the model is the 2 × 2 matrix G = Z'Z, the pair z (own intercept and
slope) and a 2 × p matrix A: what of X_i lies along Z_i is Z_i A_i. What is orthogonal to Z_i (X⊥,
y⊥; nothing in the model of stress alone) never meets D. With D the random effects' covariance
relative to σ² and W = Z'V⁻¹Z = G (I + D G)⁻¹,

    X'V⁻¹X = Σ A'WA + X⊥'X⊥,    β = (X'V⁻¹X)⁻¹ Σ (A'Wz + X⊥'y⊥),
    r² = Σ SS_residual + |y⊥ − X⊥β|² + (z − Aβ)'W(z − Aβ),
    d = Σ log|I + D G| + log|X'V⁻¹X| + (N − p)(1 + log(2π r²/(N − p))),

which is the profiled REML deviance of Bates, Mächler, Bolker & Walker (2015, eq. 42) with
D = ΛΛ'. As dW = −W dD W, gradient and Hessian are sums over participants too; d is minimised by
Newton steps in the three elements θ of the lower-triangular Λ. It depends on θ through D alone,
so a variance of zero is a smooth stationary point and needs no bounds.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

_CHUNK = 4096  # participants per pass: the working arrays stay in cache
_ARRAYS = ("n", "ss", "level", "slope", "on_level", "on_slope")
_MAX_STEPS = 200
_SNAP = 1e-5
# The directions E of D (d00, d01, d11), and where each element of a symmetric 2 × 2 is packed.
DIRECTIONS = np.array([[[1, 0], [0, 0]], [[0, 1], [1, 0]], [[0, 0], [0, 1]]], dtype=np.float64)
_PACKED = np.array([[0, 1], [1, 2]])


class Rest(NamedTuple):
    """X⊥ (P × m × p) and y⊥ (P × m): m rows that stand for a participant's rows outside Z."""

    x: Floats
    y: Floats


@dataclass(frozen=True)
class Summaries:
    """What the criterion needs of P participants and p fixed effects.

    n, cross, ss: Z'Z packed, with ``cross`` None where the predictor is centred (length P).
    level, slope: own intercept and slope of the outcome on Z (a slope is 0 where the predictor
    does not vary). on_level (P × p0) and on_slope (P × p1): the rows of A, of the columns at
    ``level_at`` and ``slope_at``; other columns have zeros there. residual: Σ SS that no column
    touches. n_rows: N, which is Σ n unless rows are whitened. rest: X⊥ and y⊥, None where there
    are none.
    """

    n: Floats
    ss: Floats
    level: Floats
    slope: Floats
    on_level: Floats
    on_slope: Floats
    level_at: tuple[int, ...]
    slope_at: tuple[int, ...]
    residual: float
    n_rows: float
    cross: Floats | None = None
    rest: Rest | None = None

    @property
    def n_terms(self) -> int:
        """p, the number of fixed effects."""
        if self.rest is not None:
            return int(self.rest.x.shape[2])
        return 1 + max(*self.level_at, *self.slope_at)

    @property
    def error_df(self) -> float:
        """N − p."""
        return self.n_rows - self.n_terms

    def chunks(self) -> Iterator[Summaries]:
        """The same participants, a cacheful at a time."""
        if len(self.n) <= _CHUNK:
            yield self
            return
        for start in range(0, len(self.n), _CHUNK):
            part = slice(start, start + _CHUNK)
            yield replace(
                self,
                **{name: getattr(self, name)[part] for name in _ARRAYS},
                cross=None if self.cross is None else self.cross[part],
                rest=None if self.rest is None else Rest(self.rest.x[part], self.rest.y[part]),
            )

    @cached_property
    def constants(self) -> Constants:
        """Σ X⊥'X⊥, X⊥'y⊥ and y⊥'y⊥, which no variance touches."""
        p = self.n_terms
        if self.rest is None:
            return Constants(np.zeros((p, p)), np.zeros(p), 0.0)
        x, y = self.rest.x.reshape(-1, p), self.rest.y.reshape(-1)
        return Constants(x.T @ x, x.T @ y, float(y @ y))

    def rows(self) -> Rows:
        """A few rows that stand for all of a participant's: the same X'X, X'Z, Z'Z, X'y, Z'y.

        With R'R = Z'Z they are RA, R and Rz, followed by X⊥, 0 and y⊥.
        """
        count, rest = len(self.n), self.rest
        k = 2 if rest is None else 2 + rest.y.shape[1]
        x, z, y = np.zeros((count, k, self.n_terms)), np.zeros((count, k, 2)), np.zeros((count, k))
        root_n = np.sqrt(self.n)
        z[:, 0, 0], z[:, 1, 1] = root_n, np.sqrt(self.ss)
        if self.cross is not None:
            z[:, 0, 1] = self.cross / root_n
            z[:, 1, 1] = np.sqrt(np.maximum(self.ss - z[:, 0, 1] ** 2, 0.0))
        x[:, 0, self.level_at] = z[:, 0, 0, None] * self.on_level
        x[:, 0, self.slope_at] += z[:, 0, 1, None] * self.on_slope
        x[:, 1, self.slope_at] = z[:, 1, 1, None] * self.on_slope
        y[:, 0] = z[:, 0, 0] * self.level + z[:, 0, 1] * self.slope
        y[:, 1] = z[:, 1, 1] * self.slope
        if rest is not None:
            x[:, 2:], y[:, 2:] = rest.x, rest.y
        return Rows(x, z, y)


class Constants(NamedTuple):
    """Sums over the rows outside Z."""

    xx: Floats
    xy: Floats
    yy: float


class Rows(NamedTuple):
    """x (P × k × p), z (P × k × 2) and y (P × k)."""

    x: Floats
    z: Floats
    y: Floats


@dataclass(frozen=True)
class Criterion:
    """The criterion at one θ, with derivatives in θ.

    deviance = log_dets + (N − p)(1 + log(2π r²/(N − p))); unscaled_vcov is (X'V⁻¹X)⁻¹, so that
    the covariance of β is σ² times it; vcov_slopes (3 × p × p) are its derivatives in θ;
    log_dets_hessian, r2_gradient and r2_hessian belong to the two parts of the deviance.
    In the directions E of D rather than θ: ``weighted`` is Σ A'WEWA (3 × p × p), score and
    information are the gradient of log_dets and minus its Hessian, which is REML's expected one.
    """

    theta: Floats
    deviance: float
    gradient: Floats
    hessian: Floats
    beta: Floats
    unscaled_vcov: Floats
    vcov_slopes: Floats
    r2: float
    r2_gradient: Floats
    r2_hessian: Floats
    log_dets_hessian: Floats
    weighted: Floats
    score: Floats
    information: Floats


def relative_covariance(theta: Floats) -> Floats:
    """D = ΛΛ' (2 × 2) of θ = (Λ00, Λ10, Λ11)."""
    factor = np.array([[theta[0], 0.0], [theta[1], theta[2]]])
    return np.asarray(factor @ factor.T)


def weights(part: Summaries, covariance: Floats) -> tuple[Floats, Floats]:
    """|I + D G| (length P) and W packed as (w00, w01, w11) (3 × P).

    W = (G + |G| adj D) / |I + D G| is Z'V⁻¹Z; no step cancels, and a participant whose predictor
    does not vary is no exception.
    """
    d00, d01, d11 = covariance[0, 0], covariance[0, 1], covariance[1, 1]
    area = max(d00 * d11 - d01 * d01, 0.0)
    cross = 0.0 if part.cross is None else part.cross
    whole = part.n * part.ss - cross * cross
    det = 1 + d00 * part.n + 2 * d01 * cross + d11 * part.ss + area * whole
    packed = [part.n + d11 * whole, cross - d01 * whole, part.ss + d00 * whole]
    return det, np.stack(packed) / det


def residuals(part: Summaries, beta: Floats, w: Floats) -> tuple[Floats, Floats]:
    """e = z − Aβ and u = We = Z'V⁻¹(y − Xβ), each 2 × P."""
    on_level, on_slope = beta[list(part.level_at)], beta[list(part.slope_at)]
    e = np.stack([part.level - part.on_level @ on_level, part.slope - part.on_slope @ on_slope])
    return e, np.stack([w[0] * e[0] + w[1] * e[1], w[1] * e[0] + w[2] * e[1]])


def leverage(part: Summaries, vcov: Floats) -> Floats:
    """A C A' packed (3 × P) for a p × p matrix C."""
    level, slope = part.on_level, part.on_slope
    levels, slopes = np.array(part.level_at), np.array(part.slope_at)
    return np.stack(
        [
            np.einsum("ij,ij->i", level @ vcov[np.ix_(levels, levels)], level),
            np.einsum("ij,ij->i", level @ vcov[np.ix_(levels, slopes)], slope),
            np.einsum("ij,ij->i", slope @ vcov[np.ix_(slopes, slopes)], slope),
        ]
    )


def crossed(part: Summaries, m: Floats) -> Floats:
    """Σ A'MA (p × p) for one symmetric M per participant, packed 3 × P."""
    level, slope = part.on_level, part.on_slope
    levels, slopes = np.array(part.level_at), np.array(part.slope_at)
    corner = (level.T * m[1]) @ slope
    total = np.zeros((part.n_terms, part.n_terms))
    total[np.ix_(levels, levels)] = (level.T * m[0]) @ level
    total[np.ix_(slopes, slopes)] += (slope.T * m[2]) @ slope
    total[np.ix_(levels, slopes)] += corner
    total[np.ix_(slopes, levels)] += corner.T
    return total


def _project(part: Summaries, first: Floats, second: Floats) -> Floats:
    """Σ A'v (length p) for one pair v per participant."""
    total = np.zeros(part.n_terms)
    total[list(part.level_at)] = first @ part.on_level
    total[list(part.slope_at)] += second @ part.on_slope
    return total


def sandwich(w: Floats, k: Floats) -> Floats:
    """W K W packed (3 × P)."""
    t00, t01 = w[0] * k[0] + w[1] * k[1], w[0] * k[1] + w[1] * k[2]
    t10, t11 = w[1] * k[0] + w[2] * k[1], w[1] * k[1] + w[2] * k[2]
    return np.stack([t00 * w[0] + t01 * w[1], t00 * w[1] + t01 * w[2], t10 * w[1] + t11 * w[2]])


@dataclass
class _Sums:
    """Sums over participants of the second pass; see ``_second_pass``."""

    w: Floats
    q: Floats
    uu: Floats
    w_w: Floats
    w_q: Floats
    w_uu: Floats
    t: Floats
    g: Floats
    r2: float

    def __iadd__(self, other: _Sums) -> _Sums:
        for name in self.__dataclass_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        return self


def _first_pass(summaries: Summaries, covariance: Floats) -> tuple[float, Floats, Floats]:
    """Σ log|I + D G|, X'V⁻¹X and X'V⁻¹y."""
    log_det, xx, xy = 0.0, summaries.constants.xx.copy(), summaries.constants.xy.copy()
    for part in summaries.chunks():
        det, w = weights(part, covariance)
        log_det += float(np.log(det).sum())
        xx += crossed(part, w)
        z0, z1 = part.level, part.slope
        xy += _project(part, w[0] * z0 + w[1] * z1, w[1] * z0 + w[2] * z1)
    return log_det, xx, xy


def _second_pass(part: Summaries, covariance: Floats, beta: Floats, vcov: Floats) -> _Sums:
    """With E one of the directions of D: t = Σ A'WEWA, g = Σ A'WEu; q = WKW with K = A C A'."""
    _, w = weights(part, covariance)
    e, u = residuals(part, beta, w)
    q = sandwich(w, leverage(part, vcov))
    uu = np.stack([u[0] * u[0], u[0] * u[1], u[1] * u[1]])
    square = w * w
    w01, w02, w12 = w[0] * w[1], w[0] * w[2], w[1] * w[2]
    t = np.stack(
        [
            crossed(part, np.stack([square[0], w01, square[1]])),
            crossed(part, np.stack([2 * w01, w02 + square[1], 2 * w12])),
            crossed(part, np.stack([square[1], w12, square[2]])),
        ]
    )
    g = np.stack(
        [
            _project(part, w[0] * u[0], w[1] * u[0]),
            _project(part, w[0] * u[1] + w[1] * u[0], w[1] * u[1] + w[2] * u[0]),
            _project(part, w[1] * u[1], w[2] * u[1]),
        ]
    )
    return _Sums(
        w=w.sum(axis=1),
        q=q.sum(axis=1),
        uu=uu.sum(axis=1),
        w_w=w @ w.T,
        w_q=w @ q.T,
        w_uu=w @ uu.T,
        t=t,
        g=g,
        r2=float((e * u).sum()),
    )


def _bilinear(m: Floats) -> Floats:
    """Σ tr(E W F R) over the directions E, F (3 × 3), from m = Σ w r' of packed W and R."""
    full = m[_PACKED[:, :, None, None], _PACKED[None, None]]
    form = np.einsum("iab,jcd,bcda->ij", DIRECTIONS, DIRECTIONS, full)
    return np.asarray((form + form.T) / 2)


def _jacobian(theta: Floats) -> Floats:
    """Derivatives of (d00, d01, d11) in θ."""
    a, b, c = theta
    return np.array([[2 * a, 0, 0], [b, a, 0], [0, 2 * b, 2 * c]])


def _chain(theta: Floats, gradient: Floats, hessian: Floats) -> tuple[Floats, Floats]:
    """Derivatives in θ from those in (d00, d01, d11)."""
    jacobian = _jacobian(theta)
    g0, g1, g2 = gradient
    bend = np.array([[2 * g0, g1, 0], [g1, 2 * g2, 0], [0, 0, 2 * g2]])
    return jacobian.T @ gradient, jacobian.T @ hessian @ jacobian + bend


def evaluate(summaries: Summaries, theta: Floats) -> Criterion:
    """The criterion and its first two derivatives at θ; two passes over the participants."""
    covariance = relative_covariance(theta)
    log_det, xx, xy = _first_pass(summaries, covariance)
    vcov = np.asarray(np.linalg.inv(xx), dtype=np.float64)
    beta = vcov @ xy
    passes = (_second_pass(part, covariance, beta, vcov) for part in summaries.chunks())
    sums = next(passes)
    for more in passes:
        sums += more
    return _assemble(summaries, theta, log_det, xx, vcov, beta, sums)


def _assemble(
    summaries: Summaries,
    theta: Floats,
    log_det: float,
    xx: Floats,
    vcov: Floats,
    beta: Floats,
    sums: _Sums,
) -> Criterion:
    outside = summaries.constants
    rest = outside.yy - 2 * float(beta @ outside.xy) + float(beta @ outside.xx @ beta)
    df, r2 = summaries.error_df, summaries.residual + rest + sums.r2
    twice = np.array([1.0, 2.0, 1.0])
    c_t = vcov @ sums.t
    score = twice * (sums.w - sums.q)
    bend = _bilinear(2 * sums.w_q - sums.w_w) - np.einsum("iab,jba->ij", c_t, c_t)
    dets = _chain(theta, score, bend)
    r2_parts = _chain(
        theta, -twice * sums.uu, 2 * _bilinear(sums.w_uu) - 2 * sums.g @ vcov @ sums.g.T
    )
    kappa = df / r2
    return Criterion(
        theta=theta,
        deviance=log_det
        + float(np.linalg.slogdet(xx)[1])
        + df * (1 + float(np.log(2 * np.pi * r2 / df))),
        gradient=dets[0] + kappa * r2_parts[0],
        hessian=dets[1] + kappa * r2_parts[1] - kappa**2 / df * np.outer(r2_parts[0], r2_parts[0]),
        beta=beta,
        unscaled_vcov=vcov,
        vcov_slopes=np.einsum("ik,iab->kab", _jacobian(theta), c_t @ vcov),
        r2=r2,
        r2_gradient=r2_parts[0],
        r2_hessian=r2_parts[1],
        log_dets_hessian=dets[1],
        weighted=sums.t,
        score=score,
        information=-bend,
    )


def minimise(summaries: Summaries) -> Criterion:
    """The criterion at its minimum, θ with non-negative diagonal.

    A variance that wants to be zero is exactly zero. Singular answers are sought again from two
    more starts, and the best kept. Raises ValueError when no minimum is found.
    """
    best = _tidy(summaries, _newton(summaries, _start(summaries)))
    if min(best.theta[0], best.theta[2]) == 0:
        for lean in (0.5, -0.5):
            again = _tidy(summaries, _newton(summaries, np.array([1.0, lean, 0.5])))
            best = again if again.deviance < best.deviance - 1e-8 else best
    return best


def _start(summaries: Summaries) -> Floats:
    """Moment estimates of the two relative variances, correlation 0."""
    criterion_beta = _ordinary(summaries)
    e, _ = residuals(summaries, criterion_beta, np.zeros((3, len(summaries.n))))
    size = np.array([len(summaries.n), np.count_nonzero(summaries.ss)])
    spread = np.array([(summaries.n * e[0] ** 2).sum(), (summaries.ss * e[1] ** 2).sum()])
    weight = np.array([summaries.n.sum(), summaries.ss.sum()])
    df = max(summaries.n.sum() - size.sum(), 1.0)
    sigma2 = summaries.residual / df
    variance = np.maximum((spread / sigma2 - size) / weight, 0.5 * size / weight)
    return np.array([np.sqrt(variance[0]), 0.0, np.sqrt(variance[1])])


def _ordinary(summaries: Summaries) -> Floats:
    """Least-squares coefficients, ignoring the random effects."""
    _, xx, xy = _first_pass(summaries, np.zeros((2, 2)))
    return np.asarray(np.linalg.solve(xx, xy), dtype=np.float64)


def _newton(summaries: Summaries, start: Floats) -> Criterion:
    """Newton steps with |eigenvalues| of the Hessian inside a radius that adapts."""
    here = evaluate(summaries, start)
    radius = 1.0 + float(np.linalg.norm(start))
    for _ in range(_MAX_STEPS):
        values, vectors = np.linalg.eigh(here.hessian)
        curvature = np.maximum(np.abs(values), 1e-10 * np.abs(values).max() + 1e-300)
        downhill = -vectors.T @ here.gradient
        step = _step_within(radius, downhill, curvature)
        promise = float(step @ downhill - step @ (curvature * step) / 2)
        there = evaluate(summaries, here.theta + vectors @ step)
        if promise < 1e-12 * abs(here.deviance) + 1e-9:
            # The deviance can no longer tell two steps apart, the gradient still can.
            if promise < 1e-16:
                return there
            here = there
            continue
        kept = (here.deviance - there.deviance) / promise
        if kept < 0.25:
            radius = float(np.linalg.norm(step)) / 4
        elif kept > 0.75:
            radius = max(radius, 2 * float(np.linalg.norm(step)))
        if kept > 0.01:
            here = there
    raise ValueError("the mixed model found no optimum; look at the data for extreme values")


def _step_within(radius: float, downhill: Floats, curvature: Floats) -> Floats:
    """The Newton step along each eigenvector, damped until it is no longer than the radius."""
    damping = 0.0
    step = downhill / curvature
    while np.linalg.norm(step) > radius:
        damping = 2 * damping if damping else float(curvature.min())
        step = downhill / (curvature + damping)
    return np.asarray(step)


def _tidy(summaries: Summaries, found: Criterion) -> Criterion:
    """θ with non-negative diagonal; a variance that is zero but for rounding becomes zero."""
    a, b, c = found.theta
    upright = np.array([abs(a), b if a >= 0 else -b, abs(c)])
    theta = upright.copy()
    if theta[0] < _SNAP:
        theta[:] = 0.0, 0.0, float(np.hypot(b, c))
    if np.hypot(theta[1], theta[2]) < _SNAP:
        theta[1] = 0.0
    if theta[2] < _SNAP:
        theta[2] = 0.0
    tidy = evaluate(summaries, theta)
    if tidy.deviance > found.deviance + 1e-12 * abs(found.deviance) + 1e-9:
        return evaluate(summaries, upright)
    return tidy
