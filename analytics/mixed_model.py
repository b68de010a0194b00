"""The mixed model behind every coupling: REML, a random intercept and slope, any number of arms.

    craving ~ stress_within + stress_between + arm + stress_within:arm + (1 + stress_within | id)

stress_within is stress minus the participant's own mean over complete pairs, stress_between that
mean minus the unweighted mean of the participants' means. Estimates agree with lme4 (Bates et
al. 2015), degrees of freedom with lmerTest's Satterthwaite method (Kuznetsova et al. 2017).
A negative contrast means a weaker coupling than in the reference arm.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from scipy.stats import t as student

from analytics.design import Design, summarise
from analytics.fixed_effects import (
    INTERCEPT,
    WITHIN,
    arms_of,
    coupling_design,
    refuse_broken_reference,
    refuse_hopeless,
    refuse_saturated,
    refuse_too_few_rows,
    within_arm_term,
)
from analytics.gram import Gram
from analytics.kenward_roger import FTest, KenwardRoger, kenward_roger
from analytics.moments import Label, Moments
from analytics.prediction import Engine, PersonalEffects, as_reported, personal_effects
from analytics.reml import Criterion, minimise
from analytics.sandwich import Correction, hotelling, robust
from analytics.summaries import relative_covariance
from analytics.summing import Floats

Combination: TypeAlias = Mapping[str, float]  # weights by term

_SINGULAR = 1e-4  # lme4's isSingular(tol), here on the scale of the standardised predictor


class Method(StrEnum):
    """Whose standard error and degrees of freedom."""

    SATTERTHWAITE = "satterthwaite"  # the model's error, lmerTest's df
    KENWARD_ROGER = "kenward_roger"
    CR0 = "CR0"
    CR1 = "CR1"
    CR2 = "CR2"


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

    def contrast(self, combination: Combination, method: Method = Method.SATTERTHWAITE) -> Estimate:
        """Σ weight × term; standard error and df by the method. See ``contrasts_of``."""
        return self.contrasts_of([combination], method)[0]

    def contrasts_of(
        self, combinations: Sequence[Combination], method: Method = Method.SATTERTHWAITE
    ) -> list[Estimate]:
        """Several combinations at once, which costs one pass over the participants.

        Satterthwaite: df = 2 v² / (g'Ag) with v the variance of the combination, g its gradient in
        the variance parameters and A their covariance (Kuznetsova et al. 2017, eq. 4). The others:
        `analytics.kenward_roger`, `analytics.sandwich`. Raises ValueError for an unknown term.
        """
        weights_of = np.array([self.weights_of(each) for each in combinations])
        covariance, df = self.covariance(method, weights_of)
        errors = np.sqrt(np.einsum("ma,ab,mb->m", weights_of, covariance, weights_of))
        numbers = zip(weights_of @ self.coefficients, errors, df, strict=True)
        return [estimate_of(float(e), float(se), float(one)) for e, se, one in numbers]

    def covariance(self, method: Method, contrasts: Floats) -> tuple[Floats, Floats]:
        """Covariance of the coefficients (p × p) and the df of the contrasts (m × p), by method."""
        engine, unit = self.engine, self.engine.units.coefficients
        if method is Method.SATTERTHWAITE:
            return self.vcov, np.array([self._satterthwaite(c) for c in contrasts])
        if method is Method.KENWARD_ROGER:
            adjusted = self.kenward_roger
            df = np.array([adjusted.df(c) for c in contrasts * unit])
            return engine.sigma2 * adjusted.adjusted * np.outer(unit, unit), df
        correction = Correction(method)
        found = robust(engine.summaries, engine.criterion, contrasts * unit, correction)
        return found.covariance * np.outer(unit, unit), found.df

    def omnibus(
        self, combinations: Sequence[Combination], method: Method = Method.KENWARD_ROGER
    ) -> FTest:
        """F test that all combinations, of full rank, are zero; Kenward–Roger or CR2."""
        contrasts = np.array([self.weights_of(each) for each in combinations])
        if np.linalg.matrix_rank(contrasts) < len(contrasts):
            raise ValueError("these contrasts depend on each other; leave out what follows")
        contrasts = contrasts * self.engine.units.coefficients
        estimates = contrasts @ self.engine.criterion.beta
        if method is Method.KENWARD_ROGER:
            return self.kenward_roger.test(contrasts, estimates, self.engine.sigma2)
        if method is Method.CR2:
            return hotelling(self.engine.summaries, self.engine.criterion, contrasts, estimates)
        raise ValueError(f"an omnibus test is made by Kenward–Roger or CR2, not {method}")

    @cached_property
    def kenward_roger(self) -> KenwardRoger:
        """The adjusted covariance, in the engine's units."""
        return kenward_roger(self.engine.summaries, self.engine.criterion)

    def weights_of(self, combination: Combination) -> Floats:
        """The combination as a vector. Raises ValueError for a term the model does not have."""
        unknown = [term for term in combination if term not in self.terms]
        if unknown:
            raise ValueError(f"no term {unknown[0]!r}; the model has {', '.join(self.terms)}")
        return np.array([combination.get(term, 0.0) for term in self.terms])

    def _satterthwaite(self, contrast: Floats) -> float:
        variance = float(contrast @ self.vcov @ contrast)
        gradient = np.einsum("a,kab,b->k", contrast, self.vcov_slopes, contrast)
        spread = float(gradient @ self.variance_vcov @ gradient)
        return 2 * variance**2 / spread if spread > 0 else float(self.engine.summaries.error_df)

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
    gram = Gram.from_moments(moments, "stress", "craving").with_rows()
    centred = gram.centred({"stress": x_scale, "craving": y_scale})
    arm_of, levels = arms_of(gram.participants, arms, reference, all_arms)
    return fit_design(coupling_design(centred, arm_of, levels))


def fit_design(design: Design) -> MixedModel:
    """Fit any design by REML; see ``fit_mixed_model`` for what is refused and what is dropped."""
    within = design.pairs
    refuse_hopeless(replace(within, n=design.centred.counts))
    refuse_broken_reference(within, design.arm_of, design.arms)
    terms, units, summaries = summarise(design)
    refuse_too_few_rows(summaries.n_rows, terms)
    refuse_saturated(within, *_levels_and_slopes(design, terms))
    criterion = minimise(summaries)
    own = np.stack([design.slope_on_predictor(term) for term in terms], axis=1)
    own *= units.coefficients / (units.y / units.x)
    engine = Engine(summaries, criterion, units, criterion.r2 / summaries.error_df, own)
    dropped = tuple(term for term in design.fixed if term not in terms)
    return _in_item_units(design, terms, dropped, engine)


def _levels_and_slopes(design: Design, terms: tuple[str, ...]) -> tuple[list[str], list[str]]:
    """Terms that belong to the participant alone, and those that are slopes on the predictor."""
    levels = [term for term in terms if not design.fixed[term].parts]
    slopes = [term for term in terms if set(design.fixed[term].parts) == {design.predictor}]
    return levels, slopes


def estimate_of(estimate: float, standard_error: float, df: float) -> Estimate:
    """Student's t against zero, two-sided, and the 95 % interval."""
    t = estimate / standard_error
    reach = float(student.ppf(0.975, df)) * standard_error
    p = float(2 * student.sf(abs(t), df))
    return Estimate(estimate, standard_error, df, t, p, (estimate - reach, estimate + reach))


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
    design: Design, terms: tuple[str, ...], dropped: tuple[str, ...], engine: Engine
) -> MixedModel:
    criterion, units = engine.criterion, engine.units
    df = engine.summaries.error_df
    variance_vcov, sigma = _variance_vcov(criterion, df)
    covariance = as_reported(engine) @ relative_covariance(criterion.theta) @ as_reported(engine).T
    sds = np.sqrt(np.diag(covariance))
    scale = np.outer(units.coefficients, units.coefficients)
    # X is rescaled column by column, so log|X'V⁻¹X| moves by the squares of the units.
    log_units = float(np.log(units.coefficients / units.y).sum())
    deviance = criterion.deviance + 2 * df * np.log(units.y) - 2 * log_units
    deviance += design.centred.log_det
    offset = {INTERCEPT: units.centre}
    return MixedModel(
        participants=design.centred.participants,
        n=design.centred.counts,
        arms=design.arms,
        arm_of=design.arm_of,
        terms=terms,
        dropped=dropped,
        coefficients=criterion.beta * units.coefficients + [offset.get(t, 0.0) for t in terms],
        vcov=sigma**2 * criterion.unscaled_vcov * scale,
        vcov_slopes=_vcov_slopes(criterion, sigma) * scale,
        variance_vcov=variance_vcov,
        log_likelihood=float(-deviance / 2),
        sd_intercept=float(sds[0] * sigma * units.y),
        sd_slope=float(sds[1] * sigma * engine.slope_unit),
        correlation=float(covariance[0, 1] / (sds[0] * sds[1])) if sds.all() else None,
        sd_residual=sigma * units.y,
        singular=bool(min(criterion.theta[0], criterion.theta[2]) < _SINGULAR),
        personal=personal_effects(engine, design.pairs.ss_xx / units.x**2),
        engine=engine,
    )
