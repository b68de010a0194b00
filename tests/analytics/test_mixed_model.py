"""The mixed model against lme4 and lmerTest, against a dense REML, and against its own algebra.

Goldens: reference_lme4.json of each data set, R 4.2.2, lme4 1.1-31 (bobyqa, rhoend 1e-9),
lmerTest 3.1-3. That optimiser stops within about 1e-6 of the optimum in θ, which bounds the
agreement of everything that depends on θ to first order; the log-likelihood does not.
"""

import csv
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from analytics.csv_rows import Columns, Pairs, read_pairs
from analytics.mixed_model import MixedModel, fit_mixed_model
from analytics.moments import Moments
from analytics.reml import evaluate
from tests.real_data import real_data

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Case:
    """One fit of a data set's reference, and how the reference names its terms."""

    folder: str
    key: str
    columns: Columns
    reference: str | None = None
    other: str | None = None
    where: tuple[str, ...] = ()
    file: str = "canonical.csv"
    participants: str | None = None

    @property
    def path(self) -> Path:
        return real_data(self.folder) / self.file

    def expected(self) -> dict[str, Any]:
        text = (real_data(self.folder) / "reference_lme4.json").read_text(encoding="utf-8")
        entry: dict[str, Any] = json.loads(text)[self.key]
        inner: dict[str, Any] = entry.get("lme4_REML", entry)
        return inner

    def fit(self) -> MixedModel:
        return fit_pairs(read_pairs(self.path, self.columns, self.where), self.reference)

    def names(self) -> dict[str, str]:
        arm, arm_slope = f"arm[{self.other}]", f"stress_within:arm[{self.other}]"
        return {
            "(Intercept)": "intercept",
            "x_b": "stress_between",
            "arm01": arm,
            "male": arm,
            "x_w:arm01": arm_slope,
            "age11:male": arm_slope,
        } | dict.fromkeys(("x_w", "age11", "Days"), "stress_within")


def fit_pairs(pairs: Pairs, reference: str | None) -> MixedModel:
    return fit_mixed_model(
        Moments.from_rows(pairs.participant, pairs.stress, pairs.craving),
        pairs.arm_of if reference else None,
        reference,
        x_scale=pairs.stress_scale,
        y_scale=pairs.craving_scale,
    )


def mindfulness(key: str, stress: str, craving: str, period: str, participants: str | None) -> Case:
    columns = Columns("participant_id", stress, craving, "arm")
    where = (f"period={period}",)
    folder = "bringmann2013_mindfulness"
    return Case(folder, key, columns, "waitlist", "mindfulness", where, participants=participants)


CASES = [
    Case(
        "leuven2019_clinical",
        "primary",
        Columns("participant_id", "anhedonia", "negative_affect", "arm"),
        "control",
        "MDD",
        participants="negative_affect_on_anhedonia",
    ),
    mindfulness("primary_post", "worried", "sad", "post", "sad_on_worried"),
    mindfulness("placebo_baseline", "worried", "sad", "baseline", None),
    mindfulness(
        "secondary_post_cheerful_on_event",
        "event_pleasantness",
        "cheerful",
        "post",
        "cheerful_on_event_pleasantness",
    ),
    Case(
        "fried2021_students",
        "primary",
        Columns("participant_id", "worry", "irritable"),
        participants="irritable_on_worry",
    ),
    Case(
        "lme_classics",
        "orthodont_REML",
        Columns("Subject", "age", "distance", "Sex"),
        "Female",
        "Male",
        file="orthodont.csv",
    ),
]
NAMES = [case.key if case.key != "primary" else case.folder for case in CASES]


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_estimates_and_errors_are_those_of_lme4(case: Case) -> None:
    expected, model = case.expected(), case.fit()
    # Where the reference is the limit: its deviance at Leuven's optimum is 3e-10 above ours.
    se_tolerance = 2e-6 if case.folder.startswith("leuven") else 1e-6
    effects = model.fixed_effects()
    assert set(effects) == {case.names()[name] for name in expected["fixed"]}
    for name, lme4 in expected["fixed"].items():
        ours = effects[case.names()[name]]
        assert ours.estimate == pytest.approx(lme4["estimate"], rel=1e-6)
        assert ours.standard_error == pytest.approx(lme4["se"], rel=se_tolerance)
        assert ours.t == pytest.approx(lme4["t"], rel=2e-6)
        assert ours.df == pytest.approx(lme4["df_satterthwaite"], rel=1e-5)
        assert ours.p == pytest.approx(lme4["p_satterthwaite"], rel=2e-4)


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_the_covariance_of_the_fixed_effects_is_that_of_lme4(case: Case) -> None:
    expected, model = case.expected(), case.fit()
    order = [model.terms.index(case.names()[name]) for name in expected["fixed"]]
    ours, lme4 = model.vcov[np.ix_(order, order)], np.array(expected["vcov_fixed"])
    np.testing.assert_allclose(ours, lme4, atol=3e-6 * np.abs(lme4).max())


