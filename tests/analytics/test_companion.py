"""The floor companion against lme4::glmer (Laplace) and against its own derivatives."""

import csv
import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from analytics.companion import Companion, Counts, fit_companion
from analytics.companion_rows import MOST_CELLS, fit_rows
from analytics.design import Terms
from analytics.fixed_effects import arms_of, coupling_design, in_context
from analytics.gram import Gram
from analytics.laplace import ByPerson, Cells, Laplace
from analytics.mixed_model import fit_design, fit_mixed_model
from analytics.moments import Moments
from analytics.ordinal import LevelCounts
from analytics.simulation import Effect, draw_people, draw_ratings
from tests.analytics.test_agreement import GOLDEN, in_r, simulated

REFERENCE = json.loads((GOLDEN / "companion.json").read_text(encoding="utf-8"))["cases"]


BY_ROW = ("with_a_trend", "in_context")


def many() -> list[dict[str, str]]:
    with (GOLDEN / "simulated_any.csv").open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def fit(rows: list[dict[str, str]], any_: list[bool], arms: bool = True, **more: Any) -> Companion:
    who = [row["id"] for row in rows]
    counts = Counts.from_rows(who, [int(row["stress"]) for row in rows], any_)
    arm_of = {row["id"]: row["arm"] for row in rows}
    return fit_companion(counts, arm_of if arms else None, "control" if arms else None, **more)


def fitted(case: str, **more: Any) -> Companion:
    if case == "two_arms":
        rows = many()
        return fit(rows, [row["any"] == "1" for row in rows], **more)
    rows = simulated()
    return fit(rows, [int(row["craving"]) > 25 for row in rows], case == "three_arms", **more)


@pytest.mark.parametrize("case", [case for case in REFERENCE if case not in BY_ROW])
def test_log_odds_and_errors_are_those_of_glmer(case: str) -> None:
    """glmer with tight inner iterations; two of the three fits are singular."""
    expected, model = REFERENCE[case], fitted(case)
    terms = [in_r(term, {}) for term in expected["terms"]]
    assert set(terms) == set(model.terms)
    effects = [model.contrast({term: 1.0}) for term in terms]
    np.testing.assert_allclose([e.estimate for e in effects], expected["estimate"], rtol=1e-4)
    np.testing.assert_allclose([e.standard_error for e in effects], expected["se"], rtol=1e-4)
    assert model.log_likelihood == pytest.approx(expected["logLik"], abs=1e-6)
    assert model.sd_intercept == pytest.approx(expected["sd"][0], rel=1e-4)
    assert model.sd_slope == pytest.approx(expected["sd"][1], rel=1e-4)
    assert model.correlation == pytest.approx(expected["correlation"], abs=1e-4)
    assert model.singular is (case != "two_arms")


def with_terms(case: str, x_scale: float = 1) -> Companion:
    """With a trend over a person's rows, or a moderator of the moment, from the rows themselves."""
    rows = many()
    who, stress = [row["id"] for row in rows], np.array([int(row["stress"]) for row in rows])
    number = np.concatenate([np.arange(who.count(code)) + 1 for code in sorted(set(who))])
    context = number * 7 % 11
    any_ = np.array([int(row["any"]) for row in rows])
    columns = {"stress": stress, "@t": number, "@z": context, "stress*@z": stress * context}
    gram = Gram.from_rows(who, columns | {"craving": any_})
    centred = gram.centred({"stress": x_scale})
    arm_of, levels = arms_of(gram.participants, {r["id"]: r["arm"] for r in rows}, "control", None)
    also = {"@t": Terms(centred).raw("@t")}
    if case == "in_context":
        also = in_context(centred, "@z", arm_of, levels)
    design = coupling_design(centred, arm_of, levels, also=also)
    model = fit_design(design)
    place = {code: at for at, code in enumerate(gram.participants)}
    person = np.array([place[code] for code in who])
    counts = LevelCounts(gram.participants, person, stress / x_scale, np.stack([1 - any_, any_], 1))
    units = {"stress": x_scale, "stress*@z": x_scale}
    functions = {name: column / units.get(name, 1.0) for name, column in columns.items()}
    return fit_rows(design, model.terms, counts, functions)


@pytest.mark.parametrize("case", BY_ROW)
def test_more_terms_are_those_of_glmer(case: str) -> None:
    expected, model = REFERENCE[case], with_terms(case)
    names = {"t": "@t", "z": "@z_within"}
    numbers = zip(expected["estimate"], expected["se"], strict=True)
    found = dict(zip(expected["terms"], numbers, strict=True))
    del found["(Intercept)"]  # a cut stands for it
    assert {in_r(term, names) for term in found} == set(model.terms)
    for term, (estimate, error) in found.items():
        ours = model.contrast({in_r(term, names): 1.0})
        assert ours.estimate == pytest.approx(estimate, abs=2e-4 * error)
        assert ours.standard_error == pytest.approx(error, rel=1e-4)
    assert model.log_likelihood == pytest.approx(expected["logLik"], abs=1e-6)
    assert model.sd_slope == pytest.approx(expected["sd"][1], rel=1e-4)
    scaled = with_terms(case, x_scale=10).contrast({"stress_within:arm[high]": 1.0})
    plain = model.contrast({"stress_within:arm[high]": 1.0})
    assert scaled.estimate == pytest.approx(10 * plain.estimate, rel=1e-5)


