"""Lapse, relapse and abstinence by arm: numbers, doors, and what cannot be said."""

import csv
import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from analytics import plan, plans
from analytics.abstinence import ScheduledTest, abstinence, difference_of_means
from analytics.coupling import estimate_couplings
from analytics.freezing import freeze
from analytics.many_calendars import STAYED, Scheduled, calendars
from analytics.outcomes import OutcomesImpossible, outcomes
from analytics.outcomes_by_arm import ArmTable, beside_reference, together
from analytics.outcomes_wording import sentences
from analytics.survival import Risks, cox
from ema import audit
from ema.models import Allocation, Arm, Participant, Study, UrineTest
from tests import trial
from tests.analytics.answers import make_trial
from tests.analytics.test_pages import signed_in
from tests.real_data import real_data

pytestmark = pytest.mark.django_db
SIGNS = {"-": "negative", "+": "positive", "o": "missed"}
PAGE, DOOR = "/studies/relief/outcomes/", "/api/v1/studies/relief/outcomes"
PLACEBO = ["+--+", "-+--", "o---", "--+-"]
CLONIDINE = ["----", "---+", "-+--", "---o"]


@pytest.fixture
def study() -> Study:
    """Four participants in each of two arms, a test a week for four weeks."""
    made = trial.make_study("relief")
    Study.objects.update(urine_weekdays=[1, 3, 5])
    people = [(f"S1-P{k}", "placebo", signs) for k, signs in enumerate(PLACEBO)]
    people += [(f"S1-C{k}", "clonidine", signs) for k, signs in enumerate(CLONIDINE)]
    for code, arm, signs in people:
        add(made, code, arm, signs)
    return made


def add(study: Study, code: str, arm: str | None, signs: str) -> Participant:
    began = timezone.now() - timedelta(days=40)
    person = trial.enrol(study, code, "Europe/Brussels", began)
    if arm is not None:
        slot = trial.allocate(person, arm)
        slot.allocated_at = began
        slot.save()
    give(person, person.enrolled_on, signs)
    return person


def give(person: Participant, since: date, signs: str) -> None:
    now = timezone.now()
    for week, sign in enumerate(signs, start=1):
        on = since + timedelta(days=7 * week)
        UrineTest.objects.create(
            participant=person,
            due_on=on,
            result=SIGNS[sign],
            collected_on=None if sign == "o" else on,
            recorded_at=now,
        )


def without_schedule() -> None:
    Study.objects.update(urine_weekdays=[])
    UrineTest.objects.all().delete()


def one_arm(report: dict[str, Any], arm: str) -> dict[str, Any]:
    return next(one for one in report["arms"] if one["arm"] == arm)


def test_each_arm_is_counted_from_its_participants_tests(study: Study) -> None:
    found = one_arm(outcomes(study, timezone.now()), "placebo")
    assert (found["n"], found["n_with_tests"], found["n_tests"]) == (4, 4, 16)
    assert (found["n_positive"], found["n_missed"]) == (4, 1)
    assert found["lapse"]["n"] == 4
    assert found["relapse"]["n"] == 0
    assert found["longest_abstinence"]["mean"] == pytest.approx((21 + 14 + 21 + 21) / 4)
    assert found["lapse"]["at_risk"][0] == {"day": 0, "n": 4}


def test_a_difference_is_the_pure_functions_of_the_same_days(study: Study) -> None:
    [found] = outcomes(study, timezone.now())["contrasts"]
    table = [
        [
            abstinence([ScheduledTest(7 * k, SIGNS[s]) for k, s in enumerate(signs, 1)])
            for signs in of
        ]
        for of in (PLACEBO, CLONIDINE)
    ]
    days = [[each.longest_abstinence for each in arm if each] for arm in table]
    assert found["longest_abstinence"]["estimate"] == difference_of_means(days[1], days[0]).estimate
    until = [
        (number, *each.until_lapse()) for number, arm in enumerate(table) for each in arm if each
    ]
    arms, at, happened = zip(*until, strict=True)
    fit = cox(Risks.of(at, happened, arms, 2))
    assert found["lapse"]["log_ratio"] == pytest.approx(float(fit.log_ratio[0]), abs=1e-12)
    assert found["lapse"]["hazard_ratio"] < 1
    assert found["relapse"] is None


def test_what_cannot_be_computed_is_said_and_null(study: Study) -> None:
    report = outcomes(study, timezone.now())
    assert any("relapse" in said and "could not be computed" in said for said in report["warnings"])
    assert json.dumps(report, allow_nan=False)