@pytest.mark.parametrize("case", CASES, ids=NAMES)
def test_variance_components_and_likelihood_are_those_of_lme4(case: Case) -> None:
    expected, model = case.expected(), case.fit()
    slope, correlation = (name for name in list(expected["random"])[1:3])
    random = {name: part["sd_or_cor"] for name, part in expected["random"].items()}
    assert model.sd_intercept == pytest.approx(random["(Intercept)"], rel=2e-6)
    assert model.sd_slope == pytest.approx(random[slope], rel=2e-6)
    assert model.correlation == pytest.approx(random[correlation], abs=2e-6)
    assert model.sd_residual == pytest.approx(random["residual"], rel=1e-7)
    assert model.log_likelihood == pytest.approx(expected["logLik"], abs=1e-8)
    assert model.singular is expected["singular"]
    assert (model.n_pairs, len(model.participants)) == (expected["n_obs"], expected["n_groups"])


@pytest.mark.parametrize(
    "case",
    [c for c in CASES if c.participants],
    ids=[n for n, c in zip(NAMES, CASES, strict=True) if c.participants],
)
def test_shrunken_slopes_are_those_of_lme4(case: Case) -> None:
    path = real_data(case.folder) / f"reference_per_participant_{case.participants}.csv"
    with path.open(encoding="utf-8") as file:
        lme4 = {row["participant_id"]: row for row in csv.DictReader(file)}
    model = case.fit()
    assert set(model.participants) == set(lme4)
    for ours, column in (
        (model.personal.slope_deviation, "blup_slope_deviation"),
        (model.personal.intercept_deviation, "blup_intercept_deviation"),
        (model.personal.shrunken_slope, "conditional_slope"),
        (model.personal.slope_deviation_sd, "blup_slope_cond_sd"),
    ):
        theirs = np.array([float(lme4[str(label)][column]) for label in model.participants])
        np.testing.assert_allclose(ours, theirs, atol=2e-6)


@pytest.mark.parametrize("case", CASES[:4], ids=NAMES[:4])
def test_couplings_in_each_arm_are_those_of_lme4(case: Case) -> None:
    text = (real_data(case.folder) / "reference_lme4.json").read_text(encoding="utf-8")
    expected, model = json.loads(text)[case.key], case.fit()
    couplings = {arm: (n, coupling) for arm, n, coupling in model.couplings()}
    assert list(couplings) == [case.reference, case.other]
    for arm, lme4 in expected["arm_slopes_REML"].items():
        n, coupling = couplings[arm]
        assert coupling is not None
        assert n == expected["n_by_arm"][arm]
        assert coupling.estimate == pytest.approx(lme4["estimate"], rel=1e-6)
        assert coupling.standard_error == pytest.approx(lme4["se"], rel=2e-6)


