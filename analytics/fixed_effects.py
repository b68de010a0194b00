"""The fixed effects of the coupling model: their names, their terms, and data without a coupling.

Terms the data cannot estimate are found before the fit and named; data without any coupling are
refused with a ValueError in words.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from analytics.design import Design, Term, Terms
from analytics.gram import Centred
from analytics.moments import Label, Within
from analytics.summing import Floats

INTERCEPT, WITHIN, BETWEEN = "intercept", "stress_within", "stress_between"
SQUARE = f"{WITHIN}^2"


def arm_term(arm: str) -> str:
    return f"arm[{arm}]"


def within_arm_term(arm: str) -> str:
    return f"{WITHIN}:arm[{arm}]"


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


def coupling_design(
    centred: Centred,
    arm_of: tuple[str, ...] = (),
    levels: tuple[str, ...] = (),
    *,
    predictor: str = "stress",
    outcome: str = "craving",
    also: Mapping[str, Term] | None = None,
) -> Design:
    """outcome ~ stress_within * arm + stress_between + whatever else is wanted.

    ``also`` adds terms by name; they go before the model's own where the data cannot hold both.
    """
    terms = Terms(centred)
    one, within = terms.level(), terms.within(predictor)
    belongs = indicators(arm_of, levels)
    fixed = {INTERCEPT: one, WITHIN: within, BETWEEN: terms.between(predictor)}
    fixed |= {arm_term(arm): one.times(column) for arm, column in belongs.items()}
    fixed |= {within_arm_term(arm): within.times(column) for arm, column in belongs.items()}
    fixed |= also or {}
    yields = (*(also or {}), BETWEEN)
    return Design(centred, outcome, predictor, fixed, yields=yields, arms=levels, arm_of=arm_of)


def indicators(arm_of: tuple[str, ...], levels: tuple[str, ...]) -> dict[str, Floats]:
    """1 for the participants of each arm but the reference, 0 for the others."""
    label = np.array(arm_of)
    return {arm: (label == arm).astype(np.float64) for arm in levels[1:]}


def by_arm(
    name: str, term: Term, arm_of: tuple[str, ...], levels: tuple[str, ...]
) -> dict[str, Term]:
    """A term and its interaction with every arm but the reference."""
    found = {name: term}
    for arm, column in indicators(arm_of, levels).items():
        found[f"{name}:{arm_term(arm)}"] = term.times(column)
    return found


def moderated(
    centred: Centred,
    name: str,
    values: Floats,
    arm_of: tuple[str, ...],
    levels: tuple[str, ...],
    predictor: str = "stress",
) -> dict[str, Term]:
    """A participant's trait × stress × arm: the trait, and what it does to the coupling, by arm."""
    terms = Terms(centred)
    level, slope = terms.level(values), terms.within(predictor).times(values)
    return by_arm(name, level, arm_of, levels) | by_arm(f"{WITHIN}:{name}", slope, arm_of, levels)


def in_context(
    centred: Centred,
    name: str,
    arm_of: tuple[str, ...],
    levels: tuple[str, ...],
    predictor: str = "stress",
) -> dict[str, Term]:
    """Momentary context × stress × arm, the context (pain, say) about the own mean.

    Needs the sums of the row functions ``name`` and ``predictor*name``.
    """
    terms = Terms(centred)
    return by_arm(f"{name}_within", terms.within(name), arm_of, levels) | by_arm(
        f"{WITHIN}:{name}_within", terms.product(predictor, name), arm_of, levels
    )


def squared(
    centred: Centred, arm_of: tuple[str, ...], levels: tuple[str, ...], predictor: str = "stress"
) -> dict[str, Term]:
    """stress_within² × arm: then stress_within is the slope at the own mean.

    Needs the sums of the row function ``predictor*predictor``.
    """
    return by_arm(SQUARE, Terms(centred).product(predictor, predictor), arm_of, levels)


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
    if not (levels and arm_of):
        return
    here = np.array([arm == levels[0] for arm in arm_of])
    if not here.any():
        raise ValueError(f"reference arm {levels[0]!r} has no participant with data")
    if not within.ss_xx[here].any():
        raise ValueError(
            f"stress never varies within any participant of the reference arm {levels[0]!r}, "
            "so no arm can be compared with it"
        )


def refuse_too_few_rows(rows: float, terms: Sequence[str]) -> None:
    if rows <= len(terms):
        raise ValueError(
            f"{rows:.0f} usable answers are too few for the {len(terms)} terms {', '.join(terms)}: "
            "it takes at least one more"
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
