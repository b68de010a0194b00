"""The outcome at each range of the predictor, by arm. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analytics.card_attempts import mean_of_means
from analytics.residuals import RowSums


def by_level(
    sums: RowSums,
    outcome: str,
    ranges: Sequence[tuple[int, int]],
    scales: Mapping[str, float],
    groups: Sequence[str | None],
    arm_of: Mapping[str, str] | None,
) -> list[dict[str, Any]]:
    """The outcome at each range of the predictor by arm: means of participants' own means.

    The first function of the sums is the predictor. Intervals are t intervals over participants,
    null where fewer than two are in the range.
    """
    arms = np.array([None if arm_of is None else arm_of.get(code) for code in sums.participant])
    means = sums.totals[sums.functions.index(outcome)] / sums.n / scales[outcome]
    x_scale = scales[sums.functions[0]]
    rows = []
    for arm in groups:
        for place, (low, high) in enumerate(ranges, start=1):
            here = (arms == arm) & (sums.place == place)
            found: dict[str, Any] = {"arm": arm, "from": low / x_scale, "to": high / x_scale}
            found["n_prompts"] = int(sums.n[here].sum())
            rows.append(found | mean_of_means(means[here]))
    return rows
