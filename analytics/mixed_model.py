"""The mixed model behind every coupling: REML, a random intercept and slope, any number of arms.

    craving ~ stress_within + stress_between + arm + stress_within:arm + (1 + stress_within | id)

stress_within is stress minus the participant's own mean over complete pairs, stress_between that
mean minus the unweighted mean of the participants' means. Estimates agree with lme4 (Bates et
al. 2015), degrees of freedom with lmerTest's Satterthwaite method (Kuznetsova et al. 2017).
A negative contrast means a weaker coupling than in the reference arm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from analytics.fixed_effects import (
    INTERCEPT,
    WITHIN,
    arms_of,
    columns_of,
    independent,
    public_order,
    refuse_broken_reference,
    refuse_hopeless,
    refuse_saturated,
    within_arm_term,
)
from analytics.moments import Floats, Label, Moments, Within
from analytics.reml import (
    Criterion,
    Summaries,
    leverage,
    minimise,
    relative_covariance,
    residuals,
    weights,
)

_SINGULAR = 1e-4  # lme4's isSingular(tol), here on the scale of the standardised predictor


class Estimate(NamedTuple):
    """A linear combination of fixed effects with its test against zero and 95 % interval."""

    estimate: float
    standard_error: float
    df: float
    t: float
    p: float
    interval: tuple[float, float]


class ArmCoupling(NamedTuple):
    """The coupling in one arm (``arm`` None: no arm model); ``coupling`` None without data."""

    arm: str | None
    n: int
    coupling: Estimate | None


class Contrast(NamedTuple):
    """Coupling in an arm minus coupling in the reference arm."""

    arm: str
    reference: str
    difference: Estimate


@dataclass(frozen=True, eq=False)
class PersonalEffects:
    """Predicted random effects, arrays of length P in the order of the model's participants.

    intercept_deviation, slope_deviation: b_i (BLUP). slope_deviation_sd: conditional SD of b_i
    given the estimates (lme4's condVar). shrunken_slope: fixed + arm + b_i, prediction_error: its
    standard error including that of the fixed effects. reliability: τ²/(τ² + σ²/SS), 0 to 1.
    """

    intercept_deviation: Floats
    slope_deviation: Floats
    slope_deviation_sd: Floats
    shrunken_slope: Floats
    prediction_error: Floats
    reliability: Floats


@dataclass(frozen=True, eq=False)
class Engine:
    """The fit in the units it was computed in, for methods that build on it.

    coefficient_units (p, engine order) turn the engine's coefficients into the items' units;
    order[k] is the engine's position of public term k.
    """

    summaries: Summaries
    criterion: Criterion
    coefficient_units: Floats
    order: NDArray[np.intp]
    level_unit: float
    slope_unit: float


@dataclass(frozen=True, eq=False)
class MixedModel:
    """A fitted model; everything in the items' own units.

    participants and n (pairs) have length P: those with at least one pair. arms: the reference
    first, empty without an arm model; arm_of: the arm of each participant. dropped: terms the
    data cannot estimate. coefficients, vcov: length p and p × p in the order of ``terms``.
    vcov_slopes (4 × p × p): derivatives of vcov in (θ, σ); variance_vcov (4 × 4): asymptotic
    covariance of (θ, σ). correlation is None where a standard deviation is zero.
    """

    participants: tuple[Label, ...]
    n: Floats
    arms: tuple[str, ...]
    arm_of: tuple[str, ...]
    terms: tuple[str, ...]
    dropped: tuple[str, ...]
    coefficients: Floats
    vcov: Floats
    vcov_slopes: Floats
    variance_vcov: Floats
    log_likelihood: float
    sd_intercept: float
    sd_slope: float
    correlation: float | None
    sd_residual: float
    singular: bool
    personal: PersonalEffects
    engine: Engine

    @property
    def n_pairs(self) -> int:
        """Number of pairs in the fit."""
        return int(self.n.sum())

    @property
    def reference(self) -> str | None:
        """The arm the others are compared with."""
        return self.arms[0] if self.arms else None

    def contrast(self, combination: Mapping[str, float]) -> Estimate:
        """Σ weight × term with model-based standard error and Satterthwaite df.

        df = 2 v² / (g'Ag) with v the variance of the combination, g its gradient in the variance
        parameters and A their covariance (Kuznetsova et al. 2017, eq. 4).
        Raises ValueError for a term the model does not have.
        """
        unknown = [term for term in combination if term not in self.terms]
        if unknown:
            raise ValueError(f"no term {unknown[0]!r}; the model has {', '.join(self.terms)}")
        c = np.array([combination.get(term, 0.0) for term in self.terms])
        variance = float(c @ self.vcov @ c)
        gradient = np.einsum("a,kab,b->k", c, self.vcov_slopes, c)
        spread = float(gradient @ self.variance_vcov @ gradient)
        df = 2 * variance**2 / spread if spread > 0 else float(self.engine.summaries.error_df)
        return _estimate(float(c @ self.coefficients), float(np.sqrt(variance)), df)

    def fixed_effects(self) -> dict[str, Estimate]:
        """Every fixed effect by term."""
        return {term: self.contrast({term: 1.0}) for term in self.terms}

    def couplings(self) -> list[ArmCoupling]:
        """The within-person slope in each arm, the reference first."""
        if not self.arms:
            return [ArmCoupling(None, len(self.participants), self.contrast({WITHIN: 1.0}))]
        return [
            ArmCoupling(arm, self.arm_of.count(arm), self._coupling_in(arm)) for arm in self.arms
        ]

    def contrasts(self) -> list[Contrast]:
        """Each arm's coupling minus the reference's; arms without varying stress are left out."""
        return [
            Contrast(arm, self.arms[0], self.contrast({within_arm_term(arm): 1.0}))
            for arm in self.arms[1:]
            if within_arm_term(arm) in self.terms
        ]

    def _coupling_in(self, arm: str) -> Estimate | None:
        if arm == self.reference:
            return self.contrast({WITHIN: 1.0})
        if within_arm_term(arm) in self.terms:
            return self.contrast({WITHIN: 1.0, within_arm_term(arm): 1.0})
        return None


def fit_mixed_model(
    moments: Moments,
    arms: Mapping[Any, str] | None = None,
    reference: str | None = None,
    *,
    all_arms: Sequence[str] | None = None,
    x_scale: float = 1,
    y_scale: float = 1,
) -> MixedModel:
    """Fit the model by REML to moments of stress (x) and craving (y).

    ``arms`` gives each participant's arm and ``reference`` the arm to compare with; without them
    there is no arm model. ``all_arms`` may name arms nobody is in: their terms are reported as
    dropped. Scales divide stored integers into item units (304 with scale 10 is 30.4).
    Takes O(P) time and memory; a fit with a variance of zero or a correlation of ±1 is an answer,
    flagged ``singular``. Raises ValueError, in words, for data that hold no such model.
    """
    kept = moments.select([p for p, n in zip(moments.participants, moments.n, strict=True) if n])
    within = kept.within(x_scale, y_scale)
    refuse_hopeless(within)
    arm_of, levels = arms_of(kept.participants, arms, reference, all_arms)
    columns = columns_of(within, arm_of, levels)
    refuse_broken_reference(within, arm_of, levels)
    level_terms, on_level, no_level = independent(columns[0], within.n)
    slope_terms, on_slope, no_slope = independent(columns[1], within.ss_xx)
    refuse_saturated(within, level_terms, slope_terms)
    units, summaries = _standardised(within, on_level, on_slope)
    criterion = minimise(summaries)
    public = public_order(levels)
    found = level_terms + slope_terms
    engine = Engine(
        summaries,
        criterion,
        units.coefficients,
        np.array([found.index(term) for term in public if term in found]),
        units.y,
        units.y / units.x,
    )
    dropped = tuple(term for term in public if term in no_level + no_slope)
    terms = tuple(term for term in public if term in found)
    offset = {INTERCEPT: units.centre}
    return _in_item_units(kept, within, levels, arm_of, terms, dropped, engine, offset)


def _estimate(estimate: float, standard_error: float, df: float) -> Estimate:
    t = estimate / standard_error
    reach = float(student.ppf(0.975, df)) * standard_error
    p = float(2 * student.sf(abs(t), df))
    return Estimate(estimate, standard_error, df, t, p, (estimate - reach, estimate + reach))


class _Units(NamedTuple):
    x: float
    y: float
    centre: float
    coefficients: Floats


def _standardised(within: Within, on_level: Floats, on_slope: Floats) -> tuple[_Units, Summaries]:
    """Summaries with the predictor's pooled SD, the residual SD and the columns' sizes near 1."""
    pairs = within.n.sum()
    residual = float(within.ss_residual.sum())
    x = float(np.sqrt(within.ss_xx.sum() / pairs))
    y = float(np.sqrt(residual / pairs))
    centre = float((within.n * within.mean_y).sum() / pairs)
    sizes = np.sqrt((within.n @ on_level**2) / pairs)
    units = np.concatenate([y / sizes, np.full(on_slope.shape[1], y / x)])
    summaries = Summaries(
        n=within.n,
        ss=within.ss_xx / x**2,
        level=(within.mean_y - centre) / y,
        slope=within.slope * (x / y),
        on_level=np.ascontiguousarray(on_level / sizes),
        on_slope=on_slope,
        residual=residual / y**2,
    )
    return _Units(x, y, centre, units), summaries


def _variance_vcov(criterion: Criterion, df: float) -> tuple[Floats, float]:
    """2 H⁻¹ for the Hessian H of the deviance in (θ, σ), and σ; flat directions left out."""
    sigma2 = criterion.r2 / df
    sigma = float(np.sqrt(sigma2))
    hessian = np.empty((4, 4))
    hessian[:3, :3] = criterion.log_dets_hessian + criterion.r2_hessian / sigma2
    hessian[:3, 3] = hessian[3, :3] = -2 * criterion.r2_gradient / sigma**3
    hessian[3, 3] = 4 * df / sigma2
    values, vectors = np.linalg.eigh(hessian)
    firm = values > 1e-9 * values.max()
    return 2 * (vectors[:, firm] / values[firm]) @ vectors[:, firm].T, sigma


def _vcov_slopes(criterion: Criterion, sigma: float) -> Floats:
    """Derivatives of σ² (X'V⁻¹X)⁻¹ in (θ, σ)."""
    in_sigma = 2 * sigma * criterion.unscaled_vcov
    return np.concatenate([sigma**2 * criterion.vcov_slopes, in_sigma[None]])


def _in_item_units(
    moments: Moments,
    within: Within,
    levels: tuple[str, ...],
    arm_of: tuple[str, ...],
    terms: tuple[str, ...],
    dropped: tuple[str, ...],
    engine: Engine,
    offset: Mapping[str, float],
) -> MixedModel:
    criterion, order = engine.criterion, engine.order
    df = engine.summaries.error_df
    variance_vcov, sigma = _variance_vcov(criterion, df)
    unit = engine.coefficient_units[order]
    both = np.ix_(order, order)
    covariance = relative_covariance(criterion.theta)
    sds = np.sqrt(np.diag(covariance))
    scale = np.outer(unit, unit)
    # X is rescaled column by column, so log|X'V⁻¹X| moves by the squares of the units.
    log_units = float(np.log(engine.coefficient_units / engine.level_unit).sum())
    deviance = criterion.deviance + 2 * df * np.log(engine.level_unit) - 2 * log_units
    return MixedModel(
        participants=moments.participants,
        n=within.n,
        arms=levels,
        arm_of=arm_of,
        terms=terms,
        dropped=dropped,
        coefficients=criterion.beta[order] * unit + [offset.get(term, 0.0) for term in terms],
        vcov=sigma**2 * criterion.unscaled_vcov[both] * scale,
        vcov_slopes=_vcov_slopes(criterion, sigma)[:, order[:, None], order] * scale,
        variance_vcov=variance_vcov,
        log_likelihood=float(-deviance / 2),
        sd_intercept=float(sds[0] * sigma * engine.level_unit),
        sd_slope=float(sds[1] * sigma * engine.slope_unit),
        correlation=float(covariance[0, 1] / (sds[0] * sds[1])) if sds.all() else None,
        sd_residual=sigma * engine.level_unit,
        singular=bool(min(criterion.theta[0], criterion.theta[2]) < _SINGULAR),
        personal=_personal_effects(engine, covariance, sigma),
        engine=engine,
    )


def _personal_effects(engine: Engine, d: Floats, sigma: float) -> PersonalEffects:
    """BLUPs b = D u; Var(b̂ − b | β) = σ²(D − DWD); Var of the whole slope adds (I − DW)ACA'(…)'."""
    summaries, criterion = engine.summaries, engine.criterion
    _, w = weights(summaries.n, summaries.ss, d)
    _, u = residuals(summaries, criterion.beta, w)
    b = d @ u
    from_intercept, from_slope = (  # the slope's row of D W
        d[1, 0] * w[0] + d[1, 1] * w[1],
        d[1, 0] * w[1] + d[1, 1] * w[2],
    )
    conditional = np.maximum(d[1, 1] - from_intercept * d[0, 1] - from_slope * d[1, 1], 0.0)
    k = leverage(summaries, criterion.unscaled_vcov)
    kept = 1 - from_slope
    fixed = from_intercept**2 * k[0] - 2 * from_intercept * kept * k[1] + kept**2 * k[2]
    p0 = summaries.on_level.shape[1]
    unit = engine.slope_unit
    signal = d[1, 1] * summaries.ss
    return PersonalEffects(
        intercept_deviation=b[0] * engine.level_unit,
        slope_deviation=b[1] * unit,
        slope_deviation_sd=np.sqrt(conditional) * sigma * unit,
        shrunken_slope=(summaries.on_slope @ criterion.beta[p0:] + b[1]) * unit,
        prediction_error=np.sqrt(conditional + fixed) * sigma * unit,
        reliability=signal / (signal + 1),
    )
