"""One report, one shape: valid JSON, and a table that says what a sign means."""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from analytics.mixed_model import fit_mixed_model
from analytics.moments import Moments
from analytics.personal import personal_couplings
from analytics.report import comparison_report, comparison_table


def rows(people: int = 24, slope_sd: float = 0.3) -> Moments:
    rng = np.random.default_rng(1)
    who = np.repeat(np.arange(people), 15)
    x = rng.integers(0, 11, len(who))
    slope = np.where(np.arange(people) % 2, 0.3, 0.8) + rng.normal(0, slope_sd, people)
    y = rng.normal(5, 1, people)[who] + slope[who] * x + rng.normal(size=len(who))
    return Moments.from_rows(who.tolist(), x, y)


def report_of(
    moments: Moments, arms: Sequence[str] | None = ("control", "treated"), **more: Any
) -> dict[str, Any]:
    arm_of = {p: arms[int(p) % len(arms)] for p in moments.participants} if arms else None
    model = fit_mixed_model(moments, arm_of, "control" if arms else None)
    return comparison_report(model, **more)


def test_the_report_has_the_shape_doors_rely_on() -> None:
    report = report_of(rows(), excluded={"missing_stress": 3})
    assert list(report) == [
        "n_participants",
        "n_pairs",
        "n_excluded",
        "method",
        "log_likelihood",
        "fixed",
        "dropped",
        "random",
        "reliability",
        "singular",
        "arms",
        "contrasts",
    ]
    assert [effect["term"] for effect in report["fixed"]] == [
        "intercept",
        "stress_within",
        "stress_between",
        "arm[treated]",
        "stress_within:arm[treated]",
    ]
    assert set(report["fixed"][0]) == {
        "term",
        "estimate",
        "model_standard_error",
        "model_df",
        "standard_error",
        "df",
        "p",
        "interval",
    }
    assert set(report["random"]) == {"sd_intercept", "sd_slope", "correlation", "sd_residual"}
    assert [(arm["arm"], arm["n"]) for arm in report["arms"]] == [("control", 12), ("treated", 12)]
    assert report["n_excluded"] == {"missing_stress": 3}
    assert report["n_pairs"] == 24 * 15


def test_the_contrast_is_the_interaction_and_the_difference_of_the_couplings() -> None:
    report = report_of(rows())
    (contrast,) = report["contrasts"]
    interaction = report["fixed"][-1]
    control, treated = report["arms"]
    assert (contrast["arm"], contrast["reference"]) == ("treated", "control")
    assert contrast["difference"] == interaction["estimate"]
    assert contrast["interval"] == interaction["interval"]
    assert contrast["difference"] == pytest.approx(treated["coupling"] - control["coupling"])


def test_the_report_is_valid_json_even_where_there_is_nothing_to_say() -> None:
    moments = rows(slope_sd=0.0)
    flat = Moments.from_sums([(99, 2, 3, 4, 5, 6, 10), (98, 1, 3, 0, 9, 0, 0)])
    moments = moments.merge(flat)
    for arms in (None, ("control", "treated"), ("control", "treated", "third")):
        report = report_of(moments, arms, personal=personal_couplings(moments))
        assert json.loads(json.dumps(report, allow_nan=False)) == report


def test_participants_are_listed_only_when_asked_for() -> None:
    moments = rows(people=4)
    assert "participants" not in report_of(moments, None)
    listed = report_of(moments, None, personal=personal_couplings(moments))["participants"]
    assert [one["participant"] for one in listed] == [0, 1, 2, 3]
    assert set(listed[0]) >= {"participant", "n", "slope", "standard_error", "shrunken_slope"}
    assert all(0 < one["reliability"] < 1 for one in listed)


def test_a_report_without_arms_is_one_coupling_of_all_participants() -> None:
    report = report_of(rows(), None)
    (everyone,) = report["arms"]
    assert (everyone["arm"], everyone["n"]) == (None, 24)
    assert everyone["coupling"] == report["fixed"][1]["estimate"]
    assert report["contrasts"] == []
    assert "all participants" in comparison_table(report)


def test_the_table_shows_couplings_and_says_what_a_sign_means() -> None:
    report = report_of(rows(), excluded={"missing_stress": 3, "missing_craving": 0})
    table = comparison_table(report)
    assert "24 participants, 360 complete pairs (rows left out: 3 missing stress)" in table
    assert "treated - control" in table
    assert "Coupling in treated is estimated" in table
    assert "weaker than in control; the data are compatible with differences from" in table
    assert "A negative difference means a weaker coupling than in the reference arm." in table
    assert "no difference" not in table
    assert f"{report['arms'][0]['coupling']:.4f}" in table


def test_the_table_names_what_could_not_be_estimated() -> None:
    moments = rows()
    arm_of = {p: "control" if int(p) % 2 else "treated" for p in moments.participants}
    model = fit_mixed_model(moments, arm_of, "control", all_arms=["control", "treated", "never"])
    table = comparison_table(comparison_report(model, personal=personal_couplings(moments)))
    assert "Not estimable from these data: arm[never], stress_within:arm[never]." in table
    assert "shrunken slope" in table
