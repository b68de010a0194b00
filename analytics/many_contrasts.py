"""One contrast of many fits at once: estimate, standard error, df and p, by method. Pure.

What `MixedModel.contrast` says of each of them; see `analytics.kenward_roger` and
`analytics.sandwich` for the formulas, which are the same here with an axis of models in front.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

from analytics.kenward_roger import approximation
from analytics.many_designs import Booleans, Designs
from analytics.many_models import Criteria, weights
from analytics.mixed_model import Method
from analytics.reml import DIRECTIONS
from analytics.summing import Floats

_LOST = 1e-4  # of a CR2 variance, relative: a contrast that hangs on a single participant
_FLAT = 1e-9


class Contrasts(NamedTuple):
    """Of M models, in craving points per stress point; NaN where the method gives none."""

    estimate: Floats
    standard_error: Floats
    df: Floats
    p: Floats


def contrasts(designs: Designs, found: Criteria, contrast: Floats, method: Method) -> Contrasts:
    """The combination (length p) of coefficients of slopes, in each model."""
    if method is Method.SATTERTHWAITE:
        variance, df = _satterthwaite(designs, found, contrast)
    elif method is Method.KENWARD_ROGER:
        variance, df = _kenward_roger(designs, found, contrast)
    else:
        variance, df = _robust(designs, found, contrast, method)
    estimate = found.beta @ contrast
    error = np.sqrt(variance)
    p: Floats = np.asarray(2 * student.sf(np.abs(estimate / error), df))
    return Contrasts(estimate * designs.unit, error * designs.unit, df, p)


def model_variance(designs: Designs, found: Criteria, contrast: Floats) -> Floats:
    """The model's own variance of the combination, in the engine's units (M)."""
    return _form(found.unscaled_vcov, contrast) * found.r2 / designs.error_df


def _form(matrices: Floats, contrast: Floats) -> Floats:
    return np.asarray(matrices @ contrast @ contrast)


def _satterthwaite(designs: Designs, found: Criteria, contrast: Floats) -> tuple[Floats, Floats]:
    """df = 2v²/(g'Ag) with A twice the inverse Hessian of the deviance in (θ, σ)."""
    error_df = designs.error_df
    sigma2 = found.r2 / error_df
    hessian = np.empty((len(sigma2), 4, 4))
    hessian[:, :3, :3] = found.log_dets_hessian + found.r2_hessian / sigma2[:, None, None]
    hessian[:, :3, 3] = hessian[:, 3, :3] = -2 * found.r2_gradient / sigma2[:, None] ** 1.5
    hessian[:, 3, 3] = 4 * error_df / sigma2
    variance = model_variance(designs, found, contrast)
    gradient = np.empty((len(sigma2), 4))
    gradient[:, :3] = _form(found.vcov_slopes, contrast) * sigma2[:, None]
    gradient[:, 3] = 2 * variance / np.sqrt(sigma2)
    spread = 2 * (gradient * np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]).sum(axis=1)
    return variance, 2 * variance**2 / spread


def _kenward_roger(designs: Designs, found: Criteria, contrast: Floats) -> tuple[Floats, Floats]:
    vcov, weighted = found.unscaled_vcov, found.weighted
    information = np.empty((len(vcov), 4, 4))
    information[:, :3, :3] = found.information
    information[:, :3, 3] = information[:, 3, :3] = found.score
    information[:, 3, 3] = designs.error_df
    components = 2 * np.asarray(np.linalg.inv(information), dtype=np.float64)
    inner = _second_moments(designs, found, components[:, :3, :3])
    through = vcov[:, None] @ weighted  # m, s: C T_s
    inner -= np.einsum(
        "mrs,mrab,msbd->mad", components[:, :3, :3], weighted, through, optimize=True
    )
    adjusted = _form(vcov + 2 * vcov @ inner @ vcov, contrast)
    plain = _form(vcov, contrast)
    own = np.concatenate(
        [_form(vcov[:, None] @ weighted @ vcov[:, None], contrast), plain[:, None]], 1
    )
    a = np.einsum("mr,mrs,ms->m", own, components, own) / plain**2
    # With one contrast u has rank one, so both of Kenward and Roger's sums are the same.
    df = np.array([approximation(1, float(each), float(each))[1] for each in a])
    return adjusted * found.r2 / designs.error_df, df


def _second_moments(designs: Designs, found: Criteria, components: Floats) -> Floats:
    """Σ_EF components_EF Σ A'WEWFWA (M × p × p)."""
    w = weights(designs, found.theta)[1]
    full = np.einsum("mrs,rac,sdb->mabcd", components, DIRECTIONS, DIRECTIONS, optimize=True)
    packed = np.stack([full[:, i, j] for i, j in ((0, 0), (0, 1), (1, 1))], axis=1)
    folded = packed[:, :, 0, 0], packed[:, :, 0, 1] + packed[:, :, 1, 0], packed[:, :, 1, 1]
    middle = np.einsum("mij,jmp->imp", np.stack(folded, axis=2), w)
    first, second = designs.on_level, designs.on_slope
    one = w[0][:, :, None] * first + w[1][:, :, None] * second
    two = w[1][:, :, None] * first + w[2][:, :, None] * second
    m00, m01, m11 = middle[:, :, :, None]
    return np.asarray(
        one.transpose(0, 2, 1) @ (m00 * one + m01 * two)
        + two.transpose(0, 2, 1) @ (m01 * one + m11 * two)
    )


