"""Rates of simulated trials and their intervals."""

import math

import pytest

from analytics.rates import rate, side_by_side


def test_the_interval_is_wilsons() -> None:
    # Newcombe (1998), table I: 81 of 263 is 0.2553 to 0.3662, 15 of 148 is 0.0624 to 0.1605
    assert rate(81, 263).interval == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert rate(15, 148).interval == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert rate(0, 20).interval == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert rate(20, 20).interval == pytest.approx((1 - 0.1611, 1.0), abs=5e-5)


@pytest.mark.parametrize(("hits", "trials"), [(1, 0), (0, 0), (3, 2), (-1, 5)])
def test_what_is_no_rate_is_refused(hits: int, trials: int) -> None:
    with pytest.raises(ValueError, match="not a rate"):
        rate(hits, trials)


def test_other_processes_answer_in_order() -> None:
    assert list(side_by_side(math.factorial, range(6), processes=2)) == [1, 1, 2, 6, 24, 120]
