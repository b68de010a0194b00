"""Outcomes against R through the database, beside the coupling, and in the comparison."""

import csv
import json
from io import StringIO
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from hypothesis import given, settings
from hypothesis import strategies as st

from analytics.coupling import estimate_couplings
from analytics.demo import study as demo_study
from analytics.figures_survival import figures_of_outcomes
from analytics.freezing import freeze
from analytics.outcomes import OutcomesImpossible, outcomes
from analytics.outcomes_wording import outcomes_table, sentences
from analytics.plan import Plan
from analytics.plans import lock, save
from analytics.rank_correlation import rank_correlation
from analytics.whole_comparison import compare_whole
from ema.audit import COMMAND
from ema.models import Allocation, Arm, Participant, Study, UrineTest
from tests.analytics.answers import DAY, START, add_participant, make_study, make_trial, make_user
from tests.analytics.urine import DAY_0, a_test, allocate_on, give_tests, make_urine_trial
from tests.real_data import ROOT

pytestmark = pytest.mark.django_db
GOLDEN = json.loads((ROOT / "tests/golden/survival.json").read_text())
PLACEBO = ("-+--", "+---", "--++", "++++", "-+o-", "----")
CLONIDINE = ("----", "---+", "-+--", "----", "--+o", "+---")
PAGE, COMPARISON = "/studies/relief/outcomes/", "/studies/relief/comparison/"


def near(value: object) -> Any:
    return pytest.approx(value, rel=1e-6, abs=1e-9)


def by_arm(rows: list[dict[str, Any]]) -> dict[str | None, dict[str, Any]]:
    return {row["arm"]: row for row in rows}