def test_sleepstudy_is_lme4s_fit_moved_to_the_mean_day() -> None:
    path = real_data("lme_classics") / "sleepstudy.csv"
    expected = json.loads((path.parent / "reference_lme4.json").read_text())["sleepstudy_REML"]
    model = fit_pairs(read_pairs(path, Columns("Subject", "Days", "Reaction")), None)
    days = model.fixed_effects()["stress_within"]
    assert model.dropped == ("stress_between",)
    assert days.estimate == pytest.approx(expected["fixed"]["Days"]["estimate"], rel=1e-10)
    assert days.standard_error == pytest.approx(expected["fixed"]["Days"]["se"], rel=1e-7)
    assert days.df == pytest.approx(17, rel=1e-9)
    assert model.log_likelihood == pytest.approx(expected["logLik"], abs=1e-8)
    assert model.sd_residual == pytest.approx(expected["random"]["residual"]["sd_or_cor"], rel=1e-7)
    # Centring at 4.5 days is a linear map of (1, day): so is the random effects' covariance.
    assert model.correlation is not None
    centred = np.array([[model.sd_intercept**2, 0.0], [0.0, model.sd_slope**2]])
    centred[0, 1] = centred[1, 0] = model.correlation * model.sd_intercept * model.sd_slope
    back = np.array([[1.0, -4.5], [0.0, 1.0]])
    raw = back @ centred @ back.T
    random = expected["random"]
    assert raw[0, 0] == pytest.approx(random["(Intercept)"]["var_or_cov"], rel=1e-6)
    assert raw[0, 1] == pytest.approx(random["cor_(Intercept)__Days"]["var_or_cov"], rel=1e-5)
    assert raw[1, 1] == pytest.approx(random["Days"]["var_or_cov"], rel=1e-6)


# A small unbalanced trial: one participant with one row, one whose stress never varies.


@dataclass(frozen=True)
class Trial:
    participant: NDArray[np.int64]
    stress: NDArray[np.int64]
    craving: Floats
    arm_of: dict[int, str]

    def fit(self, craving: Floats | None = None, reference: str = "control") -> MixedModel:
        y = self.craving if craving is None else craving
        moments = Moments.from_rows(self.participant.tolist(), self.stress, y)
        return fit_mixed_model(moments, self.arm_of, reference)

    def stress_within(self) -> Floats:
        means = np.bincount(self.participant, self.stress) / np.bincount(self.participant)
        return np.asarray(self.stress - means[self.participant])


def small_trial(
    seed: int = 1, arms: Sequence[str] = ("control", "treated"), slope_sd: float = 0.5
) -> Trial:
    rng = np.random.default_rng(seed)
    sizes = [1, *rng.integers(4, 12, 13)]
    participant = np.repeat(np.arange(14), sizes)
    stress = rng.integers(0, 11, len(participant))
    stress[participant == 1] = 4
    level, slope = rng.normal(3, 1.0, 14), rng.normal(0.6, slope_sd, 14)
    noise = rng.normal(0, 1.5, len(participant))
    craving = level[participant] + slope[participant] * stress + noise
    return Trial(participant, stress, craving, {i: arms[i % len(arms)] for i in range(14)})


def dense_deviance(trial: Trial, d: Floats, sigma2: float | None) -> tuple[float, Floats]:
    """REML deviance and β with V built row by row; profiled over σ² where it is None."""
    w, who = trial.stress_within(), trial.participant
    means = trial.stress - w
    between = means - np.mean([means[who == i][0] for i in range(14)])
    treated = np.array([trial.arm_of[int(i)] == "treated" for i in who], dtype=float)
    x = np.column_stack([np.ones(len(w)), w, between, treated, w * treated])
    z = np.column_stack([np.ones(len(w)), w])
    v = np.eye(len(w)) + (z @ d @ z.T) * (who[:, None] == who)
    inverse = np.linalg.inv(v)
    xx = x.T @ inverse @ x
    beta = np.linalg.solve(xx, x.T @ inverse @ trial.craving)
    rest = trial.craving - x @ beta
    df = len(w) - x.shape[1]
    r2 = float(rest @ inverse @ rest)
    dets = float(np.linalg.slogdet(v)[1] + np.linalg.slogdet(xx)[1])
    s2 = r2 / df if sigma2 is None else sigma2
    return dets + df * float(np.log(2 * np.pi * s2)) + r2 / s2, beta


def test_the_fit_is_the_minimum_of_a_dense_reml() -> None:
    trial = small_trial()
    model = trial.fit()
    assert not model.singular
    assert model.correlation is not None
    covariance = model.correlation * model.sd_intercept * model.sd_slope
    d = np.array([[model.sd_intercept**2, covariance], [covariance, model.sd_slope**2]])
    d /= model.sd_residual**2
    at_fit, beta = dense_deviance(trial, d, None)
    assert -2 * model.log_likelihood == pytest.approx(at_fit, abs=1e-9)
    np.testing.assert_allclose(model.coefficients, beta, rtol=1e-9)
    for nudge in ([[1e-3, 0], [0, 0]], [[0, 1e-3], [1e-3, 0]], [[0, 0], [0, 1e-3]]):
        for sign in (1, -1):
            assert dense_deviance(trial, d + sign * np.array(nudge), None)[0] > at_fit


