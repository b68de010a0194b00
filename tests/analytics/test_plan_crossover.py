"""Plans of a crossover, through `manage.py compare --plan` on golden rows in the database."""

from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Greatest
from pytest_django.plugin import DjangoDbBlocker

from analytics.card_table import card_table
from analytics.comparison import compare
from analytics.figure_list import figures_of
from analytics.models import AnalysisPlan
from analytics.plan import PlanRefused
from analytics.wording import sentences
from ema.models import Arm, Participant, Response, Study
from tests.analytics.golden_trial import golden_rows, golden_trial
from tests.analytics.test_agreement import golden
from tests.analytics.test_plan_options import agree, told

pytestmark = pytest.mark.django_db
ORDERS = {"ABC": "ABC", "BCA": "BCA", "CAB": "CAB"}
PERIODS = ("period-1", "period-2", "period-3")


def crossover_trial() -> Study:
    """Three sequences of three treatments; the golden rows in phases of their own."""
    study = golden_trial(
        golden_rows("simulated_crossover.csv"),
        tuple(ORDERS),
        day_of=lambda row: int(row["day"]),
        phase_of=lambda row: row["period"],
        phases=PERIODS,
    )
    for key, order in ORDERS.items():
        Arm.objects.filter(study=study, key=key).update(
            treatments=dict(zip(PERIODS, order, strict=True))
        )
    return study


