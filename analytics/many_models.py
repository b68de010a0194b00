"""Many fits of the coupling model at once, to simulated trials. Pure.

The criterion is that of `analytics.reml`, with an axis of models before that of participants; one
call of NumPy then serves a hundred small fits, whose own arrays are too short to keep it busy.
What has no regular optimum (a variance of zero, say) is marked, and left to
`analytics.mixed_model` to decide.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from analytics.many_designs import Booleans, Designs
from analytics.reml import DIRECTIONS
from analytics.summing import Floats

_MAX_STEPS = 40
_EDGE = 1e-3  # of θ's diagonal: nearer to zero, the fit may be singular
_CONDITION = 1e-8
_PACKED = np.array([[0, 1], [1, 2]])


class Criteria(NamedTuple):
    """`analytics.reml.Criterion` of each model; the first axis is that of models."""

    theta: Floats
    deviance: Floats
    gradient: Floats
    hessian: Floats
    beta: Floats
    unscaled_vcov: Floats
    vcov_slopes: Floats
    r2: Floats
    r2_gradient: Floats
    r2_hessian: Floats
    log_dets_hessian: Floats
    weighted: Floats
    score: Floats
    information: Floats


def weights(designs: Designs, theta: Floats) -> tuple[Floats, Floats]:
    """|I + D G| (M × P) and W packed as (w00, w01, w11) (3 × M × P); see `summaries.weights`."""
    a, b, c = theta.T[:, :, None]
    d00, d01, d11 = a * a, a * b, b * b + c * c
    whole = designs.n * designs.ss
    det = 1 + d00 * designs.n + d11 * designs.ss + (a * c) ** 2 * whole
    return det, np.stack([designs.n + d11 * whole, -d01 * whole, designs.ss + d00 * whole]) / det


def evaluate(designs: Designs, theta: Floats) -> Criteria:
    """The criterion and its derivatives at θ (M × 3)."""
    det, w = weights(designs, theta)
    first, second = designs.on_level, designs.on_slope
    wa = np.stack([_mix(w[0], first, w[1], second), _mix(w[1], first, w[2], second)])
    xx = _cross(first, wa[0]) + _cross(second, wa[1])
    xy = _onto(wa[0], designs.level) + _onto(wa[1], designs.slope)
    vcov = np.asarray(np.linalg.inv(xx), dtype=np.float64)
    beta = np.einsum("mab,mb->ma", vcov, xy)
    e = np.stack([designs.level - _times(first, beta), designs.slope - _times(second, beta)])
    u = np.stack([w[0] * e[0] + w[1] * e[1], w[1] * e[0] + w[2] * e[1]])
    log_det = np.log(det).sum(axis=1) + np.linalg.slogdet(xx)[1]
    r2 = designs.residual + (e * u).sum(axis=(0, 2))
    return _assemble(designs, theta, log_det, r2, vcov, beta, w, wa, u)


def _assemble(
    designs: Designs,
    theta: Floats,
    log_det: Floats,
    r2: Floats,
    vcov: Floats,
    beta: Floats,
    w: Floats,
    wa: Floats,
    u: Floats,
) -> Criteria:
    """As `reml._assemble`; wa (2 × M × P × p) is WA, so that q = WA C (WA)'."""
    corner = _cross(wa[0], wa[1])
    t = np.stack(
        [_cross(wa[0], wa[0]), corner + corner.transpose(0, 2, 1), _cross(wa[1], wa[1])], axis=1
    )
    g = np.stack(
        [_onto(wa[0], u[0]), _onto(wa[0], u[1]) + _onto(wa[1], u[0]), _onto(wa[1], u[1])], axis=1
    )
    spread = wa @ vcov
    q = np.stack([(spread[i] * wa[j]).sum(axis=2) for i, j in ((0, 0), (0, 1), (1, 1))])
    uu = np.stack([u[0] * u[0], u[0] * u[1], u[1] * u[1]])
    twice, c_t = np.array([1.0, 2.0, 1.0]), vcov[:, None] @ t
    score = twice * (w - q).sum(axis=2).T
    bend = _bilinear(w, 2 * q - w) - np.einsum("miab,mjba->mij", c_t, c_t)
    dets = _chain(theta, score, bend)
    in_g = g @ vcov @ g.transpose(0, 2, 1)
    r2_parts = _chain(theta, -twice * uu.sum(axis=2).T, 2 * _bilinear(w, uu) - 2 * in_g)
    df = designs.error_df
    kappa = df / r2
    outer = r2_parts[0][:, :, None] * r2_parts[0][:, None]
    return Criteria(
        theta=theta,
        deviance=log_det + df * (1 + np.log(2 * np.pi * r2 / df)),
        gradient=dets[0] + kappa[:, None] * r2_parts[0],
        hessian=dets[1] + kappa[:, None, None] * (r2_parts[1] - outer / r2[:, None, None]),
        beta=beta,
        unscaled_vcov=vcov,
        vcov_slopes=np.einsum("mik,miab->mkab", _jacobian(theta), c_t @ vcov[:, None]),
        r2=r2,
        r2_gradient=r2_parts[0],
        r2_hessian=r2_parts[1],
        log_dets_hessian=dets[1],
        weighted=t,
        score=score,
        information=-bend,
    )