@pytest.mark.parametrize("theta", [(0.4, 0.1, 0.3), (1.5, -0.6, 0.2), (0.0, 0.0, 0.5), (2, 1, 0)])
def test_the_criterion_is_the_dense_deviance_wherever_it_is_asked(theta: Sequence[float]) -> None:
    trial = small_trial()
    summaries = trial.fit().engine.summaries
    # The engine's own units differ from the rows' by constants: compare differences of deviances.
    engine = trial.fit().engine
    unit = engine.units.x

    def both(at: Sequence[float]) -> Floats:
        factor = np.array([[at[0], 0], [at[1] / unit, at[2] / unit]])
        dense, _ = dense_deviance(trial, factor @ factor.T, None)
        return np.array([evaluate(summaries, np.array(at, dtype=float)).deviance, dense])

    ours, dense = both(theta) - both((1.0, 0.0, 1.0))
    assert ours == pytest.approx(dense, abs=1e-9)


@pytest.mark.parametrize("theta", [(0.4, 0.1, 0.3), (1.5, -0.6, 0.2), (0.8, 0.0, 1.2)])
def test_gradient_and_hessian_are_those_of_finite_differences(theta: Sequence[float]) -> None:
    summaries, at, step = small_trial().fit().engine.summaries, np.array(theta), 1e-5
    here = evaluate(summaries, at)
    for k, move in enumerate(step * np.eye(3)):
        up, down = evaluate(summaries, at + move), evaluate(summaries, at - move)
        assert here.gradient[k] == pytest.approx((up.deviance - down.deviance) / 2 / step, rel=1e-6)
        slope = (up.gradient - down.gradient) / 2 / step
        np.testing.assert_allclose(here.hessian[k], slope, rtol=1e-6, atol=1e-6)
        slope = (up.unscaled_vcov - down.unscaled_vcov) / 2 / step
        np.testing.assert_allclose(here.vcov_slopes[k], slope, rtol=1e-6, atol=1e-9)


def test_participants_in_chunks_add_up_to_the_same_criterion() -> None:
    one = small_trial().fit().engine.summaries
    arrays = ("n", "ss", "level", "slope", "on_level", "on_slope")
    tall: dict[str, Any] = {name: np.concatenate([getattr(one, name)] * 700) for name in arrays}
    many = replace(one, **tall, residual=700 * one.residual, n_rows=700 * one.n_rows)
    at = np.array([0.8, 0.1, 0.4])
    parts = [evaluate(part, at) for part in many.chunks()]
    assert len(parts) == 3
    assert evaluate(many, at).r2 == pytest.approx(700 * evaluate(one, at).r2)
    np.testing.assert_allclose(evaluate(many, at).beta, evaluate(one, at).beta, rtol=1e-10)


def test_prediction_errors_are_those_of_the_mixed_model_equations() -> None:
    """Henderson's equations give Var(Aβ̂ + b̂ - b) as blocks of one inverse."""
    trial = small_trial()
    model = trial.fit()
    s, d = model.engine.summaries, np.zeros((2, 2))
    theta = model.engine.criterion.theta
    factor = np.array([[theta[0], 0], [theta[1], theta[2]]])
    d = factor @ factor.T
    p = s.n_terms
    design = np.zeros((14, 2, p))
    design[:, 0, s.level_at], design[:, 1, s.slope_at] = s.on_level, s.on_slope
    gram = np.stack([np.diag(pair) for pair in zip(s.n, s.ss, strict=True)])
    left = np.zeros((p + 28, p + 28))
    left[:p, :p] = np.einsum("ira,irs,isb->ab", design, gram, design)
    for i in range(14):
        b = slice(p + 2 * i, p + 2 * i + 2)
        left[b, b] = gram[i] + np.linalg.inv(d)
        left[:p, b] = design[i].T @ gram[i]
        left[b, :p] = left[:p, b].T
    inverse = np.linalg.inv(left)
    for i in range(14):
        pick = np.zeros(p + 28)
        pick[:p], pick[p + 2 * i + 1] = model.engine.own_slope[i], 1
        error = np.sqrt(pick @ inverse @ pick) * model.sd_residual / model.engine.units.x
        assert model.personal.prediction_error[i] == pytest.approx(error, rel=1e-9)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(-5, 5))
