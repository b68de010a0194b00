"""The outcome at each range of the predictor, by arm. Pure."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import t as student

from analytics.plan_model import Level


def by_level(
    levels: Sequence[Level],
    ranges: Sequence[tuple[int, int]],
    scales: tuple[float, float],
    groups: Sequence[str | None],
    arm_of: Mapping[str, str] | None,
) -> list[dict[str, Any]]:
    """The outcome at each range of the predictor by arm: means of participants' own means.

    ``levels`` stand at the ranges' first integers; ``scales`` of predictor and outcome. Intervals
    are t intervals over participants, null where fewer than two are in the range.
    """
    at: dict[tuple[str | None, int], list[Level]] = defaultdict(list)
    for each in levels:
        arm = None if arm_of is None else arm_of.get(each.participant)
        at[arm, each.predictor].append(each)
    x_scale, y_scale = scales
    return [
        {"arm": arm, "from": low / x_scale, "to": high / x_scale} | _mean_of(at[arm, low], y_scale)
        for arm in groups
        for low, high in ranges
    ]


def _mean_of(inside: Sequence[Level], scale: float) -> dict[str, Any]:
    means = np.array([each.total / each.n / scale for each in inside])
    interval = None
    if len(means) > 1:
        reach = float(student.ppf(0.975, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means)))
        interval = [float(means.mean()) - reach, float(means.mean()) + reach]
    return {
        "n_participants": len(means),
        "n_prompts": sum(each.n for each in inside),
        "mean": float(means.mean()) if len(means) else None,
        "interval": interval,
    }
