"""More than two arms against mvtnorm, permutation tests, and sizes of effects."""

import itertools
import json
import math
from dataclasses import replace

import numpy as np
import pytest
from numpy.random import PCG64
from scipy import stats

from analytics.effect_sizes import (
    attenuation,
    detectable,
    influence,
    mean_reliability,
    standardised,
)
from analytics.fixed_effects import within_arm_term
from analytics.mixed_model import Method, fit_design, fit_mixed_model
from analytics.moments import Moments
from analytics.multiplicity import (
    _Largest,
    against_reference,
    all_pairs,
    coupling_in,
    difference,
    holm,
    trend,
)
from analytics.permutation import (
    choose,
    own_slopes,
    permutation_test,
    scores_of,
    slope_scores,
    sums_of,
)
from analytics.summaries import relative_covariance, residuals, weights
from tests.analytics.test_agreement import GOLDEN, Trial

REFERENCE = json.loads((GOLDEN / "multiplicity.json").read_text(encoding="utf-8"))
TRIAL = Trial()
DIFFERENCES = {within_arm_term(arm) for arm in TRIAL.design().arms[1:]}
MODEL = fit_design(TRIAL.design())


@pytest.mark.parametrize("name", REFERENCE["largest"])
def test_the_largest_of_correlated_t_is_that_of_mvtnorm(name: str) -> None:
    case = REFERENCE["largest"][name]
    largest = _Largest(np.array(case["corr"]), case["df"])
    for t, p in zip(case["t"], case["p"], strict=True):
        assert largest.p(t) == pytest.approx(p, abs=1e-4)
    assert largest.p(largest.critical(0.95)) == pytest.approx(0.05, abs=1e-5)


def test_dunnetts_published_value_is_reproduced() -> None:
    """Dunnett (1964): two treatments, 12 df, two-sided 5 %."""
    half = np.array([[1, 0.5], [0.5, 1]])
    assert _Largest(half, 12).critical(0.95) == pytest.approx(2.50, abs=0.005)


def test_holm_is_that_of_r() -> None:
    assert holm(REFERENCE["holm"]["p"]) == pytest.approx(REFERENCE["holm"]["adjusted"])


@pytest.mark.parametrize("method", [Method.KENWARD_ROGER, Method.CR2])
def test_arms_judged_together_are_judged_more_strictly(method: Method) -> None:
    judged = against_reference(MODEL, method)
    assert [each.arm for each in judged] == ["high", "low"]
    for each in judged:
        alone = each.difference
        assert each.interval is not None
        assert alone.p < each.p < 2 * alone.p + 1e-4  # Bonferroni is the bound
        assert each.interval[0] < alone.interval[0] < alone.interval[1] < each.interval[1]
        inside = each.interval[0] < 0 < each.interval[1]
        assert inside == (each.p > 0.05)


def test_a_single_arm_against_the_reference_is_its_own_family() -> None:
    model = fit_design(Trial(without="low").design())
    (only,) = against_reference(model)
    assert only.p == pytest.approx(only.difference.p, rel=1e-9)
    assert only.interval == pytest.approx(only.difference.interval, rel=1e-9)
    assert against_reference(fit_design(TRIAL.design(arms=False))) == []


def test_all_pairs_are_differences_of_couplings_with_holms_p() -> None:
    pairs = all_pairs(MODEL)
    assert [(each.arm, each.other) for each in pairs] == [
        ("high", "control"),
        ("low", "control"),
        ("low", "high"),
    ]
    couplings = {arm: MODEL.contrast(coupling_in(MODEL, arm)).estimate for arm in MODEL.arms}
    for each in pairs:
        expected = couplings[each.arm] - couplings[each.other]
        assert each.difference.estimate == pytest.approx(expected, rel=1e-9)
    assert [each.p for each in pairs] == pytest.approx(holm([e.difference.p for e in pairs]))


def test_a_trend_is_the_line_through_the_arms_couplings() -> None:
    doses = {"control": 0.0, "low": 0.1, "high": 0.3}
    couplings = [MODEL.contrast(coupling_in(MODEL, arm)).estimate for arm in doses]
    line = stats.linregress(list(doses.values()), couplings)
    assert trend(MODEL, doses).estimate == pytest.approx(line.slope, rel=1e-9)
    with pytest.raises(ValueError, match="arm high has no dose"):
        trend(MODEL, {"control": 0, "low": 1})
    with pytest.raises(ValueError, match="the same dose"):
        trend(MODEL, dict.fromkeys(doses, 1.0))


# Randomisation tests.


def welch(values: np.ndarray, treated: np.ndarray) -> float:
    return float(stats.ttest_ind(values[treated], values[~treated], equal_var=False).statistic)