def test_the_plan_decides_about_tests_missed_after_drop_out(study: Study) -> None:
    person = Participant.objects.get(code="S1-C3")  # "---o": withdrawn before the missed one
    person.withdrawn_at = timezone.now() - timedelta(days=15)
    person.save()
    lenient = plans.save(
        study=study,
        key="lenient",
        plan=plan.Plan(missed_after_dropout_counts=False),
        actor=audit.COMMAND,
        now=timezone.now(),
    )
    strict, kind = outcomes(study, timezone.now()), outcomes(study, timezone.now(), lenient)
    assert one_arm(strict, "clonidine")["lapse"]["n"] == 3
    assert one_arm(kind, "clonidine")["lapse"]["n"] == 2
    assert strict["other_rule"]["contrasts"] == kind["contrasts"]
    assert strict["other_rule"]["differs"]
    assert kind["exploratory"]


def test_sentences_say_which_way_and_how_sure(study: Study) -> None:
    said = " ".join(sentences(outcomes(study, timezone.now())))
    assert "Under placebo 4 of 4 lapsed (100 %)" in said
    assert "hazard ratio" in said
    assert "not settled" in said
    assert "no difference" not in said.lower()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda: UrineTest.objects.all().delete(), "No urine test of study"),
        (lambda: Arm.objects.update(is_reference=False), "has no reference arm"),
        (without_schedule, "schedules no urine tests"),
    ],
)
def test_what_is_missing_is_said_in_words(study: Study, change: Any, said: str) -> None:
    change()
    study.refresh_from_db()
    with pytest.raises(OutcomesImpossible, match=said):
        outcomes(study, timezone.now())
    with pytest.raises(CommandError, match=said) as refused:
        call_command("outcomes", "relief")
    assert refused.value.returncode == 1


def test_without_allocation_there_is_nothing_to_compare() -> None:
    made = trial.make_study("relief")
    add(made, "S1-001", None, "-+")
    with pytest.raises(OutcomesImpossible, match="allocated to an arm"):
        outcomes(made, timezone.now())


def test_an_arm_without_results_is_named_and_left_out(study: Study) -> None:
    UrineTest.objects.filter(participant__code__startswith="S1-C").delete()
    report = outcomes(study, timezone.now())
    assert report["contrasts"] == []
    assert one_arm(report, "clonidine")["lapse"] is None
    assert any("clonidine cannot be compared" in said for said in report["warnings"])
    assert "nobody has a urine test" in " ".join(sentences(report))


def test_a_study_of_one_arm_has_a_curve_and_no_contrast(study: Study) -> None:
    tests = Scheduled(*np.array([(0, 7, 0), (0, 14, 1), (1, 7, 0), (1, 14, 0)]).T)
    found = calendars(tests, np.full(2, STAYED), missed_after_dropout_counts=True)
    everybody = ArmTable([None], found, np.zeros(2, dtype=np.int64), ["", ""])
    assert beside_reference(everybody, []) == []
    assert together(everybody, []) == {"lapse": None, "relapse": None}


def test_three_arms_are_each_set_beside_the_reference(study: Study) -> None:
    Arm.objects.create(study=study, key="cbd")
    for k, signs in enumerate(["--+-", "-+--", "----"]):
        person = add(study, f"S1-D{k}", None, signs)
        slot = trial.allocate(person, "cbd")
        slot.allocated_at = timezone.now() - timedelta(days=40)
        slot.save()
    report = outcomes(study, timezone.now())
    assert [one["arm"] for one in report["contrasts"]] == ["cbd", "clonidine"]
    assert report["tests"]["lapse"]["log_rank"]["df"] == 2