def test_taking_delta_off_one_arms_slope_moves_the_contrast_by_delta(seed: int, d: float) -> None:
    trial = small_trial(seed)
    treated = np.array([trial.arm_of[int(i)] == "treated" for i in trial.participant])
    before, after = trial.fit(), trial.fit(trial.craving - d * trial.stress_within() * treated)
    one, other = before.contrasts()[0].difference, after.contrasts()[0].difference
    assert other.estimate - one.estimate == pytest.approx(-d, abs=1e-7)
    assert other.standard_error == pytest.approx(one.standard_error, rel=1e-6)
    assert after.log_likelihood == pytest.approx(before.log_likelihood, abs=1e-8)


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.01, 100), st.floats(0.01, 100), st.floats(-100, 100))
def test_units_of_the_items_are_units_of_the_answer(
    seed: int, x_scale: float, y_scale: float, shift: float
) -> None:
    trial = small_trial(seed)
    moments = Moments.from_rows(trial.participant.tolist(), trial.stress, trial.craving + shift)
    plain = trial.fit()
    scaled = fit_mixed_model(moments, trial.arm_of, "control", x_scale=x_scale, y_scale=y_scale)
    one, other = plain.contrasts()[0].difference, scaled.contrasts()[0].difference
    unit = x_scale / y_scale
    assert other.estimate == pytest.approx(one.estimate * unit, rel=1e-6, abs=1e-8 * unit)
    assert other.standard_error == pytest.approx(one.standard_error * unit, rel=1e-6)
    assert other.df == pytest.approx(one.df, rel=1e-5)
    assert scaled.sd_residual == pytest.approx(plain.sd_residual / y_scale, rel=1e-7)
    # REML is the likelihood of N - p contrasts of y; three columns of X are in units of x.
    jacobian = (len(trial.craving) - 5) * np.log(y_scale) + 3 * np.log(x_scale)
    moved = scaled.log_likelihood - plain.log_likelihood
    assert moved == pytest.approx(jacobian, abs=1e-6)


def test_swapping_the_reference_turns_the_contrast_round() -> None:
    trial = small_trial()
    one = trial.fit().contrasts()[0].difference
    other = trial.fit(reference="treated").contrasts()[0].difference
    assert other.estimate == pytest.approx(-one.estimate, rel=1e-9)
    assert other.standard_error == pytest.approx(one.standard_error, rel=1e-9)


def test_each_arm_has_its_own_contrast() -> None:
    model = small_trial(arms=("control", "low", "high")).fit()
    assert model.arms == ("control", "high", "low")
    assert [contrast.arm for contrast in model.contrasts()] == ["high", "low"]
    couplings = {arm: coupling for arm, _, coupling in model.couplings()}
    for contrast in model.contrasts():
        mine, reference = couplings[contrast.arm], couplings["control"]
        assert mine is not None
        assert reference is not None
        difference = mine.estimate - reference.estimate
        assert contrast.difference.estimate == pytest.approx(difference, rel=1e-9)


def test_a_contrast_of_unknown_terms_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no term 'arm\[placebo\]'; the model has intercept"):
        small_trial().fit().contrast({"arm[placebo]": 1.0})


# Singular fits, and data that hold no model.


def test_no_slope_variance_is_a_singular_answer_not_an_error() -> None:
    trial = small_trial(seed=5)
    w = trial.stress_within()
    # The same slope for everyone, and noise without any slope of its own.
    noise = np.random.default_rng(2).normal(size=len(w))
    for i in range(14):
        mine = trial.participant == i
        if (w[mine] ** 2).sum():
            noise[mine] -= w[mine] * (noise[mine] @ w[mine]) / (w[mine] @ w[mine])
    level = np.random.default_rng(3).normal(0, 2, 14)[trial.participant]
    model = trial.fit(level + 0.5 * w + noise)
    assert model.singular
    assert model.sd_slope == 0
    assert model.correlation is None
    assert model.contrasts()[0].difference.estimate == pytest.approx(0, abs=1e-9)
    assert np.all(model.personal.reliability == 0)
    assert np.all(np.isfinite(model.personal.prediction_error))