def optima(designs: Designs) -> tuple[Criteria, Booleans]:
    """Each criterion at its minimum, by Newton steps as in `reml`, and whether it is regular."""
    here = evaluate(designs, _start(designs))
    radius = 1 + np.linalg.norm(here.theta, axis=1)
    settled = np.zeros(len(radius), dtype=bool)
    for _ in range(_MAX_STEPS):
        values, vectors = np.linalg.eigh(here.hessian)
        curvature = np.maximum(np.abs(values), 1e-10 * np.abs(values).max(axis=1)[:, None] + 1e-300)
        downhill = -np.einsum("mab,ma->mb", vectors, here.gradient)
        step = downhill / curvature
        length = np.linalg.norm(step, axis=1)
        step *= np.minimum(1.0, radius / np.maximum(length, 1e-300))[:, None]
        length = np.minimum(length, radius)
        promise = (step * (downhill - curvature * step / 2)).sum(axis=1)
        there = evaluate(designs, here.theta + np.einsum("mab,mb->ma", vectors, step))
        # The deviance can no longer tell two steps apart, the gradient still can.
        tiny = promise < 1e-12 * np.abs(here.deviance) + 1e-9
        kept = (here.deviance - there.deviance) / np.maximum(promise, 1e-300)
        radius = np.where(~tiny & (kept < 0.25), length / 4, radius)
        radius = np.where(kept > 0.75, np.maximum(radius, 2 * length), radius)
        better = ~settled & (tiny | (kept > 0.01))
        here = Criteria(*(_choose(better, new, old) for new, old in zip(there, here, strict=True)))
        settled |= promise < 1e-16
        if settled.all():
            break
    inside = np.abs(here.theta[:, (0, 2)]).min(axis=1) > _EDGE
    return here, settled & inside & _well_conditioned(here.unscaled_vcov)


def _well_conditioned(vcov: Floats) -> Booleans:
    values = np.linalg.eigvalsh(vcov)
    return np.asarray(values[:, 0] > _CONDITION * values[:, -1])


def _start(designs: Designs) -> Floats:
    """As `reml._start`: moment estimates of the two relative variances, correlation 0."""
    nothing = np.zeros((len(designs.residual), 3))
    beta = evaluate(designs, nothing).beta
    e = (
        designs.level - _times(designs.on_level, beta),
        designs.slope - _times(designs.on_slope, beta),
    )
    weight = np.stack([designs.n.sum(axis=1), designs.ss.sum(axis=1)])
    size = np.stack([(designs.n > 0).sum(axis=1), (designs.ss > 0).sum(axis=1)])
    spread = np.stack([(designs.n * e[0] ** 2).sum(axis=1), (designs.ss * e[1] ** 2).sum(axis=1)])
    sigma2 = designs.residual / np.maximum(weight[0] - size.sum(axis=0), 1.0)
    variance = np.maximum((spread / sigma2 - size) / weight, 0.5 * size / weight)
    return np.stack([np.sqrt(variance[0]), nothing[:, 1], np.sqrt(variance[1])], axis=1)


def slope_scores(designs: Designs, found: Criteria) -> Floats:
    """Everybody's efficient score of the slope (M × P); see `permutation.slope_scores`."""
    w = weights(designs, found.theta)[1]
    level = designs.level - _times(designs.on_level, found.beta)
    slope = designs.slope - _times(designs.on_slope, found.beta)
    foretold = (w[1].sum(axis=-1) / w[0].sum(axis=-1))[:, None]
    return np.asarray(w[1] * level + w[2] * slope - foretold * (w[0] * level + w[1] * slope))


def _choose(mask: Booleans, one: Floats, other: Floats) -> Floats:
    return np.where(mask.reshape(-1, *(1,) * (one.ndim - 1)), one, other)


def _mix(w0: Floats, one: Floats, w1: Floats, other: Floats) -> Floats:
    return w0[:, :, None] * one + w1[:, :, None] * other


def _cross(one: Floats, other: Floats) -> Floats:
    """Σ a b' over people (M × p × p)."""
    return one.transpose(0, 2, 1) @ other


def _onto(columns: Floats, values: Floats) -> Floats:
    """Σ a v over people (M × p)."""
    return np.asarray((values[:, None] @ columns)[:, 0])


def _times(columns: Floats, beta: Floats) -> Floats:
    """a'β of everybody (M × P)."""
    return np.asarray((columns @ beta[:, :, None])[:, :, 0])


def _bilinear(w: Floats, r: Floats) -> Floats:
    """Σ tr(E W F R) over the directions E, F (M × 3 × 3), of packed W and R."""
    m = np.einsum("imp,jmp->mij", w, r)
    full = m[:, _PACKED[:, :, None, None], _PACKED[None, None]]
    form = np.einsum("iab,jcd,mbcda->mij", DIRECTIONS, DIRECTIONS, full, optimize=True)
    return np.asarray((form + form.transpose(0, 2, 1)) / 2)


def _jacobian(theta: Floats) -> Floats:
    """Derivatives of (d00, d01, d11) in θ (M × 3 × 3)."""
    a, b, c = theta.T
    nothing = np.zeros_like(a)
    rows = [2 * a, nothing, nothing], [b, a, nothing], [nothing, 2 * b, 2 * c]
    return np.stack([np.stack(row, axis=1) for row in rows], axis=1)


def _chain(theta: Floats, gradient: Floats, hessian: Floats) -> tuple[Floats, Floats]:
    """Derivatives in θ from those in (d00, d01, d11)."""
    jacobian = _jacobian(theta)
    turned = jacobian.transpose(0, 2, 1)
    bend = np.zeros_like(hessian)
    bend[:, 0, 0] = 2 * gradient[:, 0]
    bend[:, 0, 1] = bend[:, 1, 0] = gradient[:, 1]
    bend[:, 1, 1] = bend[:, 2, 2] = 2 * gradient[:, 2]
    return (turned @ gradient[:, :, None])[:, :, 0], turned @ hessian @ jacobian + bend
