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

from dataclasses import dataclass

import numpy as np

from analytics.summaries import (
    Summaries,
    crossed,
    leverage,
    project,
    relative_covariance,
    residuals,
    sandwich,
    weights,
)
from analytics.summing import Floats

_MAX_STEPS = 200
_SNAP = 1e-5
# The directions E of D (d00, d01, d11), and where each element of a symmetric 2 × 2 is packed.
DIRECTIONS = np.array([[[1, 0], [0, 0]], [[0, 1], [1, 0]], [[0, 0], [0, 1]]], dtype=np.float64)
_PACKED = np.array([[0, 1], [1, 2]])


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
        xy += project(part, w[0] * z0 + w[1] * z1, w[1] * z0 + w[2] * z1)
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
            project(part, w[0] * u[0], w[1] * u[0]),
            project(part, w[0] * u[1] + w[1] * u[0], w[1] * u[1] + w[2] * u[0]),
            project(part, w[1] * u[1], w[2] * u[1]),
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
