"""Cumulative odds of an outcome with few levels, against ordinal::clmm and its own derivatives."""

import csv
import json

import numpy as np
import pytest

from analytics.companion import Companion, Counts, fit_companion
from analytics.laplace import ByPerson, Cuts, Laplace
from analytics.ordinal import LevelCounts, about_cuts, fit_ordinal
from tests.analytics.test_agreement import GOLDEN, in_r

REFERENCE = json.loads((GOLDEN / "ordinal.json").read_text(encoding="utf-8"))["cases"]


def rows() -> list[dict[str, str]]:
    with (GOLDEN / "simulated_levels.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def counts(most: int = 4) -> LevelCounts:
    found = rows()
    return LevelCounts.from_rows(
        [row["id"] for row in found],
        [int(row["stress"]) for row in found],
        [min(int(row["level"]), most) for row in found],
    )


def arms() -> dict[str, str]:
    return {row["id"]: row["arm"] for row in rows()}


def fitted(case: str) -> Companion:
    if case == "one_group":
        return fit_ordinal(counts())
    return fit_ordinal(counts(2 if case == "three_levels" else 4), arms(), "control")


@pytest.mark.parametrize("case", REFERENCE)
def test_cumulative_log_odds_are_those_of_clmm(case: str) -> None:
    expected, model = REFERENCE[case], fitted(case)
    terms = [in_r(term, {}) for term in expected["terms"]]
    assert set(terms) == set(model.terms)
    effects = [model.contrast({term: 1.0}) for term in terms]
    np.testing.assert_allclose([e.estimate for e in effects], expected["estimate"], rtol=1e-3)
    np.testing.assert_allclose([e.standard_error for e in effects], expected["se"], rtol=1e-3)
    away = np.array([e.estimate for e in effects]) - expected["estimate"]
    assert np.abs(away / expected["se"]).max() < 2e-4
    assert expected["logLik"] - 1e-7 < model.log_likelihood < expected["logLik"] + 1e-5
    assert model.sd_intercept == pytest.approx(expected["sd"][0], rel=1e-4)
    assert model.sd_slope == pytest.approx(expected["sd"][1], rel=1e-4)
    assert model.correlation == pytest.approx(expected["correlation"], abs=1e-4)


def test_two_levels_are_the_logistic_model() -> None:
    found = rows()
    any_ = [int(row["level"]) > 0 for row in found]
    who, stress = [row["id"] for row in found], [int(row["stress"]) for row in found]
    logistic = fit_companion(Counts.from_rows(who, stress, any_), arms(), "control", x_scale=10)
    cumulative = fit_ordinal(
        LevelCounts.from_rows(who, stress, any_), arms(), "control", x_scale=10
    )
    assert cumulative.log_likelihood == pytest.approx(logistic.log_likelihood, abs=1e-7)
    for term in cumulative.terms:
        one, other = cumulative.contrast({term: 1.0}), logistic.contrast({term: 1.0})
        assert one.estimate == pytest.approx(other.estimate, rel=1e-5)
        assert one.standard_error == pytest.approx(other.standard_error, rel=1e-5)


def test_the_gradient_is_that_of_finite_differences() -> None:
    levels = counts()
    people = len(levels.participants)
    level = np.array([[person % 2.0] for person in range(people)], dtype=np.float64)
    cells, _ = about_cuts(levels, levels.stress / 20 - 2)
    slope = np.asarray(1 - level, dtype=np.float64)
    laplace = Laplace(cells, ByPerson(cells, level, slope), Cuts(levels.n.sum(axis=0)[1:-1]))
    for at in ([0.8, 0.2, 0.5, -1.0, 0.3, -0.2, 0.1, 0.3], [1.5, -0.9, 0.05, 0.2, 0, 0.4, 1, 0.2]):
        here = np.array(at)
        gradient = laplace.deviance(here)[1]
        for k, step in enumerate(1e-5 * np.eye(8)):
            up, down = laplace.deviance(here + step)[0], laplace.deviance(here - step)[0]
            assert gradient[k] == pytest.approx((up - down) / 2e-5, rel=1e-4, abs=1e-3)


def test_the_likelihood_is_that_of_the_levels() -> None:
    """Without random effects the sum over binomials about cuts is the multinomial's."""
    levels = counts()
    cells, _ = about_cuts(levels, np.zeros(len(levels.stress)))
    one = np.ones((len(levels.participants), 1))
    laplace = Laplace(cells, ByPerson(cells, one, 0 * one), Cuts(levels.n.sum(axis=0)[1:-1]))
    free, level = np.array([-1.0, 0.3, -0.2, 0.5]), 0.4
    places = np.array([-1.0, *(-1.0 + np.cumsum(np.exp(free[1:])))])
    below = np.r_[0.0, 1 / (1 + np.exp(level - places)), 1.0]
    expected = -2 * levels.n.sum(axis=0) @ np.log(np.diff(below))
    found = laplace.deviance(np.r_[0.0, 0.0, 0.0, free, level])[0]
    assert found == pytest.approx(expected, rel=1e-12)


def test_levels_that_cannot_be_compared_are_refused_in_words() -> None:
    found = rows()
    who, stress = [row["id"] for row in found], [int(row["stress"]) for row in found]
    flat = [0 if row["arm"] == "low" else int(row["level"]) for row in found]
    with pytest.raises(ValueError, match="always at the same level in arm 'low'"):
        fit_ordinal(LevelCounts.from_rows(who, stress, flat), arms(), "control")
    with pytest.raises(ValueError, match="always at the same level, so"):
        fit_ordinal(LevelCounts.from_rows(who, stress, [3] * len(who)))
    many = [number % 7 for number, _ in enumerate(who)]
    with pytest.raises(ValueError, match="craving has 7 levels"):
        fit_ordinal(LevelCounts.from_rows(who, stress, many))


def test_separated_levels_are_refused_in_words() -> None:
    who, stress = np.repeat(np.arange(12), 10), np.tile(np.arange(10), 12)
    with pytest.raises(ValueError, match="the terms separate the answers"):
        fit_ordinal(LevelCounts.from_rows(who.tolist(), stress, stress // 4))