def _robust(
    designs: Designs, found: Criteria, contrast: Floats, method: Method
) -> tuple[Floats, Floats]:
    """CR0, CR1 or CR2 and their df; NaN where the contrast hangs on a single participant."""
    vcov, toward = found.unscaled_vcov, found.unscaled_vcov @ contrast
    roots = np.sqrt(designs.n), np.sqrt(designs.ss)
    x = np.stack([roots[0][:, :, None] * designs.on_level, roots[1][:, :, None] * designs.on_slope])
    e = np.stack([roots[0] * designs.level, roots[1] * designs.slope])
    e = e - (x @ found.beta[:, :, None])[..., 0]
    factor = _factor(designs, found.theta)
    h, l_h = _adjusted(x, factor, vcov, toward, method)
    meat = (h * e).sum(axis=0) ** 2
    v = (l_h * l_h).sum(axis=0)
    a = (h[..., None] * x).sum(axis=0)
    k = ((a @ vcov) * a).sum(axis=2)
    mean, plain = (v - k).sum(axis=1), _form(vcov, contrast)
    turned = vcov @ (a.transpose(0, 2, 1) @ a)
    df = mean**2 / ((v * (v - 2 * k)).sum(axis=1) + np.einsum("mpq,mqp->m", turned, turned))
    variance = meat.sum(axis=1)
    if method is Method.CR1:
        people = (designs.n > 0).sum(axis=1)
        variance = variance * people / (people - 1)
    lost: Booleans = (method is Method.CR2) & (np.abs(mean - plain) > _LOST * plain)
    return np.where(lost, np.nan, variance), df


def _factor(designs: Designs, theta: Floats) -> tuple[Floats, Floats, Floats]:
    """(l00, l10, l11) of the Cholesky factor of V = I + √G D √G of everybody."""
    a, b, c = theta.T[:, :, None]
    root_n, root_ss = np.sqrt(designs.n), np.sqrt(designs.ss)
    l00 = np.sqrt(1 + a * a * designs.n)
    l10 = a * b * root_n * root_ss / l00
    return l00, l10, np.sqrt(np.maximum(1 + (b * b + c * c) * designs.ss - l10 * l10, 0.0))


def _adjusted(
    x: Floats,
    factor: tuple[Floats, Floats, Floats],
    vcov: Floats,
    toward: Floats,
    method: Method,
) -> tuple[Floats, Floats]:
    """h = A V⁻¹XΦc and L'h of everybody, each 2 × M × P."""
    l00, l10, l11 = factor
    first = x[0] / l00[:, :, None]
    scaled = np.stack([first, (x[1] - l10[:, :, None] * first) / l11[:, :, None]])  # L⁻¹X
    s = (scaled @ toward[:, :, None])[..., 0]  # L⁻¹XΦc
    if method is not Method.CR2:
        second = s[1] / l11
        return np.stack([(s[0] - l10 * second) / l00, second]), s
    spread = scaled @ vcov
    s00, s01, s11 = (
        float(i == j) - (spread[i] * scaled[j]).sum(axis=2) for i, j in ((0, 0), (0, 1), (1, 1))
    )
    root = _inverse_root(*_around((l00, l10, l11), s00, s01, s11))
    turned = np.stack([root[0] * s[0] + root[1] * s[1], root[1] * s[0] + root[2] * s[1]])
    h = np.stack([l00 * turned[0], l10 * turned[0] + l11 * turned[1]])
    return h, np.stack([l00 * h[0] + l10 * h[1], l11 * h[1]])


def _around(
    factor: tuple[Floats, Floats, Floats], s00: Floats, s01: Floats, s11: Floats
) -> tuple[Floats, Floats, Floats]:
    """L'L S L'L, packed."""
    l00, l10, l11 = factor
    b00, b01, b11 = l00 * l00 + l10 * l10, l10 * l11, l11 * l11
    t00, t01 = b00 * s00 + b01 * s01, b00 * s01 + b01 * s11
    t10, t11 = b01 * s00 + b11 * s01, b01 * s01 + b11 * s11
    return t00 * b00 + t01 * b01, t00 * b01 + t01 * b11, t10 * b01 + t11 * b11


def _inverse_root(m00: Floats, m01: Floats, m11: Floats) -> tuple[Floats, Floats, Floats]:
    """The inverse square root of 2 × 2 matrices, packed; NaN where a matrix is flat.

    √M = (M + √|M| I)/√(tr M + 2 √|M|), by Cayley and Hamilton.
    """
    det, trace = m00 * m11 - m01 * m01, m00 + m11
    root = np.sqrt(np.where(det > _FLAT * trace**2, det, np.nan))
    scale = 1 / (root * np.sqrt(trace + 2 * root))
    return (m11 + root) * scale, -m01 * scale, (m00 + root) * scale
