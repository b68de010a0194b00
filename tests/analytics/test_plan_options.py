"""Options of a plan, through `manage.py compare --plan` on golden rows in the database."""

import json
from dataclasses import replace
from io import StringIO
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from analytics.card_table import card_table
from analytics.comparison import compare
from analytics.design import Terms
from analytics.fixed_effects import coupling_design, refuse_too_few_rows
from analytics.gram import Gram
from analytics.mixed_model import Method, fit_design, fit_mixed_model
from analytics.moments import Moments
from analytics.plan import Plan
from analytics.plan_change import own_changes
from analytics.plan_memory import memory_of
from analytics.plan_sums import Sources, gram_of
from analytics.plans import save
from analytics.serial import Days, Neighbours
from analytics.trial import ComparisonImpossible
from analytics.wording import sentences
from ema.audit import COMMAND
from ema.models import Allocation, Response, Study
from tests.analytics.answers import (
    add_participant,
    add_prompt,
    answer,
    make_study,
    make_trial,
    pairs_drawn,
)
from tests.analytics.golden_trial import golden_rows, golden_trial
from tests.analytics.test_agreement import golden, in_r

pytestmark = pytest.mark.django_db
SERIAL = {"ar1": "ar1_day", "day": "day"}


def told(study: Study, **changes: Any) -> dict[str, Any]:
    """The report of `manage.py compare --plan --json`; its table can be made."""
    save(study=study, key="primary", plan=Plan(**changes), actor=COMMAND, now=timezone.now())
    out = StringIO()
    call_command("compare", study.slug, "--plan=primary", "--json", stdout=out, stderr=StringIO())
    report: dict[str, Any] = json.loads(out.getvalue())
    assert "nan" not in card_table(report).lower()
    return report


def serial_trial() -> Study:
    rows = golden_rows("simulated_serial.csv")
    return golden_trial(rows, ("control", "high"), day_of=lambda row: int(row["day"]))


def agree(report: dict[str, Any], expected: dict[str, Any], names: dict[str, str]) -> None:
    """Estimates and the model's errors are R's."""
    found = {one["term"]: one for one in report["fixed"]}
    ours = [found[in_r(term, names)] for term in expected["terms"]]
    assert len(found) == len(ours)
    np.testing.assert_allclose(
        [one["estimate"] for one in ours], expected["estimate"], rtol=1e-5, atol=1e-7
    )
    errors = [one["model_standard_error"] for one in ours]
    np.testing.assert_allclose(errors, expected["se"], rtol=1e-5)
    if "CR2" in expected:
        robust = [one["standard_error"] for one in ours]
        np.testing.assert_allclose(robust, expected["CR2"]["se"], rtol=1e-6)
        np.testing.assert_allclose([one["df"] for one in ours], expected["CR2"]["df"], rtol=1e-5)
    assert report["log_likelihood"] == pytest.approx(expected["logLik"], abs=1e-6)


@pytest.mark.parametrize("residuals", SERIAL)
def test_residuals_that_remember_are_those_of_nlme_and_lme4(residuals: str) -> None:
    expected = golden("serial.json")[SERIAL[residuals]]
    report = told(serial_trial(), residuals=residuals)
    agree(report, expected, {})
    name = "phi" if residuals == "ar1" else "sd_day"
    assert report["random"][name] == pytest.approx(expected[name], rel=1e-5)
    assert report["random"]["sd_slope"] == pytest.approx(expected["sd"][1], rel=1e-5)
    assert all(one["standard_error"] > 0 for one in report["contrasts"])
    said = {"ar1": "AR(1) within the study day, φ", "day": "; days"}
    assert said[residuals] in card_table(report)
    assert "as known" in report["method"]
    assert ("AR(1)" if residuals == "ar1" else "(1 | participant:day)") in report["formula"]


