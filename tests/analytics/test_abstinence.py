"""Lapse, relapse and longest abstinence: calendars made by hand, a coded trial, a simulated one."""

import csv
import json
from dataclasses import asdict
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from analytics import simulation
from analytics.abstinence import RESULTS, Abstinence, ScheduledTest, abstinence, difference_of_means
from analytics.many_calendars import STAYED, Scheduled, calendars
from analytics.survival import Risks, cox, kaplan_meier, log_rank
from tests.real_data import ROOT, real_data

SIGNS = {"-": "negative", "+": "positive", "o": "missed"}


def calendar(signs: str, every: int = 7, first: int = 7) -> list[ScheduledTest]:
    """One test per sign, `every` so many days."""
    return [ScheduledTest(first + every * k, SIGNS[sign]) for k, sign in enumerate(signs)]


def outcome(signs: str, **more: Any) -> Abstinence:
    found = abstinence(calendar(signs), **more)
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("signs", "longest", "run", "lapse", "relapse"),
    [
        ("----", 28, 4, None, None),
        ("+---", 21, 3, 7, None),
        ("---+", 28, 3, 28, None),  # allocation to the lapse
        ("-+--", 14, 2, 14, None),
        ("-++-", 14, 1, 14, 21),
        ("-o+-", 14, 1, 14, 21),  # missed then positive are two in a row
        ("+-+-+-", 14, 1, 7, None),  # never two in a row
        ("++++", 7, 0, 7, 14),  # the days between two lapses
        ("+--+---++", 28, 3, 7, 63),
        ("+", 7, 0, 7, None),
        ("-", 7, 1, None, None),
    ],
)
def test_a_calendar_says_its_lapse_relapse_and_longest_abstinence(
    signs: str, longest: int, run: int, lapse: int | None, relapse: int | None
) -> None:
    found = outcome(signs)
    assert (found.longest_abstinence, found.longest_run) == (longest, run)
    assert (found.lapse_day, found.relapse_day) == (lapse, relapse)
    assert found.last_day == 7 * len(signs)
    assert found.n_positive + found.n_missed + found.n_negative == found.n_tests == len(signs)


def test_who_had_no_event_is_censored_at_the_last_known_test() -> None:
    assert outcome("---").until_lapse() == (21, False)
    assert outcome("-+-").until_lapse() == (14, True)
    assert outcome("-+-").until_relapse() == (21, False)
    assert outcome("-+o-").until_relapse() == (21, True)


def test_days_count_from_allocation_and_what_was_before_is_left_out() -> None:
    tests = [ScheduledTest(-7, "positive"), ScheduledTest(0, "positive"), *calendar("--")]
    assert abstinence(tests) == outcome("--")
    assert abstinence([ScheduledTest(0, "negative")]) is None
    assert abstinence([]) is None


def test_uneven_days_are_counted_as_they_are() -> None:
    found = abstinence(
        [ScheduledTest(1, "negative"), ScheduledTest(3, "positive"), ScheduledTest(5, "negative")]
    )
    assert found is not None
    assert found.longest_abstinence == 3
    later = abstinence(
        [ScheduledTest(1, "missed"), ScheduledTest(3, "negative"), ScheduledTest(5, "negative")]
    )
    assert later is not None
    assert later.longest_abstinence == 4


def test_what_is_missed_after_drop_out_counts_unless_the_switch_is_off() -> None:
    assert outcome("--ooo", dropped_out_on=15).relapse_day == 28
    off = outcome("--ooo", dropped_out_on=15, missed_after_dropout_counts=False)
    assert off.until_relapse() == off.until_lapse() == (14, False)
    before = outcome("-o-oo", dropped_out_on=22, missed_after_dropout_counts=False)
    assert before.until_lapse() == (14, True)
    came = outcome("--o+", dropped_out_on=15, missed_after_dropout_counts=False)
    assert came.until_lapse() == (28, True)  # a result is a result
    gone = abstinence(calendar("oo"), dropped_out_on=0, missed_after_dropout_counts=False)
    assert gone is None


def test_what_cannot_be_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="two tests are due on day 7"):
        abstinence([ScheduledTest(7, "negative"), ScheduledTest(7, "positive")])
    with pytest.raises(ValueError, match="day 7 is 'open': it must be negative, positive, missed"):
        abstinence([ScheduledTest(7, "open")])


