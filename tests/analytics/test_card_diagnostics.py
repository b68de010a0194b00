"""Diagnostics of a comparison, from the database, against residuals that R computes row by row."""

import json
from typing import Any

import numpy as np
import pytest
from django.utils import timezone

from analytics.card_table import card_table
from analytics.comparison import compare
from analytics.coupling import estimate_couplings
from analytics.models import AnalysisPlan, Snapshot
from analytics.plan import Plan
from analytics.plans import save
from ema.audit import COMMAND
from ema.models import Allocation, Response, Study
from tests.analytics.answers import DAY, START, add_participant, answer, make_trial
from tests.analytics.golden_trial import golden_rows, golden_trial
from tests.analytics.test_agreement import GOLDEN

pytestmark = pytest.mark.django_db
REFERENCE = json.loads((GOLDEN / "diagnostics.json").read_text(encoding="utf-8"))["cases"]["serial"]


def serial_study() -> Study:
    return golden_trial(
        golden_rows("simulated_serial.csv"),
        ("control", "high"),
        day_of=lambda row: int(row["day"]),
        phase_of=lambda row: "treatment",
    )


def diagnosed(study: Study, **plan: Any) -> dict[str, Any]:
    estimate_couplings(timezone.now())
    found: dict[str, Any] = compare(study, planned(study, **plan) if plan else None)["diagnostics"]
    return found


def planned(study: Study, **plan: Any) -> AnalysisPlan:
    key = f"p{study.plans.count()}"
    return save(study=study, key=key, plan=Plan(**plan), actor=COMMAND, now=timezone.now())


def test_residuals_are_those_of_r() -> None:
    found = diagnosed(serial_study())
    for one in found["residual_lag1"]:
        expected = REFERENCE["memory"][one["arm"] or "all"]
        assert one["lag1"] == pytest.approx(expected["lag1"], abs=1e-6)
        assert one["neighbours"] == expected["neighbours"]
    curve, expected = found["nonlinearity"], REFERENCE["curve"]
    assert curve["estimate"] == pytest.approx(expected["estimate"], rel=1e-5)
    assert curve["standard_error"] == pytest.approx(expected["se"], rel=1e-5)
    assert curve["df"] == pytest.approx(expected["df"], rel=1e-5)
    assert curve["p"] == pytest.approx(expected["p"], rel=1e-5)
    places = {round(one["from"]): None for one in found["residuals"]}
    number = {low: at for at, low in enumerate(places)}
    means = {(one["arm"], number[round(one["from"])]): one["mean"] for one in found["residuals"]}
    given = zip(*(REFERENCE["means"][name] for name in ("arm", "range", "mean")), strict=True)
    for arm, at, mean in given:
        assert means.pop((arm, at)) == pytest.approx(mean, abs=1e-5)
    assert not means
    slopes = [one["deviation"] for one in found["slopes"]]
    np.testing.assert_allclose(slopes, REFERENCE["slopes"], atol=1e-6)


def test_a_curve_is_found_and_a_line_has_none() -> None:
    study = make_trial(n=12, prompts=40)
    straight = diagnosed(study)["nonlinearity"]
    assert abs(straight["estimate"]) < 4 * straight["standard_error"]
    for response in Response.objects.filter(participant__study=study):
        bent = (response.craving or 0) * 0.2 + ((response.stress or 0) / 10) ** 2 * 0.5
        Response.objects.filter(pk=response.pk).update(craving=round(bent))
    estimate_couplings(timezone.now())
    report = compare(study, planned(study, adjust_for=("study_day",)))
    curve = report["diagnostics"]["nonlinearity"]
    assert curve["estimate"] == pytest.approx(0.005, rel=0.05)
    assert curve["p"] < 1e-6
    (warned,) = [one for one in report["warnings"] if one["code"] == "possible_curve"]
    assert "does not follow stress in a line: it steepens as stress rises" in warned["sentence"]


def test_residuals_need_no_stress_and_no_whole_plan() -> None:
    """With a lag, adjustments and a moment: row functions of which none is summed by ranges."""
    study = make_trial(n=16, prompts=24)
    draw = np.random.default_rng(4)
    for response in Response.objects.filter(participant__study=study):
        pain = int(draw.integers(0, 101))
        Response.objects.filter(pk=response.pk).update(pain=pain)
    lagged = diagnosed(study, lag=1, adjust_for=("previous_outcome", "study_day"))
    assert -1 < lagged["residual_lag1"][0]["lag1"] < 1
    means = [one["mean"] for one in lagged["residuals"] if one["mean"] is not None]
    assert abs(np.mean(means)) < 1
    assert lagged["nonlinearity"]["standard_error"] > 0


def test_neighbours_are_consecutive_prompts_of_one_day() -> None:
    study = make_trial(n=12, prompts=20)
    Response.objects.filter(participant__study=study, prompt__ordinal=2).update(stress=None)
    found = diagnosed(study, adjust_for=("study_day",))
    assert [one["neighbours"] for one in found["residual_lag1"]] == [12 * 5, 6 * 5, 6 * 5]


def test_the_hash_of_the_data_follows_the_data_alone() -> None:
    study = make_trial()
    estimate_couplings(timezone.now())
    first = compare(study)
    assert (len(first["data_sha256"]), first["snapshot"]) == (64, None)
    again = compare(study, planned(study, method="kenward_roger"))
    assert again["data_sha256"] == first["data_sha256"]
    one, other = study.participants.all()[:2]
    Allocation.objects.filter(participant=one).update(arm=other.allocation.arm)
    moved = compare(study)
    assert moved["data_sha256"] != first["data_sha256"]
    add_participant(study, "Z9", "placebo")
    answer(study.participants.get(code="Z9"), [(40, 30), (60, 50)])
    estimate_couplings(timezone.now())
    assert compare(study)["data_sha256"] != moved["data_sha256"]


def test_the_newest_snapshot_is_named() -> None:
    study = make_trial()
    estimate_couplings(timezone.now())
    for day in (1, 2):
        Snapshot.objects.create(
            study=study, built_at=START + day * DAY, sha256=str(day) * 64, row_counts={}
        )
    Snapshot.objects.create(study=study)
    report = compare(study)
    assert report["snapshot"]["sha256"] == "2" * 64
    assert "built 2026-03-04T08:00 UTC" in card_table(report)


@pytest.mark.parametrize("residuals", ["ar1", "day"])
def test_models_that_remember_have_residuals_and_no_curve(residuals: str) -> None:
    study = make_trial(n=12, prompts=24)
    estimate_couplings(timezone.now())
    report = compare(study, planned(study, residuals=residuals))
    assert -1 < report["diagnostics"]["residual_lag1"][0]["lag1"] < 1
    assert report["diagnostics"]["nonlinearity"] is None
    said = [one["sentence"] for one in report["warnings"] if one["code"] == "not_computed"]
    assert any("it is made for independent residuals only" in one for one in said)
