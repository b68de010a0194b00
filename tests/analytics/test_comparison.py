"""Compare: the arms of a study, in numbers and in words."""

import json
from datetime import timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, transaction
from django.utils import timezone

from analytics.comparison import compare
from analytics.coupling import estimate_couplings
from analytics.freezing import digest, freeze
from analytics.mixed_model import fit_mixed_model
from analytics.models import Comparison
from analytics.moments import Moments as Sums
from analytics.outcomes import outcomes_or_why
from analytics.sums import sum_responses
from analytics.trial import ComparisonImpossible
from ema.audit import COMMAND
from ema.models import Allocation, Arm, AuditEvent, Response, Study
from tests.analytics.answers import (
    add_participant,
    add_prompt,
    answer,
    make_study,
    make_trial,
    pairs_drawn,
    respond,
)
from tests.trial import allocate

pytestmark = pytest.mark.django_db


def compared(study: Study) -> dict[str, Any]:
    estimate_couplings(timezone.now())
    return compare(study)


def refusal(study: Study) -> str:
    estimate_couplings(timezone.now())
    with pytest.raises(ComparisonImpossible) as caught:
        compare(study)
    return str(caught.value)


def rebuilt(study: Study) -> None:
    sum_responses(list(study.participants.values_list("pk", flat=True)), now=timezone.now())


def run(*arguments: str) -> str:
    out = StringIO()
    call_command("compare", *arguments, stdout=out, stderr=StringIO())
    return out.getvalue()


def test_a_comparison_from_the_database_equals_one_from_the_rows() -> None:
    study = make_trial()
    report = compared(study)
    rows = Response.objects.filter(participant__study=study)
    codes, stress, craving = zip(
        *rows.values_list("participant__code", "stress", "craving"), strict=True
    )
    arm_of = dict(Allocation.objects.values_list("participant__code", "arm__key"))
    model = fit_mixed_model(Sums.from_rows(codes, stress, craving), arm_of, "placebo")
    (contrast,) = report["contrasts"]
    assert contrast["difference"] == model.contrasts()[0].difference.estimate
    assert report["log_likelihood"] == model.log_likelihood
    assert contrast["difference"] == pytest.approx(-0.3, abs=0.1)
    assert (report["study"], report["reference"]) == ("relief", "placebo")
    assert report["exploratory"] is True


def test_decimals_are_undone() -> None:
    study = make_study(decimals=1)
    for i in range(8):
        participant = add_participant(study, f"P{i}", ("placebo", "clonidine")[i % 2])
        pairs = pairs_drawn((0.6, 0.3)[i % 2], 10, seed=i)
        answer(participant, [(10 * x, 10 * y) for x, y in pairs])
    whole = make_study("whole")
    for i in range(8):
        participant = add_participant(whole, f"P{i}", ("placebo", "clonidine")[i % 2])
        answer(participant, pairs_drawn((0.6, 0.3)[i % 2], 10, seed=i))
    finer, coarser = compared(study), compared(whole)
    assert finer["random"] == pytest.approx(coarser["random"], rel=1e-9)
    assert finer["contrasts"][0]["p"] == pytest.approx(coarser["contrasts"][0]["p"], rel=1e-9)


def test_every_response_is_either_in_the_model_or_excluded_for_a_reason() -> None:
    study = make_trial(n=8)
    odd = add_participant(study, "odd", "placebo")
    prompts = [add_prompt(odd, number) for number in range(9)]
    respond(prompts[0], 10, 20)
    respond(prompts[0], 10, 20, flags=["duplicate_prompt"])
    respond(prompts[1], 10, 20, after=timedelta(minutes=31))
    respond(prompts[2], 10, 20, flags=["after_withdrawal"])
    respond(prompts[3], None, 20)
    respond(prompts[4], 10, None)
    respond(prompts[5], None, None)
    respond(prompts[6], 10, 20, trigger="self_initiated")
    respond(prompts[8], 2**30, 20)
    answer(add_participant(study, "unallocated"), [(10, 20), (20, 30), (30, 35)])
    report = compared(study)
    assert report["n_excluded"] == {
        "after_withdrawal": 1,
        "duplicate": 1,
        "late": 1,
        "missing_craving": 1,
        "missing_stress": 1,
        "missing_stress_and_craving": 1,
        "not_allocated": 3,
        "self_initiated": 1,
        "too_large": 1,
    }
    total = Response.objects.filter(participant__study=study).count()
    assert report["n_pairs"] + sum(report["n_excluded"].values()) == total
    answer(odd, [(20, 30)])
    assert compare(study)["n_excluded"]["not_yet_estimated"] == 1


def test_participants_come_with_their_slopes_when_asked_for() -> None:
    study = make_trial()
    assert "participants" not in compared(study)
    people = compare(study, participants=True)["participants"]
    assert [one["participant"] for one in people] == [f"P{i:02}" for i in range(12)]
    assert all(one["n"] == 12 and one["shrunken_slope"] is not None for one in people)


def test_a_study_without_answers_is_told_so() -> None:
    study = make_study()
    add_participant(study, "P1", "placebo")
    assert refusal(study).startswith("No answers yet: study relief has no answered random prompt")


def test_a_study_without_a_reference_arm_is_asked_for_one() -> None:
    study = make_trial()
    Arm.objects.update(is_reference=False)
    assert "has no reference arm: mark one of clonidine, placebo" in refusal(study)


def test_a_study_without_allocations_is_told_so() -> None:
    study = make_trial()
    Allocation.objects.all().delete()
    assert "No participant of study relief is allocated to an arm yet." in refusal(study)


