"""The fixed effects of the mixed model: their names, their columns, and data that cannot hold them.

Every column is a participant-level multiplier of 1 or of the centred stress. Terms the data
cannot estimate are found before the fit and named; data without any coupling are refused with a
ValueError in words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from analytics.moments import Floats, Label, Within

INTERCEPT, WITHIN, BETWEEN = "intercept", "stress_within", "stress_between"
_RANK_TOLERANCE = 1e-7  # R's qr()

Columns: TypeAlias = dict[str, Floats]


def arm_term(arm: str) -> str:
    return f"arm[{arm}]"


def within_arm_term(arm: str) -> str:
    return f"{WITHIN}:arm[{arm}]"


def public_order(levels: tuple[str, ...]) -> list[str]:
    others = levels[1:]
    return [
        INTERCEPT,
        WITHIN,
        BETWEEN,
        *(arm_term(arm) for arm in others),
        *(within_arm_term(arm) for arm in others),
    ]


def arms_of(
    participants: Sequence[Label],
    arms: Mapping[Any, str] | None,
    reference: str | None,
    all_arms: Sequence[str] | None,
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """The arm of each participant, and the arms with the reference first."""
    if arms is None:
        return (), ()
    without = [label for label in participants if label not in arms]
    if without:
        raise ValueError(f"participant {without[0]!r} has no arm ({len(without)} in all)")
    arm_of = tuple(arms[label] for label in participants)
    names = sorted({*arm_of, *(all_arms or ())})
    if reference not in names:
        raise ValueError(f"reference arm {reference!r} is not one of the arms: {', '.join(names)}")
    return arm_of, (str(reference), *(arm for arm in names if arm != reference))


def columns_of(
    within: Within, arm_of: tuple[str, ...], levels: tuple[str, ...]
) -> tuple[Columns, Columns]:
    """Participant-level multipliers of 1 and of the centred stress, the last to go first."""
    label = np.array(arm_of)
    ones = np.ones(len(within.n))
    belongs = {arm: (label == arm).astype(np.float64) for arm in levels[1:]}
    between = within.mean_x - within.mean_x.mean()
    # Means that differ by rounding alone are the same.
    noise = 1e-10 * max(float(np.abs(within.mean_x).max()), float(np.sqrt(within.ss_xx.max())))
    if np.abs(between).max() <= noise:
        between = np.zeros_like(between)
    level = {INTERCEPT: ones} | {arm_term(arm): column for arm, column in belongs.items()}
    slope = {WITHIN: ones} | {within_arm_term(arm): column for arm, column in belongs.items()}
    return level | {BETWEEN: between}, slope


def independent(columns: Columns, weight: Floats) -> tuple[list[str], Floats, list[str]]:
    """Terms that add to those before them (weighted Gram–Schmidt), their columns, the others."""
    root = np.sqrt(weight)
    basis: list[Floats] = []
    kept: list[str] = []
    for term, column in columns.items():
        rest = root * column
        size = float(np.linalg.norm(rest))
        for _ in range(2):
            for direction in basis:
                rest = rest - (direction @ rest) * direction
        left = float(np.linalg.norm(rest))
        if left > _RANK_TOLERANCE * size:
            basis.append(rest / left)
            kept.append(term)
    matrix = np.column_stack([columns[term] for term in kept])
    return kept, matrix, [term for term in columns if term not in kept]


def refuse_hopeless(within: Within) -> None:
    """Raise ValueError for data no arm or term could rescue."""
    people, pairs = len(within.n), int(within.n.sum())
    if people < 2:
        raise ValueError(
            f"a mixed model needs at least 2 participants with stress and craving, not {people}"
        )
    if not within.ss_xx.any():
        raise ValueError(
            "stress never varies within any participant, so there is no within-person slope: "
            "it takes participants with different stress at different prompts"
        )
    if not within.ss_yy.any():
        raise ValueError("craving never varies within any participant, so there is no coupling")
    own_lines = people + int(np.count_nonzero(within.ss_xx))
    if pairs <= own_lines or not within.ss_residual.any():
        raise ValueError(
            f"every participant's craving lies exactly on a line ({pairs} pairs for {people} "
            "participants), so residual variation cannot be told from differences between people"
        )


def refuse_broken_reference(
    within: Within, arm_of: tuple[str, ...], levels: tuple[str, ...]
) -> None:
    if not levels:
        return
    here = np.array([arm == levels[0] for arm in arm_of])
    if not here.any():
        raise ValueError(f"reference arm {levels[0]!r} has no participant with data")
    if not within.ss_xx[here].any():
        raise ValueError(
            f"stress never varies within any participant of the reference arm {levels[0]!r}, "
            "so no arm can be compared with it"
        )


def refuse_saturated(within: Within, level_terms: list[str], slope_terms: list[str]) -> None:
    """With as many participants as terms, a random effect cannot be told from the fixed ones."""
    people, movers = len(within.n), int(np.count_nonzero(within.ss_xx))
    if people <= len(level_terms):
        raise ValueError(
            f"{people} participants are too few for the {len(level_terms)} terms "
            f"{', '.join(level_terms)}: it takes at least one more"
        )
    if movers <= len(slope_terms):
        raise ValueError(
            f"stress varies within only {movers} of the participants, too few for "
            f"{', '.join(slope_terms)}: it takes at least one more"
        )
