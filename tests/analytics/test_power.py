"""Power by simulation: certain where it must be, honest about chance, the same for a seed."""

import json
import xml.etree.ElementTree as ET
from typing import Any

import numpy as np
import pytest
from scipy.stats import norm

from analytics import power_report, virtual_trial
from analytics.effect_sizes import detectable
from analytics.fixed_effects import within_arm_term
from analytics.mixed_model import Method, MixedModel, fit_mixed_model
from analytics.multiplicity import difference
from analytics.power import ArmTest, Pair, Power, Question, answer, simulate
from analytics.power_figure import curve
from analytics.rates import rate
from analytics.simulation import Effect, Shape
from analytics.virtual_trial import Protocol, Stretch

MONTH = (Stretch(30, 4),)
SMALL = Protocol((12, 12), MONTH)


def power_of(protocol: Protocol, *attenuations: float, **asked: Any) -> Power:
    question = Question(protocol, attenuations, **asked)
    return answer(question, simulate(question))


def made_up(shares: dict[float, float], trials: int = 1000, **asked: Any) -> Power:
    """The answer to results that were never simulated: p is 0 in these shares of trials, else 1."""
    question = Question(SMALL, tuple(shares), trials=trials, **asked)
    results = np.full((trials, len(question.attenuations), 5), 1.0)
    for place, attenuation in enumerate(question.attenuations):
        results[:, place] = (-0.3 * attenuation, 0.05, 40.0, 1.0, 0.3)
        results[: round(shares[attenuation] * trials), place, 3] = 0.0
    return answer(question, [results])


# --- the numbers -----------------------------------------------------------------------------


def test_a_coupling_that_is_taken_away_whole_is_always_found() -> None:
    exact = Shape(slope_sd=0.05, bounded=False)
    found = power_of(Protocol((25, 25), (Stretch(40, 4),), shapes=(exact,)), 1.0, trials=40)
    assert found.points[-1].found.share == 1.0
    assert found.points[-1].difference == pytest.approx(-0.5, abs=0.06)


def test_without_an_effect_the_promise_is_kept() -> None:
    found = power_of(SMALL, trials=200, seed=11)
    assert found.false_positives is not None
    low, high = found.false_positives.interval
    assert low <= 0.05 <= high


def test_the_floor_trap_is_not_called_a_false_positive() -> None:
    found = power_of(Protocol((40, 40), MONTH), arm_shift=-25.0, trials=40)
    assert found.false_positives is None
    assert found.points[0].found.share > 0.3
    assert power_report.SHIFTED in power_report.table(found)


def test_more_people_find_more() -> None:
    few, many = (power_of(Protocol((n, n), MONTH), 0.4, trials=40) for n in (10, 60))
    assert many.points[1].found.share > few.points[1].found.share + 0.2


def test_a_seed_gives_the_same_whatever_the_number_of_processes() -> None:
    question = Question(Protocol((6, 6), (Stretch(7, 4),)), (0.3,), trials=17, seed=5)
    one = np.concatenate(list(simulate(question)))
    two = np.concatenate(list(simulate(question, processes=2)))
    assert one.shape == (17, 2, 5)
    assert np.array_equal(one, two, equal_nan=True)


def test_fewer_trials_are_the_first_of_more_and_another_seed_gives_others() -> None:
    protocol = Protocol((6, 6), (Stretch(7, 4),))
    few, more, other = (
        np.concatenate(list(simulate(Question(protocol, (), trials=count, seed=seed))))
        for count, seed in ((7, 5), (12, 5), (7, 6))
    )
    assert np.array_equal(few, more[:7])
    assert not np.array_equal(few, other)


def test_many_people_are_analysed_one_trial_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    protocol = Protocol((9, 9), (Stretch(7, 4),))
    together = np.concatenate(list(simulate(Question(protocol, (0.3,), trials=6))))
    monkeypatch.setattr("analytics.power.CELLS", 17)
    alone = np.concatenate(list(simulate(Question(protocol, (0.3,), trials=6))))
    assert np.allclose(together, alone, rtol=1e-6, equal_nan=True)


def test_of_several_arms_the_trend_over_doses_is_tested() -> None:
    exact = Shape(slope_sd=0.05, pain_stress=0.0, bounded=False)
    three = Protocol((20, 20, 20), MONTH, (0.0, 0.5, 1.0), (exact,))
    found = power_of(three, 0.8, trials=20)
    assert found.points[1].found.share == 1.0
    # per whole dose: 80 % of a coupling of 0.45, a little steeper as stress is clipped
    assert found.points[1].difference == pytest.approx(-0.8 * (found.coupling or 0), abs=0.03)


