"""Time to an event by arm, against R's package survival (tests/golden/r/survival.R)."""

import json
from typing import Any

import numpy as np
import pytest

from analytics.survival import (
    NotEstimableError,
    Risks,
    comparable,
    cox,
    kaplan_meier,
    log_rank,
    proportional_hazards,
)
from tests.real_data import ROOT

GOLDEN = json.loads((ROOT / "tests/golden/survival.json").read_text())
CASES = sorted(GOLDEN["cases"])


def near(value: object) -> Any:
    return pytest.approx(value, rel=GOLDEN["tolerance"], abs=1e-9)


def risks_of(case: dict[str, Any], *, stratified: bool = False) -> Risks:
    arms = [case["arms"].index(arm) for arm in case["arm"]]
    strata = case["stratum"] if stratified else None
    return Risks.of(case["day"], case["event"], arms, len(case["arms"]), strata)


@pytest.mark.parametrize("name", CASES)
def test_curves_medians_and_log_log_intervals_agree_with_r(name: str) -> None:
    case = GOLDEN["cases"][name]
    for arm, expected in enumerate(case["curves"]):
        curve = kaplan_meier(risks_of(case), arm)
        assert curve.time == expected["time"]
        assert curve.share == near(expected["share"])
        for ours, theirs in ((curve.low, expected["low"]), (curve.high, expected["high"])):
            assert [one is None for one in ours] == [one is None for one in theirs]
            assert [one for one in ours if one is not None] == near([o for o in theirs if o])
        assert curve.median == expected["median"]
        assert curve.median_interval == (expected["median_low"], expected["median_high"])


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("stratified", [False, True])
def test_log_rank_and_cox_agree_with_r(name: str, stratified: bool) -> None:
    case, suffix = GOLDEN["cases"][name], "_stratified" if stratified else ""
    risks, expected = risks_of(case, stratified=stratified), case[f"cox{suffix}"]
    rank = log_rank(risks)
    assert rank is not None
    assert (rank.statistic, rank.df) == near(tuple(case[f"logrank{suffix}"].values()))
    fit = cox(risks)
    assert fit.log_ratio == near(np.atleast_1d(expected["log_ratio"]))
    assert fit.covariance == near(np.atleast_2d(expected["covariance"]))
    each, together = proportional_hazards(fit, risks_of(case))
    assert [one and one.statistic for one in each] == near(
        list(np.atleast_1d(expected["zph_terms"]))
    )
    assert together is not None
    assert (together.statistic, together.df) == near((expected["zph_global"], len(each)))


def test_an_arm_without_events_has_no_finite_ratio_and_the_others_have() -> None:
    risks = Risks.of(
        [3, 5, 8, 2, 6, 9, 9, 9, 9],
        [True, True, False, True, True, False, False, False, False],
        [0, 0, 0, 1, 1, 1, 2, 2, 2],
        3,
    )
    assert comparable(risks) == [0, 1]
    with pytest.raises(NotEstimableError, match="no finite estimate"):
        cox(risks)
    assert log_rank(risks) is not None


def test_events_that_never_meet_the_other_arm_give_no_ratio() -> None:
    apart = Risks.of([1, 2, 8, 9], [True] * 4, [0, 0, 1, 1], 2)
    assert comparable(apart) == [0]
    assert comparable(Risks.of([1, 2, 8, 1], [True] * 4, [0, 0, 1, 1], 2)) == [0, 1]
    by_stratum = Risks.of([1, 9, 9, 1], [True] * 4, [0, 0, 1, 1], 2, ["a", "a", "b", "b"])
    assert comparable(by_stratum) == [0]


def test_without_events_there_is_a_flat_line_and_no_test() -> None:
    risks = Risks.of([5, 6, 7], [False] * 3, [0, 1, 1], 2)
    assert kaplan_meier(risks, 0) == ([], [], [], [], None, (None, None))
    assert log_rank(risks) is None
    assert comparable(risks) == [0]