def test_the_permutation_p_is_that_of_every_possible_allocation() -> None:
    rng = np.random.default_rng(3)
    values, treated = rng.normal(size=10) ** 3, np.arange(10) < 4
    test = permutation_test(values, treated, seed=1, draws=40_000)
    observed = abs(welch(values, treated))
    assert test.t == pytest.approx(welch(values, treated))
    every = [np.isin(np.arange(10), chosen) for chosen in itertools.combinations(range(10), 4)]
    exact = np.mean([abs(welch(values, each)) >= observed - 1e-9 for each in every])
    assert test.p == pytest.approx(exact, abs=4 * np.sqrt(exact * (1 - exact) / 40_000))


def test_a_seed_gives_the_same_p_and_another_seed_another() -> None:
    rng = np.random.default_rng(4)
    values, treated = rng.normal(size=60), rng.random(60) < 0.5
    first = permutation_test(values, treated, seed=7)
    assert first == permutation_test(values, treated, seed=7)
    assert first.p != permutation_test(values, treated, seed=8).p
    assert (first.p * 10_000) == pytest.approx(round(first.p * 10_000))


def test_shuffles_of_pcg64_are_the_same_everywhere() -> None:
    """The stream of PCG64 is fixed; this p would change with any change of how it is used."""
    values = np.array([3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8.0])
    test = permutation_test(values, np.arange(12) % 2 == 0, seed=2026, strata="aaaaaabbbbbb")
    assert test.p == pytest.approx(0.7578, abs=1e-12)


def bits_of(chosen: np.ndarray, size: int) -> np.ndarray:
    """Booleans, samples × places."""
    return np.unpackbits(chosen, axis=0, count=size, bitorder="little").T.astype(bool)


@pytest.mark.parametrize(
    ("size", "wanted"), [(1, 1), (7, 0), (9, 1), (118, 59), (130, 43), (70, 69)]
)
def test_every_sample_has_the_places_it_is_to_have(size: int, wanted: int) -> None:
    samples = bits_of(choose(PCG64(1), 2_000, size, wanted), size)
    assert samples.shape == (2_000, size)
    assert set(samples.sum(axis=1)) == {wanted}


@pytest.mark.parametrize(("size", "wanted"), [(6, 3), (9, 2), (10, 9)])
def test_every_sample_is_as_likely_as_any_other(size: int, wanted: int) -> None:
    draws, every = 60_000, math.comb(size, wanted)
    samples = bits_of(choose(PCG64(2), draws, size, wanted), size)
    _, seen = np.unique(samples @ (1 << np.arange(size)), return_counts=True)
    assert len(seen) == every
    assert stats.chisquare(seen, np.full(every, draws / every)).pvalue > 0.001


def test_places_far_apart_are_drawn_alike_and_together() -> None:
    """Of 1,000 places a third: each, and the first with each other one, as often as they should."""
    samples = bits_of(choose(PCG64(3), 20_000, 1_000, 333), 1_000).astype(np.float64)
    each = samples.sum(axis=0)
    together = samples[:, 0] @ samples[:, 1:]
    for counts, chance in ((each, 0.333), (together, 0.333 * 332 / 999)):
        z = (counts - 20_000 * chance) / np.sqrt(20_000 * chance * (1 - chance))
        assert np.abs(z).max() < 4.5


def test_sums_of_samples_are_those_of_their_numbers() -> None:
    rng = np.random.default_rng(6)
    for size in (5, 64, 257):
        numbers, chosen = rng.normal(size=size), choose(PCG64(4), 50, size, size // 3)
        theirs = bits_of(chosen, size) @ np.stack([numbers, numbers**2], axis=1)
        sums = sums_of(numbers, chosen)
        np.testing.assert_allclose(np.stack([sums.real, sums.imag], axis=1), theirs, atol=1e-12)


def test_labels_are_shuffled_within_strata_alone() -> None:
    """Everybody of stratum a is treated, so only b's three against three can differ."""
    values = np.array([50, 60, 55, 1, 2, 3, 4, 5, 60.0])
    treated = np.array([1, 1, 1, 1, 1, 1, 0, 0, 0], dtype=bool)
    strata = ["a"] * 3 + ["b"] * 6
    centred = values - np.array([55.0] * 3 + [12.5] * 6)
    observed = abs(welch(centred, treated))
    every = [
        np.r_[[True] * 3, np.isin(np.arange(6), chosen)]
        for chosen in itertools.combinations(range(6), 3)
    ]
    exact = np.mean([abs(welch(centred, each)) >= observed - 1e-9 for each in every])
    test = permutation_test(values, treated, seed=1, strata=strata, draws=20_000)
    assert test.p == pytest.approx(exact, abs=0.015)


def test_under_no_difference_p_is_uniform() -> None:
    rng = np.random.default_rng(5)
    ps = []
    for seed in range(300):
        values = rng.standard_t(4, 40)
        ps.append(permutation_test(values, rng.random(40) < 0.5, seed=seed, draws=199).p)
    assert stats.kstest(ps, "uniform").pvalue > 0.001


def test_slopes_and_scores_find_a_planted_difference_and_agree() -> None:
    high = np.array([arm == "high" for arm in TRIAL.arm_of])
    two = np.array([arm != "low" for arm in TRIAL.arm_of])
    design = TRIAL.design()
    slopes, there = own_slopes(design.pairs)
    chosen = there & two
    plain = permutation_test(slopes[chosen], high[chosen], seed=1)
    scores = slope_scores(design)
    score = permutation_test(scores[chosen], high[chosen], seed=1)
    assert np.sign(plain.t) == np.sign(score.t) == -1
    assert plain.n == score.n == int(chosen.sum())
    # Under the full model the arms' scores add to zero: there is nothing left to find.
    left = scores_of(MODEL)
    assert abs(left[high].sum()) < 1e-6 * np.abs(left).sum()


def test_scores_are_rid_of_levels_and_their_sums_stay() -> None:
    """The arms' levels are in the model: what goes along with them only hides a difference."""
    design = TRIAL.design()
    without = {name: term for name, term in design.fixed.items() if name not in DIFFERENCES}
    model = fit_design(replace(design, fixed=without))
    w = weights(model.engine.summaries, relative_covariance(model.engine.criterion.theta))[1]
    level, slope = residuals(model.engine.summaries, model.engine.criterion.beta, w)[1]
    scores = slope_scores(design)
    for arm in design.arms:
        here = np.array(TRIAL.arm_of) == arm
        assert scores[here].sum() == pytest.approx(slope[here].sum(), abs=1e-6 * np.ptp(slope))
    assert abs(np.corrcoef(scores, level)[0, 1]) < abs(np.corrcoef(slope, level)[0, 1])


def test_what_cannot_be_shuffled_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="an arm has 1 participants"):
        permutation_test(np.arange(5.0), np.arange(5) < 1, seed=1)
    with pytest.raises(ValueError, match="do not differ"):
        permutation_test(np.ones(6), np.arange(6) < 3, seed=1)
    with pytest.raises(ValueError, match="3 strata for 6"):
        permutation_test(np.arange(6.0), np.arange(6) < 3, seed=1, strata="abc")