THREE = Protocol((10, 10, 10), (Stretch(14, 4),), (0.0, 1.0, 0.0))


def fits_of(protocol: Protocol, effect: Effect, trials: int) -> list[MixedModel]:
    """The product's model of each simulated trial."""
    return [
        fit_mixed_model(each.moments(effect), protocol.arm_of, protocol.arms[0])
        for each in virtual_trial.trials(protocol, 2026, range(trials))
    ]


@pytest.mark.parametrize("method", [Method.CR2, Method.KENWARD_ROGER])
def test_a_pair_of_arms_is_tested_as_the_product_tests_it(method: Method) -> None:
    pair = Pair("treated 2", "treated 1")
    question = Question(THREE, (0.6,), trials=4, method=method, test=pair)
    found = np.concatenate(list(simulate(question)))[:, 1]
    models = fits_of(THREE, Effect(0.6), 4)
    own = [each.contrast(difference(each, *pair), method) for each in models]
    for place, name in enumerate(("estimate", "standard_error", "df", "p")):
        assert found[:, place] == pytest.approx([getattr(each, name) for each in own], rel=1e-6)


@pytest.mark.parametrize("method", [Method.CR2, Method.KENWARD_ROGER])
def test_the_omnibus_test_is_that_of_the_product(method: Method) -> None:
    question = Question(THREE, (0.6,), trials=3, method=method, test=ArmTest.OMNIBUS)
    found = np.concatenate(list(simulate(question)))[:, 1]
    models = fits_of(THREE, Effect(0.6), 3)
    slopes = [{within_arm_term(arm): 1.0} for arm in THREE.arms[1:]]
    assert found[:, 3].tolist() == [each.omnibus(slopes, method).p for each in models]
    assert np.isnan(found[:, :2]).all()


def test_an_arm_that_alone_is_treated_is_found_by_its_pair_and_by_the_omnibus_test() -> None:
    exact = Shape(slope_sd=0.05, bounded=False)
    middle = Protocol((12, 12, 12), (Stretch(30, 4),), (0.0, 1.0, 0.0), (exact,))
    tests = Pair("treated 1", "control"), Pair("treated 2", "control"), ArmTest.OMNIBUS
    treated, untreated, omnibus = (power_of(middle, 1.0, trials=20, test=each) for each in tests)
    assert treated.points[1].found.share == omnibus.points[1].found.share == 1.0
    assert untreated.points[1].found.share < 0.4
    assert untreated.closed_form.attenuation is None


def test_a_pair_the_other_way_round_is_the_same_with_another_sign() -> None:
    here, there = (
        power_of(SMALL, 0.4, trials=10, test=Pair(*arms))
        for arms in (("treated", "control"), ("control", "treated"))
    )
    assert here.points == power_of(SMALL, 0.4, trials=10).points
    assert there.points[1].difference == pytest.approx(-(here.points[1].difference or 0))
    assert there.closed_form.difference == pytest.approx(-(here.closed_form.difference or 0))
    assert there.closed_form.attenuation == pytest.approx(here.closed_form.attenuation)


def test_the_omnibus_test_has_no_difference_and_says_so_in_words() -> None:
    power = power_of(THREE, 0.6, trials=6, test=ArmTest.OMNIBUS)
    assert {point.difference for point in power.points} == {None}
    assert {point.refused for point in power.points} == {0}
    said = power_report.table(power)
    assert "omnibus test of all arms by CR2, at 5.0 %." in said
    assert "Closed form" not in said
    json.dumps(power_report.document(power), allow_nan=False)


@pytest.mark.parametrize(
    ("test", "method", "sentence"),
    [
        (Pair("control", "other"), Method.CR2, "no arm 'other'; the arms are control, treated"),
        (Pair("control", "control"), Method.CR2, "arm 'control' is compared with itself"),
        (ArmTest.OMNIBUS, Method.SATTERTHWAITE, "by kenward_roger or CR2, not by satterthwaite"),
    ],
)
def test_a_test_that_cannot_be_made_is_refused(
    test: ArmTest | Pair, method: Method, sentence: str
) -> None:
    with pytest.raises(ValueError, match=sentence):
        Question(SMALL, (), method=method, test=test)