def people(report: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {one["participant"]: one for one in report["participants"]}


def statistician(study: Study) -> Client:
    client = Client()
    client.force_login(make_user("stat", study, "statistician"))
    return client


def both() -> Study:
    """Twelve participants with answers and with urine tests."""
    study = make_trial()
    for number, person in enumerate(study.participants.order_by("code")):
        give_tests(person, range(7, 35, 7), (PLACEBO, CLONIDINE)[number % 2][number // 2])
    allocate_on(study)
    estimate_couplings(timezone.now())
    return study


# --- against R, through the database ------------------------------------------------------


def of_golden(case: dict[str, Any]) -> Study:
    """Who has the event is positive on the own day, who is censored negative."""
    study = make_study(arms=case["arms"])
    columns = [case[key] for key in ("arm", "stratum", "day", "event")]
    tests, slots = [], []
    at = {arm.key: arm for arm in Arm.objects.all()}
    for number, (arm, stratum, day, event) in enumerate(zip(*columns, strict=True)):
        person = add_participant(study, f"P{number:03}")
        tests.append(a_test(person, DAY_0 + day * DAY, "positive" if event else "negative"))
        slot = {"stratum": stratum, "position": number, "arm": at[arm], "participant": person}
        slots.append(Allocation(study=study, allocated_at=START, **slot))
    UrineTest.objects.bulk_create(tests)
    Allocation.objects.bulk_create(slots)
    return study


@pytest.mark.parametrize("name", sorted(GOLDEN["cases"]))
def test_curves_and_log_rank_from_the_database_agree_with_r(name: str) -> None:
    case = GOLDEN["cases"][name]
    report = outcomes(of_golden(case), timezone.now())
    arms = by_arm(report["arms"])
    for arm, expected in zip(case["arms"], case["curves"], strict=True):
        found = arms[arm]["lapse"]
        assert found["curve"]["day"] == expected["time"]
        assert found["curve"]["without"] == near(expected["share"])
        low = [one for one in found["curve"]["low"] if one is not None]
        assert low == near([one for one in expected["low"] if one is not None])
        assert found["median"] == expected["median"]
        assert found["median_interval"] == [expected["median_low"], expected["median_high"]]
        assert found["at_risk"][0]["n"] == case["arm"].count(arm)
    tests = report["tests"]["lapse"]
    for key, golden in (("log_rank", "logrank"), ("log_rank_by_stratum", "logrank_stratified")):
        assert [tests[key]["statistic"], tests[key]["df"]] == near(list(case[golden].values()))
    assert tests["proportional_hazards"]["statistic"] == near(case["cox"]["zph_global"])


@pytest.mark.parametrize("name", [name for name in GOLDEN["cases"] if name != "three_arms"])
def test_the_ratio_of_two_arms_from_the_database_agrees_with_r(name: str) -> None:
    case = GOLDEN["cases"][name]
    (contrast,) = outcomes(of_golden(case), timezone.now())["contrasts"]
    ratio = contrast["lapse"]
    for ours, theirs in ((ratio, case["cox"]), (ratio["by_stratum"], case["cox_stratified"])):
        assert ours["log_ratio"] == near(theirs["log_ratio"])
        assert ours["standard_error"] == near(np.sqrt(theirs["covariance"][0][0]))


def test_the_simulated_demo_lapses_later_under_treatment() -> None:
    wanted, now = demo_study.Wanted(participants=240), timezone.now()
    study = demo_study.create_study(wanted, "demo", now)
    cast = demo_study.enrol_everybody(wanted, study, now)
    demo_study.withdraw_drop_outs(cast, wanted, now)
    report = outcomes(study, now)
    (contrast,) = report["contrasts"]
    assert contrast["arm"] == "clonidine"
    assert 0.4 < contrast["lapse"]["hazard_ratio"] < 0.95
    assert 0.4 < contrast["lapse"]["by_stratum"]["hazard_ratio"] < 0.95
    assert contrast["longest_abstinence"]["estimate"] > 0
    assert report["other_rule"]["differs"]
    said = " ".join(sentences(report))
    assert "If tests missed after drop-out do not count" in said
    assert "Within the strata of allocation: 0." in said


# --- what is odd --------------------------------------------------------------------------


def test_day_0_is_the_day_of_allocation_where_the_participant_lives() -> None:
    study = make_urine_trial([("placebo", ("-+", "+-")), ("clonidine", ("--", "-+"))])
    allocate_on(study, START.replace(hour=23, minute=30))  # the next day already, in Brussels
    give_tests(Participant.objects.get(code="P000"), [0, 1], "++")  # before, and on day 0
    report = outcomes(study, timezone.now(), participants=True)
    assert people(report)["P000"]["lapse_day"] == 13


SIGNS_OF_ARM = st.lists(st.text("-+o?", min_size=0, max_size=5), min_size=0, max_size=4)


@settings(max_examples=25, deadline=None)
@given(st.lists(SIGNS_OF_ARM, min_size=2, max_size=3), st.booleans())
def test_whatever_was_recorded_there_is_a_report_or_a_sentence(
    signs: list[list[str]], counts: bool
) -> None:
    UrineTest.objects.all().delete()
    Allocation.objects.all().delete()
    Participant.objects.all().delete()
    study = Study.objects.filter(slug="relief").first() or make_study(arms=("a", "b", "c"))
    for arm, calendars in zip("abc", signs, strict=False):
        for number, each in enumerate(calendars):
            person = add_participant(study, f"P{arm}{number}", arm)
            give_tests(person, range(7, 7 * len(each) + 7, 7), each)
    allocate_on(study)
    Participant.objects.filter(code__endswith="1").update(withdrawn_at=START + 10 * DAY)
    plan = Plan(missed_after_dropout_counts=counts)
    stored = save(study=study, key="primary", plan=plan, actor=COMMAND, now=timezone.now())
    try:
        report = outcomes(study, START + 30 * DAY, stored, participants=True)
    except OutcomesImpossible as error:
        assert str(error).endswith(".")  # noqa: PT017
        return
    json.dumps(report, allow_nan=False)
    for figure in figures_of_outcomes(report).values():
        assert "nan" not in figure.draw(report) + str(figure.rows(report))
    assert outcomes_table(report)


def test_a_locked_plan_makes_it_specified_before() -> None:
    study, now = both(), timezone.now()
    draft = save(study=study, key="primary", plan=Plan(), actor=COMMAND, now=now)
    assert outcomes(study, now, draft)["exploratory"]
    report = outcomes(study, now, lock(stored=draft, actor=COMMAND, now=now))
    assert not report["exploratory"]
    assert report["notes"][0].startswith("Specified before: plan primary")


# --- beside the coupling ------------------------------------------------------------------


def test_everybodys_coupling_is_set_beside_their_abstinence() -> None:
    report = outcomes(both(), timezone.now(), participants=True)
    first, person = people(report)["P00"], Participant.objects.get(code="P00")
    assert first["slope"] == person.coupling.slope
    assert first["shrunken_slope"] == person.coupling.shrunken_slope
    assert (first["arm"], first["longest_abstinence"], first["lapse_day"]) == ("placebo", 14, 14)
    assert [one["n"] for one in report["correlations"]] == [6, 6]
    for one in report["correlations"]:
        low, high = one["interval"]
        assert -1 < low < one["spearman"] < high < 1
    assert "6 participants under placebo, coupling (shrunken slope) and longest" in " ".join(
        sentences(report)
    )
    table = outcomes_table(report)
    assert "P00" in table
    assert "14 (7 to …)" in table
    assert "P00" not in outcomes_table(outcomes(Study.objects.get(), timezone.now()))


def test_without_couplings_there_are_rows_and_no_correlation() -> None:
    study = make_urine_trial([("placebo", PLACEBO), ("clonidine", CLONIDINE)])
    report = outcomes(study, timezone.now(), participants=True)
    assert people(report)["P000"]["shrunken_slope"] is None
    assert {one["reason"] for one in report["correlations"]} == {
        "fewer than 4 participants have both"
    }


def test_a_rank_correlation_has_an_interval_or_a_reason() -> None:
    found = rank_correlation([(1, 2), (2, 1), (3, 4), (4, 3), (5, 5)])
    assert found.spearman == pytest.approx(0.8)
    assert found.interval is not None
    half = 1.959963984540054 * np.sqrt((1 + 0.32) / 2)
    assert np.arctanh(found.interval) == pytest.approx(
        [np.arctanh(0.8) - half, np.arctanh(0.8) + half]
    )
    assert rank_correlation([(1, 2), (1, 1), (1, 4), (1, 3)]).reason == "everybody has the same"
    perfect = rank_correlation([(k, k) for k in range(6)])
    assert perfect.spearman == pytest.approx(1)


# --- in the comparison --------------------------------------------------------------------


def test_a_comparison_holds_the_outcomes_live_and_frozen() -> None:
    study, now = both(), timezone.now()
    report = compare_whole(study, now)
    assert report["abstinence"] == outcomes(study, now)
    assert freeze(study, COMMAND, now).report["abstinence"]["arms"] == report["abstinence"]["arms"]
    told = statistician(study).get("/api/v1/studies/relief/comparison").json()
    assert told["abstinence"] == json.loads(json.dumps(report["abstinence"]))


def test_a_comparison_without_urine_tests_says_why_and_stands() -> None:
    study = make_trial()
    estimate_couplings(timezone.now())
    why = "Study relief schedules no urine tests: its urine weekdays are empty."
    assert compare_whole(study, timezone.now())["abstinence"] == {"impossible": why}
    page = statistician(study).get(COMPARISON).content.decode()
    assert why in page
    assert "it is weaker under clonidine" in page


def test_the_comparison_page_shows_a_short_section_that_follows_the_tests() -> None:
    study = both()
    client = statistician(study)
    page = client.get(COMPARISON).content.decode()
    assert "Under placebo 5 of 6 lapsed (83 %)" in page
    assert 'id="lapse-title"' in page
    assert "All arms together" not in page
    assert f'href="{PAGE}lapse.svg"' in page
    UrineTest.objects.filter(participant__code="P10").update(result="positive", collected_on=DAY_0)
    assert "Under placebo 6 of 6 lapsed (100 %)" in client.get(COMPARISON).content.decode()


def test_the_command_of_the_comparison_tells_them_too() -> None:
    both()
    out = StringIO()
    call_command("compare", "relief", stdout=out, stderr=StringIO())
    assert "Lapse, relapse and abstinence" in out.getvalue()
    assert "Time to lapse, clonidine against placebo: hazard ratio" in out.getvalue()
    out = StringIO()
    call_command("compare", "relief", "--json", stdout=out, stderr=StringIO())
    assert json.loads(out.getvalue())["abstinence"]["reference"] == "placebo"


def test_the_page_lists_everybody_and_its_files_are_sound(tmp_path: Path) -> None:
    client = statistician(both())
    page = client.get(PAGE).content.decode()
    assert "Everybody&#x27;s coupling beside their abstinence" in page or (
        "Everybody's coupling beside their abstinence" in page
    )
    assert "Longest abstinence: positive = longer" in page
    ElementTree.fromstring(client.get(f"{PAGE}lapse.svg").content)  # noqa: S314 - our own
    answer = client.get(f"{PAGE}participants.csv")
    assert answer["Content-Disposition"] == 'attachment; filename="relief_participants.csv"'
    rows = list(csv.DictReader(StringIO(answer.content.decode())))
    assert len(rows) == 12
    assert rows[0]["arm"] == "placebo"
    assert client.get(f"{PAGE}participants.svg").status_code == 404
    call_command("outcomes", "relief", svg=tmp_path, stdout=StringIO(), stderr=StringIO())
    assert (tmp_path / "participants.csv").read_text().count("\n") == 13