def test_an_arm_without_answers_is_named_and_the_others_are_compared() -> None:
    study = make_trial()
    before = compared(study)["contrasts"][0]["difference"]
    Arm.objects.create(study=study, key="lofexidine")
    allocate(add_participant(study, "P99"), "lofexidine")
    report = compared(study)
    assert [one["arm"] for one in report["contrasts"]] == ["clonidine"]
    assert report["contrasts"][0]["difference"] == pytest.approx(before, rel=1e-9)
    assert [one["n"] for one in report["arms"]] == [6, 6, 0]
    assert {
        "code": "arm_without_data",
        "sentence": "Arm lofexidine has no usable answers yet: it is left out of the comparison.",
    } in report["warnings"]
    Response.objects.filter(participant__allocation__arm__key="clonidine").update(
        flags=["duplicate_prompt"]
    )
    rebuilt(study)
    assert "No answers yet in arms clonidine, lofexidine" in refusal(study)


def test_an_arm_with_constant_stress_is_named_and_the_others_are_compared() -> None:
    study = make_trial()
    Arm.objects.create(study=study, key="lofexidine")
    for code in ("P97", "P98", "P99"):
        answer(add_participant(study, code, "lofexidine"), [(5, 1), (5, 2), (5, 4)])
    report = compared(study)
    assert [one["arm"] for one in report["contrasts"]] == ["clonidine"]
    (warned,) = [one for one in report["warnings"] if one["code"] == "constant_predictor"]
    assert warned["sentence"].startswith(
        "Stress never varies within any participant of arm lofexidine"
    )
    json.dumps(report, allow_nan=False)


def test_when_no_arm_can_be_compared_with_the_reference_it_is_said() -> None:
    study = make_study()
    for i in range(4):
        answer(add_participant(study, f"P{i}", "placebo"), pairs_drawn(0.5, 10, seed=i))
        answer(add_participant(study, f"C{i}", "clonidine"), [(5, 1), (5, 2), (5, 4)])
    assert "Stress never varies within any participant of arm clonidine" in refusal(study)


def test_constant_stress_is_said_in_words() -> None:
    study = make_study()
    for i, arm in enumerate(("placebo", "clonidine") * 3):
        answer(add_participant(study, f"P{i}", arm), [(5, 1), (5, 2), (5, 4)])
    assert "tress never varies within any participant" in refusal(study)


@pytest.mark.parametrize(
    ("arms", "words"), [((), "no arms"), (("clonidine",), "one arm (clonidine)")]
)
def test_a_study_with_fewer_than_two_arms_is_one_group(arms: tuple[str, ...], words: str) -> None:
    study = make_study(arms=arms)
    for i in range(6):
        answer(add_participant(study, f"P{i}"), pairs_drawn(0.5, 10, seed=i))
    report = compared(study)
    assert report["contrasts"] == []
    assert len(report["arms"]) == 1
    assert report["reference"] is None
    assert any(words in note for note in report["notes"])


def test_permuted_arms_change_the_comparison_and_nothing_the_estimate_keeps() -> None:
    study = make_trial()
    before = compared(study)
    spent = list(Allocation.objects.order_by("pk"))
    for slot, arm in zip(spent, [spent[-1].arm, *(one.arm for one in spent[:-1])], strict=True):
        Allocation.objects.filter(pk=slot.pk).update(arm=arm)
    assert compare(study)["contrasts"] != before["contrasts"]


def test_a_frozen_comparison_can_be_verified_and_is_audited() -> None:
    study = make_trial()
    estimate_couplings(timezone.now())
    now = timezone.now()
    made = freeze(study, COMMAND, now)
    kept = Comparison.objects.get()
    assert (kept.pk, kept.made_at) == (made.pk, now)
    assert digest(kept.report) == kept.sha256
    assert kept.report["abstinence"] == outcomes_or_why(study, now, None)
    again = compare(study) | {name: kept.report[name] for name in ("abstinence", "safety")}
    assert digest(again) == kept.sha256
    event = AuditEvent.objects.get(action="comparison.frozen")
    assert event.after == {"sha256": kept.sha256}
    assert (event.door, event.is_closed) == ("command", True)


def test_a_frozen_comparison_stays_when_answers_follow() -> None:
    study = make_trial()
    estimate_couplings(timezone.now())
    kept = freeze(study, COMMAND, timezone.now())
    answer(study.participants.all()[0], [(90, 3), (10, 80)])
    assert compared(study) != kept.report
    assert digest(Comparison.objects.get().report) == kept.sha256


def test_the_database_refuses_to_change_or_remove_a_frozen_comparison() -> None:
    study = make_trial(n=8)
    estimate_couplings(timezone.now())
    freeze(study, COMMAND, timezone.now())
    with pytest.raises(DatabaseError, match="never changed or removed"), transaction.atomic():
        Comparison.objects.update(sha256="0" * 64)
    with pytest.raises(DatabaseError, match="never changed or removed"), transaction.atomic():
        Comparison.objects.all().delete()


def test_the_command_prints_json_a_table_and_freezes() -> None:
    make_trial()
    report = json.loads(run("relief", "--json", "--participants"))
    assert len(report["participants"]) == 12
    table = run("relief", "--freeze")
    assert "clonidine - placebo" in table
    assert "A negative difference means a weaker coupling" in table
    assert "Exploratory" in table
    assert Comparison.objects.count() == 1


def test_the_command_names_the_studies_when_the_slug_is_wrong() -> None:
    make_study("relief")
    make_study("other")
    with pytest.raises(CommandError) as caught:
        run("releif")
    assert str(caught.value) == "There is no study 'releif'. There are: other, relief."
    assert caught.value.returncode == 2


def test_the_command_fails_in_words_where_data_are_missing() -> None:
    make_study()
    with pytest.raises(CommandError, match="No answers yet") as caught:
        run("relief")
    assert caught.value.returncode == 1