# Sizes of effects.


@pytest.mark.parametrize("method", [Method.SATTERTHWAITE, Method.CR2])
def test_fiellers_bounds_are_where_the_difference_stops_being_significant(method: Method) -> None:
    found = attenuation(MODEL, "high", method)
    treated, reference = (
        MODEL.contrast(coupling_in(MODEL, arm)).estimate for arm in ("high", "control")
    )
    assert found.estimate == pytest.approx(1 - treated / reference)
    assert found.interval is not None
    assert found.interval[0] < found.estimate < found.interval[1]
    df = MODEL.contrast(difference(MODEL, "high", "control"), method).df
    for bound in found.interval:
        ratio = 1 - bound
        combination = {"stress_within": 1 - ratio, "stress_within:arm[high]": 1.0}
        at = MODEL.contrast(combination, method)
        assert abs(at.t) == pytest.approx(stats.t.ppf(0.975, df), rel=1e-8)


def test_a_ratio_to_nothing_has_no_bounds() -> None:
    flat = fit_design(Trial("pain").design())  # pain does not follow stress
    assert attenuation(flat, "high").interval is None


def test_the_detectable_difference_has_the_power_it_claims() -> None:
    found = detectable(0.05, 40.0)
    power = stats.nct.sf(stats.t.ppf(0.975, 40), 40, found / 0.05)
    assert power == pytest.approx(0.8, abs=1e-6)
    assert detectable(0.05, 40.0, power=0.9) > found
    assert found == pytest.approx(0.05 * 2.86, rel=0.01)


def test_a_standardised_slope_has_no_units() -> None:
    pairs = TRIAL.design().pairs
    scaled = TRIAL.sums
    assert standardised(0.5, pairs) == pytest.approx(
        0.5 * np.sqrt(pairs.ss_xx.sum() / pairs.ss_yy.sum())
    )
    assert 0 < mean_reliability(MODEL) < 1
    assert len(scaled) == len(MODEL.participants)


def test_influence_names_whom_a_contrast_hangs_on() -> None:
    combination = {"stress_within:arm[high]": 1.0}
    found = influence(MODEL, combination)
    estimate = MODEL.contrast(combination).estimate
    assert found.lowest < estimate < found.highest
    assert found.lowest_without != found.highest_without
    assert found.lowest_without in MODEL.participants


def test_an_arm_of_one_has_no_robust_error_and_does_not_set_the_range() -> None:
    rng = np.random.default_rng(1)
    who = np.repeat(np.arange(14), 8)
    stress = rng.integers(0, 11, 112)
    craving = 2 + 0.5 * stress + rng.normal(0, 1, 14)[who] + rng.normal(0, 1, 112)
    arm_of = {person: "alone" if person == 13 else "control" for person in range(14)}
    model = fit_mixed_model(Moments.from_rows(who.tolist(), stress, craving), arm_of, "control")
    contrast = {"stress_within:arm[alone]": 1.0}
    with pytest.raises(ValueError, match="hangs on a single participant"):
        model.contrast(contrast, Method.CR2)
    found = influence(model, contrast)
    assert 13 not in (found.lowest_without, found.highest_without)
    assert model.contrast(contrast, Method.KENWARD_ROGER).df > 1