def test_too_many_rows_are_refused_in_words() -> None:
    size = MOST_CELLS + 1
    counts = LevelCounts(
        ("a",), np.zeros(size, dtype=np.int64), np.zeros(size), np.ones((size, 2), int)
    )
    centred = Gram.from_rows(["a"], {"stress": [1], "craving": [1]}).centred()
    with pytest.raises(ValueError, match="at most 200,000 different rows, and there are 200,001"):
        fit_rows(coupling_design(centred), (), counts, {})


def test_the_gradient_is_that_of_finite_differences() -> None:
    rows = many()
    counts = Counts.from_rows(
        [r["id"] for r in rows], [int(r["stress"]) for r in rows], [r["any"] == "1" for r in rows]
    )
    people = len(counts.participants)
    level = np.column_stack([np.ones(people), np.arange(people) % 2.0])
    slope = np.column_stack([np.zeros(people), np.ones(people)])
    cells = Cells(counts.person, counts.stress / 20 - 2, counts.n, counts.any)
    laplace = Laplace(cells, ByPerson(cells, level, slope))
    for at in ([0.8, 0.2, 0.5, 0.1, 0.3], [1.5, -0.9, 0.05, -0.4, 0.9]):
        here = np.array(at)
        gradient = laplace.deviance(here)[1]
        for k, step in enumerate(1e-5 * np.eye(5)):
            up, down = laplace.deviance(here + step)[0], laplace.deviance(here - step)[0]
            assert gradient[k] == pytest.approx((up - down) / 2e-5, rel=1e-4, abs=1e-3)


def test_units_of_stress_are_units_of_the_answer() -> None:
    plain, scaled = fitted("two_arms"), fitted("two_arms", x_scale=10)
    term = {"stress_within:arm[high]": 1.0}
    one, other = plain.contrast(term), scaled.contrast(term)
    assert other.estimate == pytest.approx(10 * one.estimate, rel=1e-6)
    assert other.z == pytest.approx(one.z, rel=1e-5)
    with pytest.raises(ValueError, match="no term 'arm\\[low\\]'"):
        plain.contrast({"arm[low]": 1.0})


def test_an_arm_with_one_answer_is_refused_in_words() -> None:
    rows = simulated()
    with pytest.raises(ValueError, match="craving is always above zero in arm 'low'"):
        fit(rows, [row["arm"] == "low" or int(row["craving"]) > 25 for row in rows])
    with pytest.raises(ValueError, match="craving is never above zero, so the odds"):
        fit(rows, [False] * len(rows), arms=False)


def test_counts_hold_every_row_once() -> None:
    counts = Counts.from_rows(list("bbab"), [3, 1, 1, 3], [True, False, True, False])
    assert counts.participants == ("a", "b")
    cells = zip(counts.person, counts.stress, counts.n, counts.any, strict=True)
    assert [tuple(map(int, cell)) for cell in cells] == [(0, 1, 1, 1), (1, 1, 1, 0), (1, 3, 2, 1)]
    assert counts.moments().n.tolist() == [1, 3]


def trap(seed: int) -> tuple[float, float]:
    """z of the linear contrast and of the companion's where treatment lowers the mean alone."""
    rng = np.random.default_rng(seed)
    treated = np.arange(118) % 2 == 1
    people = draw_people(rng, treated.tolist(), Effect(attenuation=0.0, arm_shift=-15.0))
    day: NDArray[np.int64] = np.repeat(np.arange(1, 43), 4)
    ratings = draw_ratings(rng, people, day, np.tile([9.0, 13.0, 17.0, 21.0], 42))
    who = np.repeat(np.arange(118), ratings.stress.shape[1]).tolist()
    stress, craving = ratings.stress.ravel(), ratings.craving.ravel()
    arms = {i: "treated" if treated[i] else "control" for i in range(118)}
    linear = fit_mixed_model(Moments.from_rows(who, stress, craving), arms, "control")
    companion = fit_companion(Counts.from_rows(who, stress, craving > 0), arms, "control")
    return linear.contrasts()[0].difference.t, companion.contrast(
        {"stress_within:arm[treated]": 1.0}
    ).z


def test_a_lower_mean_alone_fools_the_linear_slope_and_not_the_companion() -> None:
    linear, companion = zip(*(trap(seed) for seed in range(4)), strict=True)
    assert np.mean(linear) < -2.5
    assert abs(np.mean(companion)) < 1.5