def test_quadratic_stress_is_that_of_lme4_and_clubsandwich() -> None:
    rows = golden_rows("simulated.csv")
    study = golden_trial(
        rows, ("control", "high", "low"), day_of=lambda row: int(row["time"]) // 10 + 1
    )
    expected = golden("plan_options.json")["quadratic"]
    report = told(study, quadratic=True)
    agree(report, expected, {"I(w^2)": "stress_within^2"})
    found = report["quadratic"]
    assert [one["term"] for one in found["terms"]] == [
        "stress_within^2",
        "stress_within^2:arm[high]",
        "stress_within^2:arm[low]",
    ]
    theirs = expected["CR2"]["omnibus"]
    assert found["test"]["f"] == pytest.approx(theirs["F"], rel=1e-5)
    assert found["test"]["df"] == pytest.approx(theirs["ddf"], rel=1e-5)
    assert "I(stress_within^2) * arm" in report["formula"]
    assert "stress_within^2:arm[high]" in card_table(report)


def bent_trial() -> Study:
    """Craving bends over stress alike in both arms; stress is skewed in the second."""
    study, draw = make_study(), np.random.default_rng(5)
    for i in range(16):
        if i % 2:
            stress = np.clip(np.rint(20 + draw.exponential(14, 40)), 0, 100)
        else:
            stress = np.clip(np.rint(draw.normal(50, 14, 40)), 0, 100)
        away = stress - stress.mean()
        craving = np.rint(20 + 0.3 * away + 0.01 * away**2 + draw.normal(0, 2, 40))
        answer(
            add_participant(study, f"P{i:02}", ("placebo", "clonidine")[i % 2]),
            [(int(x), int(y)) for x, y in zip(stress, craving, strict=True)],
        )
    return study


def test_a_bend_over_skewed_stress_is_not_taken_for_a_difference() -> None:
    study = bent_trial()
    bent, straight = told(study, quadratic=True), told(study, phases=("baseline",))
    assert straight["contrasts"][0]["interval"][0] > 0.15
    assert bent["contrasts"][0]["difference"] == pytest.approx(0, abs=0.05)
    assert bent["quadratic"]["terms"][0]["estimate"] == pytest.approx(0.01, abs=0.001)
    assert bent["quadratic"]["test"]["p"] > 0.05
    assert straight["quadratic"] is None


def some_answer_little(study: Study) -> list[str]:
    """Every third participant gets twice as many prompts again, none of which they answer."""
    people = list(study.participants.order_by("code")[::3])
    for person in people:
        for number in range(12, 36):
            add_prompt(person, number)
    return [person.code for person in people]


def test_compliance_is_looked_at_beside_the_result() -> None:
    study = make_trial(n=18)
    few = some_answer_little(study)
    report = told(study, compliance_sensitivity=True)
    rows = {row["rule"]: row for row in report["sensitivity"]}
    assert list(rows) == ["compliance_50", "compliance_33", "compliance_adjusted"]
    assert [row["n_participants"] for row in rows.values()] == [12, 18, 18]
    main = report["contrasts"][0]
    assert rows["compliance_33"]["contrasts"][0]["difference"] == main["difference"]
    assert rows["compliance_33"]["contrasts"][0]["interval"] == main["interval"]
    arm_of = dict(Allocation.objects.values_list("participant__code", "arm__key"))
    left = Response.objects.filter(participant__study=study).exclude(participant__code__in=few)
    codes, x, y = zip(*left.values_list("participant__code", "stress", "craving"), strict=True)
    model = fit_mixed_model(Moments.from_rows(codes, x, y), arm_of, "placebo")
    (without,) = rows["compliance_50"]["contrasts"]
    expected = model.contrasts_of([{"stress_within:arm[clonidine]": 1.0}], Method.CR2)[0]
    assert without["difference"] == pytest.approx(expected.estimate, rel=1e-9)
    assert without["standard_error"] == pytest.approx(expected.standard_error, rel=1e-9)
    assert rows["compliance_adjusted"]["contrasts"][0]["difference"] != main["difference"]
    assert "compliance of 50 % or more" in card_table(report)
    assert "compliance" not in [one["term"] for one in report["fixed"]]