def test_the_detectable_attenuation_is_read_off_the_curve() -> None:
    found = made_up({0.0: 0.05, 0.2: 0.5, 0.4: 0.9})
    share = norm.ppf(0.8) / norm.ppf(0.9)  # from 50 %, whose probit is 0
    assert found.simulated.attenuation == pytest.approx(0.2 + 0.2 * share)
    assert found.simulated.difference == pytest.approx(-0.3 * (0.2 + 0.2 * share))


def test_what_is_read_off_the_curve_says_how_uncertain_it_is() -> None:
    found = made_up({0.0: 0.05, 0.2: 0.5, 0.4: 0.9, 0.6: 1.0}).simulated
    early, late = found.interval
    assert early is not None
    assert late is not None
    assert found.attenuation is not None
    assert early < found.attenuation < late
    _, narrower = made_up(
        {0.0: 0.05, 0.2: 0.5, 0.4: 0.9, 0.6: 1.0}, trials=10_000
    ).simulated.interval
    assert narrower is not None
    assert narrower < late


def test_an_end_that_the_curve_does_not_reach_is_left_open() -> None:
    power = made_up({0.0: 0.05, 0.2: 0.5, 0.4: 0.81})
    assert power.simulated.interval[1] is None
    assert "with this number of trials not below" in power_report.table(power)


def test_a_curve_without_attenuation_has_nothing_to_read_off() -> None:
    said = power_report.table(made_up({-0.2: 0.3, 0.0: 0.05}))
    assert "No attenuation above 0 % was asked for" in said


def test_a_curve_that_stays_below_says_so() -> None:
    found = made_up({0.0: 0.05, 0.2: 0.3})
    assert found.simulated.attenuation is None
    assert "Up to 20 % attenuation the power stays below 80 %" in power_report.table(found)


def test_the_closed_form_is_that_of_the_noncentral_t() -> None:
    found = made_up({0.0: 0.05, 0.4: 0.9}, target=0.9, alpha=0.01)
    size = detectable(0.05, 40.0, power=0.9, level=0.01)
    assert found.closed_form.difference == pytest.approx(-size)
    assert found.closed_form.attenuation == pytest.approx(size / 0.3)


def test_the_simulated_and_the_closed_form_agree_where_nothing_is_clipped() -> None:
    exact = Shape(slope_sd=0.1, bounded=False)
    protocol = Protocol((20, 20), (Stretch(30, 4),), shapes=(exact,))
    found = power_of(protocol, 0.2, 0.3, 0.4, trials=120)
    assert found.simulated.attenuation is not None
    assert found.closed_form.attenuation == pytest.approx(found.simulated.attenuation, rel=0.2)


def test_data_that_the_model_refuses_found_nothing_and_are_counted() -> None:
    found = power_of(Protocol((2, 2), (Stretch(1, 1),)), 0.5, trials=10)
    assert [point.refused for point in found.points] == [10, 10]
    assert found.points[0].found == rate(0, 10)
    assert "refused the data 20 times" in power_report.table(found)
    json.dumps(power_report.document(found), allow_nan=False)


def test_a_detectable_difference_beyond_the_whole_coupling_is_called_that() -> None:
    said = power_report.table(made_up({0.0: 0.05, 0.2: 0.3}, target=0.99, alpha=0.0001))
    assert "which is more than the whole coupling" in said


@pytest.mark.parametrize(
    ("protocol", "sentence"),
    [
        (Protocol((1, 9), MONTH), "an arm would have 1 of the 10 participants"),
        (Protocol((50_000, 50_000), MONTH), "more than the 5,000,000 that fit"),
    ],
)
def test_what_cannot_be_simulated_is_refused(protocol: Protocol, sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        Question(protocol, ())


# --- the figure ------------------------------------------------------------------------------


def test_the_curve_is_well_formed_and_told_in_words() -> None:
    drawn = curve(made_up({-0.2: 0.3, 0.0: 0.05, 0.2: 0.5, 0.4: 0.9}))
    root = ET.fromstring(drawn)  # noqa: S314 - our own text
    names = [element.tag.rpartition("}")[2] for element in root]
    assert names[:2] == ["title", "desc"]
    assert "20 % attenuation: 50.0 % (46.9 to 53.1)" in str(root[1].text)
    assert "style=" not in drawn
    assert "<script" not in drawn