@pytest.fixture(scope="module")
def made(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[int]:
    """Made once and undone at the end; what each test does to it is undone by itself."""
    with django_db_blocker.unblock(), transaction.atomic():
        yield crossover_trial().pk
        transaction.set_rollback(True)


@pytest.fixture
def study(made: int, db: None) -> Study:
    return Study.objects.get(pk=made)


def crossed(study: Study, **changes: Any) -> dict[str, Any]:
    return told(study, design="crossover", reference_treatment="A", phases=PERIODS, **changes)


def test_a_crossover_is_that_of_lme4_and_clubsandwich(study: Study) -> None:
    report = crossed(study)
    expected = golden("plan_options.json")["crossover"]
    names = {f"treatment{one}": f"treatment[{one}]" for one in "BC"}
    names |= {f"period{one}": f"period[{one}]" for one in PERIODS}
    names |= {f"sequence{one}": f"sequence[{one}]" for one in ORDERS}
    agree(report, expected, names)
    assert [one["arm"] for one in report["contrasts"]] == ["B", "C"]
    assert report["contrasts"][1]["interval"][1] < 0
    theirs = expected["kr_omnibus"]
    assert report["several_arms"]["omnibus"]["f"] == pytest.approx(theirs["F"], rel=1e-5)
    rows = golden_rows("simulated_crossover.csv")
    under = {one: {row["id"] for row in rows if row["treatment"] == one} for one in ("A", "B", "C")}
    assert {one["arm"]: one["n"] for one in report["arms"]} == {
        one: len(people) for one, people in under.items()
    }
    assert sum(one["n_prompts"] for one in report["arms"]) == report["n_pairs"] == len(rows)
    assert [one["compliance"] for one in report["arms"]] == [1.0, 1.0, 1.0]
    craving = [int(row["craving"]) for row in rows if row["treatment"] == "B"]
    at = next(one for one in report["arms"] if one["arm"] == "B")
    assert at["at_floor"] == pytest.approx(craving.count(0) / len(craving))
    assert sum(one["n_prompts"] for one in report["levels"]) == len(rows)
    assert report["treatments"]["BCA"] == dict(zip(PERIODS, "BCA", strict=True))
    assert "stress_within * treatment + period + sequence" in report["formula"]
    assert "Treatment in each phase" in card_table(report)
    assert "The coupling under B minus that under A is" in " ".join(sentences(report))


def test_carry_over_is_that_of_lme4_and_clubsandwich(study: Study) -> None:
    report = crossed(study, carryover=True)
    expected = golden("plan_options.json")["carryover"]
    names = {f"treatment{one}": f"treatment[{one}]" for one in "BC"}
    names |= {f"carryover{one}": f"carryover[{one}]" for one in "BC"}
    names |= {f"period{one}": f"period[{one}]" for one in PERIODS}
    names |= {f"sequence{one}": f"sequence[{one}]" for one in ORDERS}
    agree(report, expected, names)
    assert report["several_arms"]["omnibus"]["f"] == pytest.approx(
        expected["kr_omnibus"]["F"], rel=1e-5
    )
    assert "stress_within * carryover + period" in report["formula"]


def in_two_periods(study: Study, **orders: str) -> dict[str, Any]:
    """With carry-over, by what each sequence is given in the first two periods."""
    for key, order in orders.items():
        Arm.objects.filter(study=study, key=key).update(
            treatments=dict(zip(PERIODS[:2], order, strict=True))
        )
    two = {"design": "crossover", "reference_treatment": "A", "phases": PERIODS[:2]}
    return told(study, **two, carryover=True)


def test_with_two_periods_carry_over_takes_the_place_of_the_sequence(study: Study) -> None:
    report = in_two_periods(study, ABC="AB", BCA="BA", CAB="AB")
    terms = {one["term"] for one in report["fixed"]}
    assert {"carryover[B]", "stress_within:carryover[B]", "sequence[CAB]"} <= terms
    assert report["dropped"] == ["sequence[BCA]"]


def test_carry_over_that_is_not_told_from_a_treatment_is_left_out_and_named(study: Study) -> None:
    report = in_two_periods(study, ABC="AB", BCA="BC", CAB="AA")
    assert [one["arm"] for one in report["contrasts"]] == ["B", "C"]
    assert {"carryover[B]", "stress_within:carryover[B]"} <= set(report["dropped"])


@pytest.mark.parametrize("more", [{"residuals": "day"}, {"compliance_sensitivity": True}])
def test_a_crossover_goes_with_other_options(study: Study, more: dict[str, Any]) -> None:
    report = crossed(study, all_pairs=True, lag=1, adjust_for=("study_day",), **more)
    assert len(report["several_arms"]["all_pairs"]) == 3
    stored = AnalysisPlan.objects.get()
    whole = compare(study, stored, participants=True)
    for figure in figures_of(whole).values():
        assert figure.draw(whole)


def test_a_crossover_near_the_floor_has_its_companion_beside(study: Study) -> None:
    Response.objects.filter(participant__study=study).update(craving=Greatest(0, F("craving") - 45))
    report = crossed(study)
    (warned,) = [one for one in report["warnings"] if one["code"] == "possible_floor_artefact"]
    assert "under A" in warned["sentence"]
    ratios = {one["arm"]: one for one in report["companion"]["contrasts"]}
    assert set(ratios) == {"B", "C"}
    assert ratios["C"]["interval"][1] < 1
    assert "period[period-2]" in report["companion"]["terms"]


def test_a_crossover_that_the_study_is_not_is_refused_in_words(study: Study) -> None:
    with pytest.raises(PlanRefused, match="No arm receives 'placebo' in these phases; there are"):
        told(study, design="crossover", reference_treatment="placebo")
    Arm.objects.filter(study=study, key="CAB").update(treatments={"period-1": "C"})
    with pytest.raises(PlanRefused, match="Arm CAB has no treatment in phase period-2"):
        crossed(study)
    with pytest.raises(PlanRefused, match="two arms"):
        told(study, design="crossover", reference_treatment="A", phases=("period-1",))
    Arm.objects.filter(study=study).update(treatments=dict.fromkeys(PERIODS, "A"))
    with pytest.raises(PlanRefused, match="All arms receive the same"):
        crossed(study)


def test_one_sequence_alone_tells_no_treatment_from_its_period(study: Study) -> None:
    people = Participant.objects.filter(study=study, allocation__arm__key__in=("BCA", "CAB"))
    Response.objects.filter(participant__in=people).delete()
    with pytest.raises(CommandError, match="Everybody with usable answers is of sequence ABC"):
        crossed(study)


def test_a_treatment_that_nobody_answered_under_is_named(study: Study) -> None:
    Arm.objects.filter(study=study, key="CAB").update(treatments=dict.fromkeys(PERIODS, "D"))
    people = Participant.objects.filter(study=study, allocation__arm__key="CAB")
    Response.objects.filter(participant__in=people).delete()
    with pytest.raises(CommandError, match="There are no usable answers under D"):
        crossed(study)
