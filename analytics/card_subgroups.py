"""The difference between arms in subgroups of a moderator: to be read with its interaction. Pure.

A site is a subgroup; a baseline mean and an item of the moment are taken at their mean and one
standard deviation to either side. Subgroups have intervals and no p of their own: what is tested is
that the moderator changes the difference.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analytics.card_attempts import estimates
from analytics.fixed_effects import WITHIN, arm_term, within_arm_term
from analytics.mixed_model import Combination, Method
from analytics.plan_model import Fitted

FIRST_SITE = "the first site"


def subgroups(
    fitted: Fitted, combinations: Sequence[Combination], main: Method
) -> list[dict[str, Any]]:
    """Estimates with intervals, of each arm against the reference; of the coupling without arms."""
    rows: list[dict[str, Any]] = []
    model = fitted.model
    for arm in model.arms[1:] or (None,):
        suffix = f":{arm_term(arm)}" if arm else ""
        slopes = [
            term.removesuffix(suffix)
            for each in combinations
            for term in each
            if term.endswith(suffix)
        ]
        base: Combination = {within_arm_term(arm) if arm else WITHIN: 1.0}
        wanted = {
            label: {**base} | {f"{slope}{suffix}": value for slope, value in at.items()}
            for label, at in _values(fitted, slopes).items()
        }
        if not slopes or not base.keys() <= set(model.terms):
            continue
        found = estimates(model, list(wanted.values()), main)
        for label, one in zip(wanted, found, strict=True):
            rows.append(
                {
                    "subgroup": label,
                    "arm": arm,
                    "reference": model.reference,
                    "estimate": one and one.estimate,
                    "interval": one and list(one.interval),
                }
            )
    return rows


def _values(fitted: Fitted, slopes: Sequence[str]) -> Mapping[str, Mapping[str, float]]:
    """By subgroup, the values of the moderator's columns."""
    columns = [slope.removeprefix(f"{WITHIN}:") for slope in slopes]
    if all(column.startswith("site[") for column in columns):
        names = [column.removeprefix("site[").removesuffix("]") for column in columns]
        others = {name: {slope: 1.0} for name, slope in zip(names, slopes, strict=True)}
        return {FIRST_SITE: {}} | others
    (slope,) = slopes
    sd = _spread(fitted, slope, columns[0])
    return {
        f"1 SD ({sd:.3g}) below mean": {slope: -sd},
        "at the mean": {slope: 0.0},
        f"1 SD ({sd:.3g}) above mean": {slope: sd},
    }


def _spread(fitted: Fitted, slope: str, column: str) -> float:
    """The SD between participants of a baseline mean, within them of an item of the moment."""
    design, centred = fitted.design, fitted.design.centred
    if column.startswith("@"):
        name = column.removesuffix("_within")
        rows = float(centred.counts.sum()) - len(centred)
        return float(np.sqrt(centred.ss_of(name, name).sum() / rows))
    return float(np.std(design.fixed[slope].parts[design.predictor], ddof=1))