def test_too_few_who_complied_are_said_in_words_beside_the_result() -> None:
    study = make_trial(n=6)
    for person in study.participants.order_by("code")[:4]:
        for number in range(12, 48):
            add_prompt(person, number)
    report = told(study, compliance_sensitivity=True, residuals="ar1")
    rows = {row["rule"]: row for row in report["sensitivity"]}
    assert rows["compliance_50"]["contrasts"] == []
    assert rows["compliance_50"]["not_computed"].endswith(".")
    assert rows["compliance_50"]["not_computed"] in card_table(report)


def two_phases(rows: list[dict[str, str]]) -> Study:
    return golden_trial(
        rows,
        ("control", "high", "low"),
        day_of=lambda row: int(row["time"]) // 10 + 1,
        phase_of=lambda row: ("baseline", "treatment")[int(row["period"])],
    )


def test_a_difference_in_differences_is_that_of_lme4_and_clubsandwich() -> None:
    rows = golden_rows("simulated.csv")
    report = told(two_phases(rows), baseline_phase="baseline")
    expected = golden("plan_options.json")["baseline_phase"]
    agree(report, expected, {"post": "post"})
    assert [one["arm"] for one in report["contrasts"]] == ["high", "low"]
    found = dict(zip(expected["terms"], expected["estimate"], strict=True))
    assert report["contrasts"][0]["difference"] == pytest.approx(found["w:armhigh:post"], rel=1e-6)
    high = report["arms"][1]
    before = found["w"] + found["w:armhigh"]
    change = found["w:post"] + found["w:armhigh:post"]
    assert high["baseline"]["coupling"] == pytest.approx(before, rel=1e-6)
    assert high["change"]["estimate"] == pytest.approx(change, rel=1e-6)
    assert high["coupling"] == pytest.approx(before + change, rel=1e-6)
    theirs = expected["kr_omnibus"]
    assert report["several_arms"]["omnibus"]["f"] == pytest.approx(theirs["F"], rel=1e-5)
    assert "stress_within * post * arm" in report["formula"]
    assert "change of the coupling since phase baseline under high" in " ".join(sentences(report))
    assert "Coupling in phase baseline and after" in card_table(report)
    assert sentences(report)[0].startswith("After phase baseline, when a person's stress")
    assert any("it changed towards a weaker one under low" in one for one in sentences(report))
    assert {one["attenuation"] for one in report["contrasts"]} == {None}


def test_own_changes_are_the_differences_of_own_slopes() -> None:
    rows = golden_rows("simulated.csv")
    sources = Sources(two_phases(rows), Plan(baseline_phase="baseline"))
    gram = gram_of(sources)
    changes, has = own_changes(gram, "stress", "craving")
    assert 5 < has.sum() < len(has)
    for place in np.flatnonzero(has):
        slopes = []
        for period in ("0", "1"):
            own = [r for r in rows if (r["id"], r["period"]) == (gram.participants[place], period)]
            x, y = ([float(row[name]) for row in own] for name in ("stress", "craving"))
            slopes.append(np.polyfit(x, y, 1)[0])
        assert changes[place] == pytest.approx(slopes[1] - slopes[0], rel=1e-8)


@pytest.mark.parametrize(
    ("kept", "words"),
    [
        (lambda row: row["period"] == "1", "There are no usable answers in phase baseline in arm"),
        (lambda row: row["period"] == "0", "There are no usable answers after phase baseline in"),
        (
            lambda row: row["arm"] != "low" or row["period"] == "0",
            "There are no usable answers after phase baseline in arm low",
        ),
    ],
)
def test_a_side_without_answers_is_named(kept: Any, words: str) -> None:
    study = two_phases([row for row in golden_rows("simulated.csv") if kept(row)])
    with pytest.raises(CommandError, match=words):
        told(study, baseline_phase="baseline")