@given(st.lists(st.tuples(st.integers(1, 120), st.sampled_from(RESULTS)), min_size=1, max_size=40))
def test_stretches_fill_the_time_and_a_relapse_is_never_before_a_lapse(
    drawn: list[tuple[int, str]],
) -> None:
    tests = [ScheduledTest(*one) for one in dict(drawn).items()]
    found = abstinence(tests)
    assert found is not None
    lapses = sum(test.result != "negative" for test in tests)
    assert 0 < found.longest_abstinence <= found.last_day
    assert found.longest_abstinence * (lapses + 1) >= found.last_day
    if found.relapse_day is not None:
        assert found.lapse_day is not None
        assert found.lapse_day < found.relapse_day
    assert (found.lapse_day is None) == (lapses == 0)


def risks_until(ends: list[tuple[int, bool]], arms: list[int]) -> Risks:
    return Risks.of([day for day, _ in ends], [happened for _, happened in ends], arms, 2)


# --- two groups ---------------------------------------------------------------------------


def test_the_difference_of_means_agrees_with_r() -> None:
    golden = json.loads((ROOT / "tests/golden/survival.json").read_text())
    for case in golden["cases"].values():
        score, arm = np.array(case["score"]), np.array(case["arm"])
        reference = score[arm == case["arms"][0]]
        for name, expected in zip(case["arms"][1:], case["welch"], strict=True):
            found = difference_of_means(score[arm == name], reference)
            mine = (found.t, found.df, found.p, *found.interval)
            theirs = (expected["t"], expected["df"], expected["p"], *expected["interval"])
            assert mine == pytest.approx(theirs, rel=1e-6)


def test_the_effect_sizes_are_those_of_the_text_books() -> None:
    found = difference_of_means([3, 4, 5], [1, 2, 3])
    assert found.cohen_d == pytest.approx(2.0)
    assert found.hedges_g == pytest.approx(2.0 * 0.7978845608)  # Γ(2) / (√2 Γ(1.5))
    assert found.hedges_g == pytest.approx(2.0 * (1 - 3 / 15), rel=0.01)


@pytest.mark.parametrize(
    ("group", "reference", "why"),
    [([1], [1, 2], "two participants in each arm"), ([7, 7], [7, 7], "no spread")],
)
def test_a_difference_that_cannot_be_made_is_refused_in_words(
    group: list[int], reference: list[int], why: str
) -> None:
    with pytest.raises(ValueError, match=why):
        difference_of_means(group, reference)


# --- many at once -------------------------------------------------------------------------

DUE = st.tuples(st.integers(0, 4), st.integers(-3, 60), st.integers(0, 2))
GONE = st.lists(st.one_of(st.none(), st.integers(0, 50)), min_size=5, max_size=5)


@given(st.lists(DUE, max_size=60, unique_by=lambda due: due[:2]), GONE, st.booleans())
def test_many_calendars_at_once_say_what_each_says_alone(
    due: list[tuple[int, int, int]], gone: list[int | None], counts: bool
) -> None:
    tests = Scheduled(*np.array(due, dtype=np.int64).reshape(-1, 3).T)
    left = np.array([STAYED if day is None else day for day in gone])
    found = calendars(tests, left, missed_after_dropout_counts=counts)
    alone = {
        person: one
        for person in range(5)
        if (
            one := abstinence(
                [ScheduledTest(day, RESULTS[result]) for own, day, result in due if own == person],
                dropped_out_on=gone[person],
                missed_after_dropout_counts=counts,
            )
        )
    }
    assert found.person.tolist() == list(alone)
    for row, one in zip(found.each(), alone.values(), strict=True):
        assert row == {"person": row["person"]} | asdict(one)


# --- CTN-0027: 1,269 participants, one test a week ----------------------------------------


@pytest.fixture(scope="module")
def coded() -> list[dict[str, str]]:
    with (real_data("ctn0094_opioid") / "ctn0027_weekly_urine.csv").open() as file:
        return list(csv.DictReader(file))


def weekly(row: dict[str, str], in_a_row: int = 2) -> Abstinence:
    """A sample that was not given or cannot be told counts like a positive one."""
    found = outcome(row["usePatternUDS"].replace("*", "+"), in_a_row=in_a_row)
    assert found is not None
    return found


