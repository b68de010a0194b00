"""AR(1) and day intercepts: against nlme and lme4, and against a dense restricted likelihood."""

import csv
import json
from typing import Any

import numpy as np
import pytest

from analytics.design import Design
from analytics.fixed_effects import coupling_design
from analytics.gram import Centred, Gram
from analytics.mixed_model import Method, fit_design
from analytics.serial import Days, Neighbours, Serial, fit_ar1, fit_days
from tests.analytics.test_agreement import GOLDEN, in_r

REFERENCE = json.loads((GOLDEN / "serial.json").read_text(encoding="utf-8"))["cases"]
ROWS = list(csv.DictReader((GOLDEN / "simulated_serial.csv").open(encoding="utf-8")))
WHO = [row["id"] for row in ROWS]
DAY = [int(row["day"]) for row in ROWS]
COLUMNS = {name: np.array([int(row[name]) for row in ROWS]) for name in ("stress", "craving")}
ARM = {row["id"]: row["arm"] for row in ROWS}


def design_of(sums: Centred) -> Design:
    arm_of = tuple(ARM[str(label)] for label in sums.participants)
    return coupling_design(sums, arm_of, ("control", "high"))


def fitted(case: str, **scales: float) -> Serial:
    if case == "day":
        return fit_days(Days.from_rows(WHO, DAY, COLUMNS), design_of, **scales)
    block = DAY if case == "ar1_day" else [0] * len(DAY)
    return fit_ar1(Neighbours.from_rows(WHO, block, COLUMNS), design_of, **scales)


@pytest.mark.parametrize("case", REFERENCE)
def test_the_fit_is_that_of_nlme_or_lme4(case: str) -> None:
    expected, (model, parameter) = REFERENCE[case], fitted(case)
    estimates = [model.contrast({in_r(term, {}): 1.0}) for term in expected["terms"]]
    np.testing.assert_allclose(
        [each.estimate for each in estimates], expected["estimate"], rtol=1e-5, atol=1e-7
    )
    np.testing.assert_allclose(
        [each.standard_error for each in estimates], expected["se"], rtol=1e-5
    )
    assert model.log_likelihood == pytest.approx(expected["logLik"], abs=1e-6)
    assert model.sd_residual == pytest.approx(expected["sigma"], rel=1e-5)
    assert [model.sd_intercept, model.sd_slope] == pytest.approx(expected["sd"], rel=1e-5)
    if case == "day":
        sd_day = np.sqrt(parameter) * model.sd_residual
        assert sd_day == pytest.approx(expected["sd_day"], rel=1e-5)
    else:
        assert parameter == pytest.approx(expected["phi"], abs=1e-5)
    assert model.n_pairs == len(ROWS)


def whitened_by(r_of: Any) -> tuple[np.ndarray, np.ndarray]:
    """Per participant the weighted mean of stress and the weighted SS, from dense matrices."""
    means, sums = [], []
    for label in sorted(set(WHO)):
        mine = [i for i, who in enumerate(WHO) if who == label]
        x, ones = COLUMNS["stress"][mine].astype(float), np.ones(len(mine))
        inverse = np.linalg.inv(r_of([DAY[i] for i in mine]))
        mean = (ones @ inverse @ x) / (ones @ inverse @ ones)
        means.append(mean)
        sums.append((x - mean) @ inverse @ (x - mean))
    return np.array(means), np.array(sums)


def ar1(days: list[int]) -> np.ndarray:
    apart = np.abs(np.subtract.outer(np.arange(len(days)), np.arange(len(days))))
    return np.where(np.equal.outer(days, days), 0.4**apart, 0.0)


def day(days: list[int]) -> np.ndarray:
    return np.eye(len(days)) + 0.7 * np.equal.outer(days, days)


@pytest.mark.parametrize("kind", [ar1, day])
def test_whitened_sums_are_those_of_dense_matrices(kind: Any) -> None:
    ours = (
        Neighbours.from_rows(WHO, DAY, COLUMNS).centred(0.4)
        if kind is ar1
        else Days.from_rows(WHO, DAY, COLUMNS).centred(0.7)
    )
    means, sums = whitened_by(kind)
    np.testing.assert_allclose(ours.mean_of("stress"), means, rtol=1e-10)
    np.testing.assert_allclose(ours.ss_of("stress", "stress"), sums, rtol=1e-9)
    logs = [
        np.linalg.slogdet(kind([d for d, who in zip(DAY, WHO, strict=True) if who == label]))[1]
        for label in set(WHO)
    ]
    assert ours.log_det == pytest.approx(sum(logs))


@pytest.mark.parametrize("method", [Method.SATTERTHWAITE, Method.KENWARD_ROGER, Method.CR2])
def test_without_memory_it_is_the_plain_model(method: Method) -> None:
    plain = fit_design(design_of(Gram.from_rows(WHO, COLUMNS).centred()))
    for sums in (
        Neighbours.from_rows(WHO, DAY, COLUMNS).centred(0.0),
        Days.from_rows(WHO, DAY, COLUMNS).centred(0.0),
    ):
        model = fit_design(design_of(sums))
        one, other = (m.contrast({"stress_within:arm[high]": 1.0}, method) for m in (plain, model))
        assert other[:5] == pytest.approx(one[:5], rel=1e-6)
        assert model.log_likelihood == pytest.approx(plain.log_likelihood, abs=1e-8)


def test_units_of_the_items_are_units_of_the_answer() -> None:
    plain, scaled = fitted("ar1_day"), fitted("ar1_day", stress=10.0, craving=100.0)
    term = {"stress_within": 1.0}
    assert scaled.parameter == pytest.approx(plain.parameter, abs=1e-6)
    expected = plain.model.contrast(term).estimate / 10
    assert scaled.model.contrast(term).estimate == pytest.approx(expected, rel=1e-6)


def test_decimals_are_refused_in_words() -> None:
    with pytest.raises(ValueError, match="scale decimals first"):
        Days.from_rows(["a", "a"], [1, 1], {"stress": [1.5, 2.0]})