def test_a_change_in_one_group_is_told_without_a_difference() -> None:
    study = two_phases(golden_rows("simulated.csv"))
    Allocation.objects.filter(study=study).delete()
    study.arms.all().delete()
    report = told(study, baseline_phase="baseline", residuals="day", adjust_for=("study_day",))
    assert report["contrasts"] == []
    assert report["arms"][0]["change"]["standard_error"] > 0


def card_or_refusal(study: Study, **changes: Any) -> str:
    try:
        return card_table(told(study, **changes))
    except CommandError as error:
        return str(error)


@pytest.mark.parametrize(("people", "prompts"), [(2, 3), (3, 4)])
@pytest.mark.parametrize(
    "changes",
    [
        {"quadratic": True, "residuals": "ar1"},
        {"lag": 1, "quadratic": True, "adjust_for": ("previous_outcome",), "residuals": "day"},
        {"quadratic": True, "adjust_for": ("study_day", "weekday", "prompt_number")},
    ],
)
def test_few_answers_for_many_terms_give_a_card_or_a_sentence(
    changes: dict[str, Any], people: int, prompts: int
) -> None:
    study = make_study()
    for arm in ("placebo", "clonidine"):
        for i in range(people):
            person = add_participant(study, f"{arm}{i}", arm)
            answer(person, pairs_drawn(0.4, prompts, seed=i + people))
    assert card_or_refusal(study, permutation_draws=99, **changes).endswith(".")


def test_more_terms_than_answers_are_said_in_words() -> None:
    design = coupling_design(
        Gram.from_rows(
            list("aaabbbccc"),
            {"stress": np.array([1, 2, 4, 2, 5, 1, 3, 1, 4]), "craving": np.arange(9) % 4},
        ).centred()
    )
    one = Terms(design.centred)
    more = {f"@{place}": one.level(np.eye(3)[place]) for place in range(2)}
    refuse_too_few_rows(9, tuple(design.fixed))
    with pytest.raises(ValueError, match="3 usable answers are too few for the 3 terms"):
        refuse_too_few_rows(3, tuple(design.fixed))
    with pytest.raises(ValueError, match="3 participants are too few for the"):
        fit_design(replace(design, fixed={**design.fixed, **more}))


def test_sums_made_in_the_database_are_those_of_rows() -> None:
    study, rows = serial_trial(), golden_rows("simulated_serial.csv")
    who, day = [row["id"] for row in rows], [int(row["day"]) for row in rows]
    columns = {name: np.array([int(row[name]) for row in rows]) for name in ("stress", "craving")}
    for residuals, parameter in (("ar1", 0.3), ("day", 0.6)):
        sources = Sources(study, Plan(residuals=residuals))
        ours = memory_of(sources, gram_of(sources))
        kind = Neighbours if residuals == "ar1" else Days
        theirs = kind.from_rows(who, day, columns)
        assert isinstance(ours, kind)
        one, other = ours.centred(parameter), theirs.centred(parameter)
        np.testing.assert_allclose(one.ss, other.ss, rtol=1e-12, atol=1e-9)
        assert one.log_det == pytest.approx(other.log_det)


@pytest.mark.parametrize("residuals", ["ar1", "day"])
def test_residuals_go_with_the_other_options(residuals: str) -> None:
    report = told(
        make_trial(),
        residuals=residuals,
        adjust_for=("study_day", "prompt_number"),
        lag=1,
        phases=("baseline",),
    )
    assert len(report["contrasts"]) == 1


@pytest.mark.parametrize("residuals", ["ar1", "day"])
def test_days_of_one_answer_each_remember_nothing(residuals: str) -> None:
    rows = [row | {"day": str(at)} for at, row in enumerate(golden_rows("simulated_serial.csv"))]
    study = golden_trial(rows[:80], ("control", "high"), day_of=lambda row: int(row["day"]) + 1)
    stored = save(
        study=study,
        key="primary",
        plan=Plan(residuals=residuals),
        actor=COMMAND,
        now=timezone.now(),
    )
    with pytest.raises(ComparisonImpossible, match="No study day of anybody has two usable"):
        compare(study, stored)