def test_the_command_prints_a_table_json_and_figures(
    study: Study, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    call_command("outcomes", "relief", svg=tmp_path)
    printed = capsys.readouterr().out
    assert "hazard ratio" in printed
    assert "A lapse is a scheduled urine test" in printed
    assert "At risk" in (tmp_path / "lapse.svg").read_text()
    assert (tmp_path / "lapse.csv").read_text().startswith("arm,day,without,low,high\n")
    call_command("outcomes", "relief", json=True, participants=True)
    report = json.loads(capsys.readouterr().out)
    assert {one["participant"] for one in report["participants"]} >= {"S1-P0", "S1-C3"}


def test_open_tests_long_overdue_are_told_by_arm(study: Study) -> None:
    person = Participant.objects.get(code="S1-P0")
    UrineTest.objects.filter(participant=person).update(
        result="", collected_on=None, recorded_at=None
    )
    [said] = [each for each in outcomes(study, timezone.now())["warnings"] if "Open tests" in each]
    assert "4 under placebo" in said


def test_an_unknown_study_or_plan_is_named(study: Study) -> None:
    with pytest.raises(CommandError, match="no plan 'x'"):
        call_command("outcomes", "relief", plan="x")


def test_a_statistician_sees_curves_with_numbers_at_risk(study: Study) -> None:
    client = signed_in(study, "statistician")
    page = client.get(PAGE).content.decode()
    assert "At risk" in page
    assert "Share without a lapse" in page
    assert "Hazard ratios: below 1 = later" in page
    drawn = client.get(f"{PAGE}lapse.svg")
    assert drawn["Content-Type"] == "image/svg+xml"
    assert client.get(f"{PAGE}lapse.csv").content.startswith(b"arm,day")
    assert client.get(f"{PAGE}lapse.png").status_code == 404
    assert client.get(f"{PAGE}?plan=x").status_code == 404


def test_a_page_without_results_says_so(study: Study) -> None:
    UrineTest.objects.all().delete()
    page = signed_in(study, "statistician").get(PAGE)
    assert page.status_code == 200
    assert "No urine test of study" in page.content.decode()


def test_a_frozen_comparison_keeps_the_outcomes_with_it() -> None:
    study = make_trial()
    for number, person in enumerate(study.participants.order_by("code")):
        since = Allocation.objects.get(participant=person).allocated_at
        assert since is not None
        give(person, since.date(), "-+-o" if number % 3 else "----")
    estimate_couplings(timezone.now())
    made = freeze(study, audit.COMMAND, timezone.now())
    UrineTest.objects.all().delete()
    page = signed_in(study, "statistician").get(f"/studies/relief/comparison/frozen/{made.pk}/")
    assert "Share without a lapse" in page.content.decode()


@pytest.mark.parametrize("role", ["coordinator", "investigator"])
def test_masked_roles_find_neither_page_nor_door(study: Study, role: str) -> None:
    client = signed_in(study, role)
    for address in (PAGE, f"{PAGE}lapse.svg", DOOR):
        assert client.get(address).status_code == 404


def test_the_door_gives_the_report(study: Study) -> None:
    client = signed_in(study, "statistician")
    answer = client.get(DOOR)
    assert answer.status_code == 200
    same = outcomes(study, timezone.now(), participants=True)
    assert answer.json() == json.loads(json.dumps(same))
    assert client.get(f"{DOOR}?plan=x").json()["code"] == "unknown_plan"
    UrineTest.objects.all().delete()
    assert client.get(DOOR).status_code == 409
    assert client.get(DOOR).json()["code"] == "no_outcomes"


def test_ctn_0027_has_the_hazard_ratio_of_r() -> None:
    """1,269 participants, a test a week; R 4.2.2, survival 3.5-3 (reference_survival.json)."""
    folder = real_data("ctn0094_opioid")
    expected = json.loads((folder / "reference_survival.json").read_text())["CTN_0027"]
    with (folder / "ctn0027_weekly_urine.csv").open() as file:
        coded = list(csv.DictReader(file))
    report = outcomes(as_study(coded), timezone.now())
    ratio = report["contrasts"][0]["lapse"]
    assert ratio["log_ratio"] == pytest.approx(expected["cox_first_lapse"]["logHR"], rel=1e-6)
    assert ratio["standard_error"] == pytest.approx(expected["cox_first_lapse"]["se"], rel=1e-6)
    assert {one["arm"]: one["n"] for one in report["arms"]} == {
        "methadone": expected["n_by_arm"]["Methadone"],
        "buprenorphine": expected["n_by_arm"]["Outpatient BUP"],
    }


def as_study(coded: list[dict[str, str]]) -> Study:
    """The coded weeks as tests of a study that allocated everybody 200 days ago."""
    made = trial.make_study("ctn", arms=("methadone", "buprenorphine"))
    began = timezone.now() - timedelta(days=200)
    arms = {arm.key: arm for arm in Arm.objects.filter(study=made)}
    people = Participant.objects.bulk_create(
        Participant(
            study=made,
            site=made.sites.get(),
            code=f"S1-{row['who']}",
            zone="UTC",
            enrolled_at=began,
            enrolled_on=began.date(),
        )
        for row in coded
    )
    Allocation.objects.bulk_create(
        Allocation(
            study=made,
            position=place,
            participant=person,
            arm=arms["methadone" if row["arm"] == "Methadone" else "buprenorphine"],
            allocated_at=began,
        )
        for place, (row, person) in enumerate(zip(coded, people, strict=True))
    )
    UrineTest.objects.bulk_create(
        UrineTest(
            participant=person,
            due_on=began.date() + timedelta(days=7 * week),
            result=SIGNS[sign.replace("*", "+")],
            collected_on=None if sign == "o" else began.date() + timedelta(days=7 * week),
            recorded_at=began,
        )
        for row, person in zip(coded, people, strict=True)
        for week, sign in enumerate(row["usePatternUDS"], start=1)
    )
    return made
