"""Cluster-robust standard errors: participants may differ in more than the model says.

CR2 with Satterthwaite degrees of freedom (Bell & McCaffrey 2002; Pustejovsky & Tipton 2018), as
clubSandwich gives for a fit of lmer; CR0 and CR1 beside it. With Φ = (X'V⁻¹X)⁻¹ and, per
participant, S = V − XΦX' (the covariance of the residuals over σ² if the model holds),

    CR2:  A = L (L'SL)^(−1/2) L' where V = LL', so that A S A = V;   CR0: A = I;   CR1: √(m/(m−1)) I
    g = X'V⁻¹A e,   covariance = Φ (Σ gg') Φ.

For a contrast c let h = A V⁻¹XΦc, v = h'Vh and a = X'h. If the model holds, the estimated
variance is a quadratic form in y whose mean is Σ (v − a'Φa) and whose variance is twice
Σ v² − 2 Σ v a'Φa + tr((Φ Σaa')²): the double sum over pairs of participants collapses.

Rows are replaced by the few that stand for them (`Summaries.rows`): outside the span of a
participant's X and Z, V is σ²I and A is the identity, so nothing is lost.
"""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple

import numpy as np
from scipy.stats import f as fisher

from analytics.kenward_roger import FTest
from analytics.reml import Criterion
from analytics.summaries import Summaries, relative_covariance
from analytics.summing import Floats

_FLAT = 1e-9  # an eigenvalue that is zero but for rounding, relative to the largest


class Correction(StrEnum):
    """How residuals are corrected for having been fitted."""

    CR0 = "CR0"
    CR1 = "CR1"
    CR2 = "CR2"


class Robust(NamedTuple):
    """Covariance of the coefficients (p × p), and the df of each of m contrasts (length m)."""

    covariance: Floats
    df: Floats


class _Part(NamedTuple):
    """Of a chunk: x, e, the Cholesky factor of V, and A V⁻¹X (all P × k × …)."""

    x: Floats
    residual: Floats
    v_factor: Floats
    adjusted: Floats


def robust(
    summaries: Summaries,
    criterion: Criterion,
    contrasts: Floats,
    correction: Correction = Correction.CR2,
) -> Robust:
    """Robust covariance and the df of the contrasts (m × p); one pass over the participants.

    Raises ValueError for a contrast that hangs on one participant: no residual is left to judge it.
    """
    vcov, p, m = criterion.unscaled_vcov, summaries.n_terms, len(contrasts)
    meat, outer = np.zeros((p, p)), np.zeros((m, p, p))
    mean, own = np.zeros(m), np.zeros(m)
    for part in summaries.chunks():
        rows = _adjusted(part, criterion, correction)
        score = np.einsum("ikp,ik->ip", rows.adjusted, rows.residual)
        meat += score.T @ score
        h = rows.adjusted @ (vcov @ contrasts.T)
        v = ((rows.v_factor.transpose(0, 2, 1) @ h) ** 2).sum(axis=1)
        a = h.transpose(0, 2, 1) @ rows.x
        k = ((a @ vcov) * a).sum(axis=2)
        mean += (v - k).sum(axis=0)
        own += (v * (v - 2 * k)).sum(axis=0)
        outer += np.einsum("imp,imq->mpq", a, a, optimize=True)
    # A S A = V wherever S is not flat, so the expected variance is the model's unless some is lost.
    whole = np.einsum("ma,ab,mb->m", contrasts, vcov, contrasts)
    if correction is Correction.CR2 and np.any(np.abs(mean - whole) > 1e-4 * whole):
        raise ValueError(
            "a contrast hangs on a single participant, so no cluster-robust error can be given"
        )
    turned = vcov @ outer
    df = mean**2 / (own + np.einsum("mpq,mqp->m", turned, turned))
    if correction is Correction.CR1:
        meat *= len(summaries.n) / (len(summaries.n) - 1)
    return Robust(vcov @ meat @ vcov, df)


def hotelling(
    summaries: Summaries, criterion: Criterion, contrasts: Floats, estimates: Floats
) -> FTest:
    """Approximate Hotelling T² test that all q contrasts are zero, with CR2 (clubSandwich's HTZ).

    η = q(q + 1) / Σ Var of the whitened covariance's elements (Tipton & Pustejovsky 2015).
    """
    covariance = robust(summaries, criterion, contrasts).covariance
    q, eta = len(contrasts), _eta(summaries, criterion, contrasts)
    spread = contrasts @ covariance @ contrasts.T
    t2 = float(estimates @ np.linalg.solve(spread, estimates))
    df = eta - q + 1
    if df <= 0:
        raise ValueError(
            f"too few participants to test {q} contrasts together with CR2 (η = {eta:.2f})"
        )
    f = df / (eta * q) * t2
    return FTest(f, q, df, float(fisher.sf(f, q, df)))