@pytest.mark.parametrize("sign", [1, -1])
def test_perfectly_correlated_effects_are_a_singular_answer(sign: int) -> None:
    rng = np.random.default_rng(4)
    trial = small_trial(seed=6)
    b = rng.normal(size=14)[trial.participant]
    w = trial.stress_within()
    model = trial.fit(3 * b + (0.5 + sign * b) * w + rng.normal(0, 0.5, len(w)))
    if model.singular:
        assert model.correlation == pytest.approx(sign, abs=1e-6)
    else:
        assert model.correlation is not None
        assert sign * model.correlation > 0.9


def test_an_arm_nobody_is_in_is_named_and_left_out() -> None:
    trial = small_trial()
    moments = Moments.from_rows(trial.participant.tolist(), trial.stress, trial.craving)
    arms = ["control", "treated", "never"]
    model = fit_mixed_model(moments, trial.arm_of, "control", all_arms=arms)
    assert model.dropped == ("arm[never]", "stress_within:arm[never]")
    assert model.log_likelihood == pytest.approx(trial.fit().log_likelihood, abs=1e-10)
    assert ("never", 0, None) in model.couplings()


def test_an_arm_whose_stress_never_varies_keeps_its_level_but_has_no_coupling() -> None:
    trial = small_trial(arms=("control", "treated", "calm"))
    calm = np.array([trial.arm_of[int(i)] == "calm" for i in trial.participant])
    stress = np.where(calm, 5, trial.stress)
    model = Trial(trial.participant, stress, trial.craving, trial.arm_of).fit()
    assert model.dropped == ("stress_within:arm[calm]",)
    assert [contrast.arm for contrast in model.contrasts()] == ["treated"]
    assert {arm: coupling for arm, _, coupling in model.couplings()}["calm"] is None


def fit_rows(
    participant: Sequence[str], stress: Sequence[int], craving: Sequence[float], **arms: Any
) -> MixedModel:
    return fit_mixed_model(Moments.from_rows(participant, stress, craving), **arms)


WHO = ["a"] * 3 + ["b"] * 3 + ["c"] * 3
STRESS = [1, 2, 3, 2, 4, 6, 3, 5, 8]
CRAVING = [2, 1, 5, 4, 4, 3, 1, 7, 6]


@pytest.mark.parametrize(
    ("stress", "craving", "words"),
    [
        ([1, 1, 1, 2, 2, 2, 3, 3, 3], CRAVING, "stress never varies within any participant"),
        (STRESS, [4] * 9, "craving never varies within any participant"),
        (STRESS, [1, 1, 1, 2, 2, 2, 3, 3, 3], "craving never varies within any participant"),
        (STRESS, [2 * x + 1 for x in STRESS], "lies exactly on a line"),
    ],
)
def test_data_without_a_coupling_are_refused_in_words(
    stress: list[int], craving: list[int], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        fit_rows(WHO, stress, craving)


def test_one_row_per_participant_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="stress never varies within any participant"):
        fit_rows(list("abcdef"), [1, 2, 3, 4, 5, 6], [1, 3, 2, 5, 4, 6])


def test_too_few_participants_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="at least 2 participants"):
        fit_rows(WHO[:3], STRESS[:3], CRAVING[:3])
    with pytest.raises(ValueError, match="2 participants are too few for the 2 terms"):
        fit_rows(WHO[:6], STRESS[:6], CRAVING[:6])


def test_broken_allocations_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="participant 'c' has no arm"):
        fit_rows(WHO, STRESS, CRAVING, arms={"a": "x", "b": "y"}, reference="x")
    with pytest.raises(ValueError, match="'z' is not one of the arms: x, y"):
        fit_rows(WHO, STRESS, CRAVING, arms={"a": "x", "b": "y", "c": "y"}, reference="z")
    flat = [5, 5, 5, *STRESS[3:]]
    with pytest.raises(ValueError, match="of the reference arm 'x'"):
        fit_rows(WHO, flat, CRAVING, arms={"a": "x", "b": "y", "c": "y"}, reference="x")