def test_the_coded_end_points_of_ctn_0027_are_reproduced(coded: list[dict[str, str]]) -> None:
    assert len(coded) == 1269
    for row in coded:
        found = weekly(row)
        assert found.longest_run == int(row["schottenfeld2008B_abs"])
        assert found.n_negative == int(row["fiellin2006_abs"])
        day, happened = found.until_lapse()
        assert (day / 7, happened) == (
            int(row["mokri2016_abs_time"]),
            row["mokri2016_abs_event"] == "1",
        )


@pytest.mark.parametrize(("coding", "in_a_row"), [("ctn0094", 4), ("schottenfeld2008", 3)])
def test_the_coded_relapses_of_ctn_0027_are_reproduced(
    coded: list[dict[str, str]], coding: str, in_a_row: int
) -> None:
    """Their time is the first of the run, ours the last."""
    name = "ctn0094_relapse" if coding == "ctn0094" else f"{coding}_rel"
    for row in coded:
        day, happened = weekly(row, in_a_row).until_relapse()
        assert happened == (row[f"{name}_event"] == "1")
        if happened:
            assert day / 7 - in_a_row + 1 == int(row[f"{name}_time"])


def test_ctn_0027_by_arm_agrees_with_r(coded: list[dict[str, str]]) -> None:
    path = real_data("ctn0094_opioid") / "reference_survival.json"
    expected = json.loads(path.read_text())["CTN_0027"]
    arms = [int(row["arm"] != "Methadone") for row in coded]
    lapse = [weekly(row).until_lapse() for row in coded]
    fit = cox(risks_until(lapse, arms))
    assert fit.log_ratio[0] == pytest.approx(expected["cox_first_lapse"]["logHR"], rel=1e-6)
    error = float(np.sqrt(fit.covariance[0, 0]))
    assert error == pytest.approx(expected["cox_first_lapse"]["se"], rel=1e-6)
    times = [int(row["ctn0094_relapse_time"]) for row in coded]
    relapse = Risks.of(times, [row["ctn0094_relapse_event"] == "1" for row in coded], arms, 2)
    fit, rank = cox(relapse), log_rank(relapse)
    assert rank is not None
    assert rank.statistic == pytest.approx(expected["logrank_chisq"], rel=1e-6)
    assert fit.log_ratio[0] == pytest.approx(expected["cox_relapse"]["logHR"], rel=1e-6)
    medians = [kaplan_meier(relapse, arm).median for arm in (0, 1)]
    assert medians == list(expected["km_median"].values())
    runs = np.array([weekly(row).longest_run for row in coded])
    treated = np.array(arms) == 1
    found, theirs = difference_of_means(runs[~treated], runs[treated]), "longest_abstinence_weeks"
    assert (found.t, found.df, found.p) == pytest.approx(
        [expected[theirs][key] for key in ("welch_t", "df", "p")], rel=1e-6
    )


# --- the simulator ------------------------------------------------------------------------


def test_simulated_urine_tests_have_the_published_size_of_effect() -> None:
    """25.5 and 34.8 days (SD 20.4 and 28.9), d 0.38, hazard ratio 0.67; drop-outs' tests missed.

    Tolerances are four Monte-Carlo standard errors of 4,000 people an arm. 60,000 an arm gave
    25.5 and 34.8, SD 20.4 and 28.9, d 0.373 and 0.674.
    """
    rng, people = np.random.default_rng(94), 8_000
    arms = np.arange(people) % 2
    drawn = simulation.draw_people(rng, [bool(arm) for arm in arms])
    results = simulation.draw_urine(rng, drawn, range(2, 99))
    found = []
    for first_weekday, mine in zip(rng.integers(0, 7, people), results, strict=True):
        days = [day for day in range(2, 99) if (first_weekday + day - 1) % 7 in (0, 2, 4)]
        tests = (ScheduledTest(day - 1, mine[day - 2]) for day in days)
        found.append(abstinence(tests) or pytest.fail("there are tests after allocation"))
    longest = np.array([one.longest_abstinence for one in found])
    control, treated = longest[arms == 0], longest[arms == 1]
    assert control.mean() == pytest.approx(25.5, abs=1.3)
    assert treated.mean() == pytest.approx(34.8, abs=1.9)
    assert (control.std(), treated.std()) == pytest.approx((20.4, 28.9), abs=1.5)
    assert difference_of_means(treated, control).cohen_d == pytest.approx(0.375, abs=0.09)
    fit = cox(risks_until([one.until_lapse() for one in found], arms.tolist()))
    assert float(fit.log_ratio[0]) == pytest.approx(np.log(0.67), abs=0.1)
