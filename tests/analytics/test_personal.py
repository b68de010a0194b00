"""Personal couplings: lm() per participant from R, and a reason wherever there is no slope."""

import csv
import math
from collections.abc import Sequence

import numpy as np
import pytest
from scipy import stats

from analytics.csv_rows import Columns, read_pairs
from analytics.moments import Moments
from analytics.personal import PersonalCoupling, Reason, personal_couplings
from tests.real_data import real_data


def coupling_of(x: Sequence[float], y: Sequence[float], **scales: float) -> PersonalCoupling:
    return personal_couplings(Moments.from_rows(["a"] * len(x), x, y), **scales)[0]


@pytest.mark.parametrize(
    ("folder", "stress", "craving", "where"),
    [
        ("leuven2019_clinical", "anhedonia", "negative_affect", ()),
        ("bringmann2013_mindfulness", "worried", "sad", ("period=post",)),
        ("bringmann2013_mindfulness", "event_pleasantness", "cheerful", ("period=post",)),
        ("fried2021_students", "worry", "irritable", ()),
    ],
)
def test_slopes_errors_and_correlations_are_those_of_r(
    folder: str, stress: str, craving: str, where: tuple[str, ...]
) -> None:
    path = real_data(folder)
    pairs = read_pairs(path / "canonical.csv", Columns("participant_id", stress, craving), where)
    moments = Moments.from_rows(pairs.participant, pairs.stress, pairs.craving)
    ours = personal_couplings(moments, x_scale=pairs.stress_scale, y_scale=pairs.craving_scale)
    name = f"reference_per_participant_{craving}_on_{stress}.csv"
    with (path / name).open(encoding="utf-8") as file:
        reference = {row["participant_id"]: row for row in csv.DictReader(file)}
    assert {own.participant for own in ours} == set(reference)
    for own in ours:
        lm = reference[str(own.participant)]
        assert own.n == int(lm["n"])
        if own.reason is not None:
            # R has NA here, or the slope 0 with SE 0 of an answer that never changes.
            assert lm["slope"] in ("NA", "") or abs(float(lm["se"] or 0)) < 1e-12 or own.n < 3
            continue
        assert own.slope == pytest.approx(float(lm["slope"]), rel=1e-9, abs=1e-12)
        assert own.standard_error == pytest.approx(float(lm["se"]), rel=1e-9)
        assert own.r == pytest.approx(float(lm["r"]), rel=1e-9, abs=1e-12)


def test_intervals_are_those_of_scipy() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=20), rng.normal(size=20)
    own, line = coupling_of(x.tolist(), y.tolist()), stats.linregress(x, y)
    reach = stats.t.ppf(0.975, 18) * line.stderr
    assert own.df == 18
    assert own.interval == pytest.approx((line.slope - reach, line.slope + reach))
    fisher = stats.pearsonr(x, y).confidence_interval()
    assert own.r_interval == pytest.approx((fisher.low, fisher.high))


@pytest.mark.parametrize(
    ("x", "y", "reason"),
    [
        ([1], [2], Reason.TOO_FEW_PAIRS),
        ([1, 2], [2, 5], Reason.TOO_FEW_PAIRS),
        ([3, 3, 3, 3], [1, 2, 3, 4], Reason.CONSTANT_STRESS),
        ([3.3] * 7, [1, 2, 3, 4, 5, 6, 7.5], Reason.CONSTANT_STRESS),
        ([1, 2, 3, 4], [0, 0, 0, 0], Reason.CONSTANT_CRAVING),
        ([5, 5, 5], [0, 0, 0], Reason.CONSTANT_STRESS),
        ([1, 2, 3, 7], [3, 5, 7, 15], Reason.EXACT_LINE),
        ([0.1, 0.2, 0.3, 0.7], [0.3, 0.5, 0.7, 1.5], Reason.EXACT_LINE),
    ],
)
def test_what_cannot_be_estimated_has_a_reason_and_no_number(
    x: list[float], y: list[float], reason: Reason
) -> None:
    own = coupling_of(x, y)
    assert own == PersonalCoupling("a", len(x), reason=reason)
    assert not own.displayable


def test_a_slope_is_displayed_from_ten_pairs_on() -> None:
    y = [1, 3, 2, 5, 4, 6, 8, 7, 9, 9]
    assert not coupling_of(list(range(9)), y[:9]).displayable
    assert coupling_of(list(range(10)), y).displayable


def test_three_pairs_have_a_slope_but_no_interval_for_the_correlation() -> None:
    own = coupling_of([1, 2, 4], [1, 3, 2])
    assert own.slope == pytest.approx(3 / 14)
    assert own.r_interval is None


def test_no_estimate_is_ever_nan() -> None:
    rng = np.random.default_rng(2)
    people = np.repeat(np.arange(200), rng.integers(1, 6, 200))
    x, y = rng.integers(0, 3, len(people)), rng.integers(0, 3, len(people))
    for own in personal_couplings(Moments.from_rows(people.tolist(), x, y)):
        numbers = (own.slope, own.standard_error, own.r, *(own.interval or ()))
        assert all(number is None or math.isfinite(number) for number in numbers)
        assert (own.slope is None) == (own.reason is not None)
        assert own.standard_error != 0


def test_scales_turn_stored_integers_into_item_units() -> None:
    plain = coupling_of([1.5, 2.5, 4.0, 5.5], [1, 3, 2, 6])
    stored = coupling_of([15, 25, 40, 55], [1, 3, 2, 6], x_scale=10)
    assert stored.slope == pytest.approx(plain.slope, rel=1e-12)
    assert stored.standard_error == pytest.approx(plain.standard_error, rel=1e-12)
    assert stored.r == pytest.approx(plain.r, rel=1e-12)
