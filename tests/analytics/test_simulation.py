"""The simulated trial has the shape it claims, and the same seed gives the same people."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics import simulation
from analytics.simulation import Effect, Integers, People, Ratings, Shape

PEOPLE, DAYS = 1200, 98
NO_EFFECT = Effect(attenuation=0.0)


def prompts(rng: np.random.Generator, days: int = DAYS) -> tuple[Integers, np.ndarray]:
    hours = np.sort(rng.uniform(8, 22, (days, 4)), axis=1).ravel()
    return np.repeat(np.arange(1, days + 1), 4), hours


def simulated(effect: Effect = simulation.PUBLISHED, seed: int = 1) -> tuple[People, Ratings]:
    """Every second person is treated; nobody's data depend on the number of others."""
    rng = np.random.default_rng(seed)
    people = simulation.draw_people(rng, [i % 2 == 1 for i in range(PEOPLE)], effect)
    return people, simulation.draw_ratings(rng, people, *prompts(rng))


def own_slopes(ratings: Ratings) -> np.ndarray:
    """Within-person slopes of craving on stress, in a plain way."""
    found = np.full(len(ratings.stress), np.nan)
    for i, answered in enumerate(ratings.answered):
        stress, craving = ratings.stress[i, answered], ratings.craving[i, answered]
        if len(stress) > 20 and stress.std() > 0:
            found[i] = np.polyfit(stress, craving, 1)[0]
    return found


@pytest.fixture(scope="module")
def trial() -> tuple[People, Ratings]:
    return simulated()


def test_craving_is_mostly_low_and_about_half_of_it_zero(trial: tuple[People, Ratings]) -> None:
    _, ratings = trial
    craving = ratings.craving[ratings.answered]
    assert craving.mean() == pytest.approx(14, abs=1.5)
    assert 0.40 < (craving == 0).mean() < 0.55


def test_compliance_is_about_77_percent_until_somebody_stops(
    trial: tuple[People, Ratings],
) -> None:
    people, ratings = trial
    day = np.repeat(np.arange(1, DAYS + 1), 4)
    still = day[None, :] <= people.drop_out_day[:, None]
    assert ratings.answered[still].mean() == pytest.approx(0.77, abs=0.02)
    assert not ratings.answered[~still].any()
    first = still & (np.arange(len(day)) % 4 == 0)[None, :]
    assert ratings.answered[first].mean() < ratings.answered[still & ~first].mean() - 0.03


def test_a_quarter_has_stopped_by_the_end(trial: tuple[People, Ratings]) -> None:
    people, _ = trial
    assert (people.drop_out_day <= DAYS).mean() == pytest.approx(0.25, abs=0.04)


def test_slopes_are_drawn_as_stated_and_flattened_by_the_floor(
    trial: tuple[People, Ratings],
) -> None:
    people, ratings = trial
    assert people.slope[~people.treated].mean() == pytest.approx(0.45, abs=0.02)
    assert people.slope[people.treated].mean() == pytest.approx(0.27, abs=0.02)
    slopes = own_slopes(ratings)
    control = np.nanmean(slopes[~people.treated])
    treated = np.nanmean(slopes[people.treated])
    assert control == pytest.approx(0.275, abs=0.02)
    assert treated == pytest.approx(0.167, abs=0.02)


def test_a_shift_alone_lowers_the_mean_and_leaves_the_drawn_slopes() -> None:
    plain, shifted = simulated(NO_EFFECT), simulated(Effect(0.0, arm_shift=-15))
    assert np.array_equal(plain[0].slope, shifted[0].slope)
    treated = plain[0].treated
    before, after = (r.craving[treated].mean() for _, r in (plain, shifted))
    assert after < before - 5
    assert np.array_equal(plain[1].craving[~treated], shifted[1].craving[~treated])
    # the floor trap: the mean alone makes the slope of the answers smaller
    seen = [np.nanmean(own_slopes(r)[treated]) for _, r in (plain, shifted)]
    assert seen[1] < seen[0] - 0.05


def test_without_effect_the_arms_are_alike() -> None:
    people, ratings = simulated(NO_EFFECT)
    slopes = own_slopes(ratings)
    difference = np.nanmean(slopes[people.treated]) - np.nanmean(slopes[~people.treated])
    assert difference == pytest.approx(0, abs=0.035)


def test_people_with_more_stress_crave_more(trial: tuple[People, Ratings]) -> None:
    people, _ = trial
    between = np.corrcoef(people.stress_mean, people.craving_mean)[0, 1]
    assert between == pytest.approx(0.35, abs=0.08)


def test_lapses_share_a_frailty_with_craving_and_are_rarer_under_treatment() -> None:
    rng = np.random.default_rng(5)
    people = simulation.draw_people(rng, [i % 2 == 1 for i in range(PEOPLE)])
    staying = dataclasses.replace(people, drop_out_day=np.full(PEOPLE, np.inf))
    results = simulation.draw_urine(rng, staying, range(1, 43))
    share = np.array([[each != "negative" for each in mine] for mine in results]).mean(axis=1)
    assert np.corrcoef(people.craving_mean, share)[0, 1] > 0.25
    assert share[people.treated].mean() < share[~people.treated].mean() - 0.02