def without_each(summaries: Summaries, criterion: Criterion) -> Floats:
    """Coefficients with each participant left out in turn (P × p), the variances kept.

    β − Φ X'S⁻¹e, which is exact for the given variances; only their own change is ignored. NaN for
    a participant without whom a term could not be estimated.
    """
    moved = []
    for part in summaries.chunks():
        rows = part.rows()
        v = _covariance(rows.z, criterion)
        s = v - rows.x @ criterion.unscaled_vcov @ rows.x.transpose(0, 2, 1)
        e = rows.y - rows.x @ criterion.beta
        moved.append(np.einsum("ikp,ik->ip", rows.x, _solve_some(s, e)) @ criterion.unscaled_vcov)
    return np.asarray(criterion.beta - np.concatenate(moved))


def _covariance(z: Floats, criterion: Criterion) -> Floats:
    inner = z @ relative_covariance(criterion.theta) @ z.transpose(0, 2, 1)
    return np.asarray(np.eye(z.shape[1]) + inner)


def _adjusted(part: Summaries, criterion: Criterion, correction: Correction) -> _Part:
    """A V⁻¹X of each participant, with what goes with it."""
    rows = part.rows()
    factor = np.asarray(np.linalg.cholesky(_covariance(rows.z, criterion)), dtype=np.float64)
    scaled = np.asarray(np.linalg.solve(factor, rows.x), dtype=np.float64)  # L⁻¹X
    e = rows.y - rows.x @ criterion.beta
    turned = factor.transpose(0, 2, 1)
    if correction is not Correction.CR2:
        unadjusted = np.asarray(np.linalg.solve(turned, scaled), dtype=np.float64)
        return _Part(rows.x, e, factor, unadjusted)
    s = np.eye(scaled.shape[1]) - scaled @ criterion.unscaled_vcov @ scaled.transpose(0, 2, 1)
    around = turned @ factor
    root = _inverse_root(around @ s @ around)
    return _Part(rows.x, e, factor, factor @ root @ scaled)


def _inverse_root(matrices: Floats) -> Floats:
    """The inverse square root of each positive semidefinite matrix, 0 where it is flat."""
    values, vectors = np.linalg.eigh(matrices)
    there = values > _FLAT * values[:, -1:]
    power = np.where(there, 1 / np.sqrt(np.where(there, values, 1.0)), 0.0)
    return np.asarray((vectors * power[:, None]) @ vectors.transpose(0, 2, 1))


def _solve_some(matrices: Floats, right: Floats) -> Floats:
    """Solutions; NaN where a matrix is flat: the participant alone holds a term."""
    values, vectors = np.linalg.eigh(matrices)
    whole = np.all(values > _FLAT * values[:, -1:], axis=1, keepdims=True)
    turned = np.einsum("iab,ia->ib", vectors, right)
    turned = np.divide(turned, values, out=np.full_like(turned, np.nan), where=whole)
    return np.asarray(np.einsum("iab,ib->ia", vectors, turned))


def _eta(summaries: Summaries, criterion: Criterion, contrasts: Floats) -> float:
    """Of the contrasts made uncorrelated with variance 1.

    With b_st,ij = h_si'Cov(e_i, e_j)h_tj = δ_ij v_st − a_si'Φa_tj, the variance of an element is
    Σ_ij (b_ss b_tt + b_st b_ts).
    """
    vcov, q, p = criterion.unscaled_vcov, len(contrasts), summaries.n_terms
    values, vectors = np.linalg.eigh(contrasts @ vcov @ contrasts.T)
    white = (vectors / np.sqrt(values)) @ vectors.T @ contrasts
    own = np.zeros((q,) * 4)
    outer = np.zeros((q, q, p, p))
    for part in summaries.chunks():
        rows = _adjusted(part, criterion, Correction.CR2)
        h = rows.adjusted @ (vcov @ white.T)
        root = rows.v_factor.transpose(0, 2, 1) @ h
        v = root.transpose(0, 2, 1) @ root
        a = h.transpose(0, 2, 1) @ rows.x
        k = a @ vcov @ a.transpose(0, 2, 1)
        own += np.einsum("ist,iuw->stuw", v, v - k) - np.einsum("ist,iuw->stuw", k, v)
        outer += np.einsum("isp,itq->stpq", a, a)
    turned = vcov @ outer
    pairs = own + np.einsum("usab,twba->stuw", turned, turned)
    return float(q * (q + 1) / (np.einsum("sstt->", pairs) + np.einsum("stts->", pairs)))