def test_tests_after_drop_out_are_missed() -> None:
    rng = np.random.default_rng(6)
    people = simulation.draw_people(rng, [False] * 50)
    gone = dataclasses.replace(people, drop_out_day=np.full(50, 10.0))
    results = simulation.draw_urine(rng, gone, [1, 10, 11, 40])
    assert all(mine[2:] == ["missed", "missed"] for mine in results)
    assert any(mine[0] == "negative" for mine in results)


def test_the_same_seed_gives_the_same_trial_and_another_a_different_one() -> None:
    first, again, other = simulated(seed=3), simulated(seed=3), simulated(seed=4)
    assert np.array_equal(first[1].craving, again[1].craving)
    assert not np.array_equal(first[1].craving, other[1].craving)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    hours=st.lists(st.floats(0, 23.9), min_size=1, max_size=6),
    days=st.integers(1, 5),
    attenuation=st.floats(-1, 1),
    shift=st.floats(-60, 60),
)
def test_whatever_is_asked_for_answers_are_whole_points_on_the_scale(
    seed: int, hours: list[float], days: int, attenuation: float, shift: float
) -> None:
    rng = np.random.default_rng(seed)
    people = simulation.draw_people(rng, [False, True, True], Effect(attenuation, shift))
    day = np.repeat(np.arange(1, days + 1), len(hours))
    ratings = simulation.draw_ratings(rng, people, day, np.tile(np.sort(hours), days))
    for values in (ratings.stress, ratings.craving, ratings.pain):
        assert values.shape == (3, len(day))
        assert values.dtype == np.int64
        assert values.min() >= 0
        assert values.max() <= 100
    assert (ratings.latency_s > 0).all()
    assert (ratings.latency_s < 30 * 60).all()


def test_what_is_left_of_craving_remembers_the_prompt_before() -> None:
    """The median person's lag-1 autocorrelation within days of residuals about the own line."""
    rng = np.random.default_rng(8)
    people = simulation.draw_people(rng, [False] * 300)
    hours = simulation.draw_hours(rng, (300, DAYS), 4, (8, 22), 1)
    ratings = simulation.draw_ratings(rng, people, np.repeat(np.arange(1, DAYS + 1), 4), hours)
    found = []
    for stress, craving in zip(ratings.stress, ratings.craving, strict=True):
        if craving.any():
            slope, level = np.polyfit(stress, craving, 1)
            left = (craving - level - slope * stress).reshape(DAYS, 4)
            found.append(np.corrcoef(left[:, :-1].ravel(), left[:, 1:].ravel())[0, 1])
    assert np.median(found) == pytest.approx(0.28, abs=0.03)


def test_without_bounds_the_answers_show_the_slopes_that_were_drawn() -> None:
    rng = np.random.default_rng(9)
    shape = Shape(slope_sd=0.05, pain_stress=0.0, bounded=False)
    drawn = simulation.draw_people(rng, [False] * 300, shape=shape)
    people = dataclasses.replace(drawn, stress_mean=np.full(300, 50.0))  # away from both ends
    ratings = simulation.draw_ratings(rng, people, *prompts(rng), shape)
    assert ratings.craving.min() < 0
    slopes = own_slopes(ratings)
    assert np.nanmean(slopes) == pytest.approx(0.45, abs=0.015)
    assert np.nanstd(slopes) < 0.1


def test_the_shape_sets_compliance_and_drop_out() -> None:
    rng = np.random.default_rng(10)
    shape = Shape(compliance_logit=30.0, dropped_out_by_day_98=0.0)
    people = simulation.draw_people(rng, [False] * 50, shape=shape)
    assert np.isinf(people.drop_out_day).all()
    assert simulation.draw_ratings(rng, people, *prompts(rng), shape).answered.all()


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    prompts_a_day=st.integers(1, 12),
    start=st.floats(0, 10),
    length=st.floats(1, 13),
    gap=st.floats(0, 3),
)
def test_hours_are_in_order_inside_the_window_and_a_gap_apart(
    seed: int, prompts_a_day: int, start: float, length: float, gap: float
) -> None:
    rng = np.random.default_rng(seed)
    hours = simulation.draw_hours(rng, (3, 5), prompts_a_day, (start, start + length), gap)
    assert hours.shape == (3, 5 * prompts_a_day)
    days = hours.reshape(3, 5, prompts_a_day)
    assert days.min() >= start - 1e-9
    assert days.max() <= start + length + 1e-9
    kept = min(gap, length / prompts_a_day)
    around = np.concatenate([days, days[:, :, :1] + length], axis=2)
    assert np.diff(around, axis=2).min() >= kept - 1e-9


def test_nobody_and_nothing_can_be_simulated() -> None:
    rng = np.random.default_rng(0)
    none = simulation.draw_people(rng, [])
    ratings = simulation.draw_ratings(rng, none, np.array([1, 1]), np.array([9.0, 12.0]))
    assert ratings.stress.shape == (0, 2)
