"""Difference-in-differences: how the coupling changes from a baseline phase on, by arm. Pure.

In the engine `stress_within` is the *change* of the coupling and `stress_within:arm[A]` the arms'
difference in it, so that whatever is said of a difference is said of the difference in changes; the
coupling at baseline has its own terms. Reports name them as lme4 names stress_within * post * arm.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics.design import Design, Term, Terms
from analytics.fixed_effects import (
    BETWEEN,
    INTERCEPT,
    WITHIN,
    arm_term,
    indicators,
)
from analytics.gram import Centred, Gram, product_of
from analytics.mixed_model import Combination, Estimate, Method, MixedModel
from analytics.report import best
from analytics.summing import Floats

POST, BEFORE = "@post", f"{WITHIN}_before"


def change_design(
    centred: Centred,
    arm_of: tuple[str, ...],
    levels: tuple[str, ...],
    *,
    predictor: str,
    outcome: str,
    also: Mapping[str, Term],
) -> Design:
    """outcome ~ stress_within * post * arm + stress_between + whatever else is wanted.

    Needs the sums of the row functions ``@post`` (0 or 1) and ``predictor*@post``.
    """
    terms = Terms(centred)
    fixed = {
        INTERCEPT: terms.level(),
        BEFORE: terms.within(predictor),
        BETWEEN: terms.between(predictor),
        POST: terms.raw(POST),
        WITHIN: terms.product(predictor, POST, raw=True),
    }
    for arm, column in indicators(arm_of, levels).items():
        fixed[arm_term(arm)] = terms.level(column)
        for name in (BEFORE, POST, WITHIN):
            fixed[f"{name}:{arm_term(arm)}"] = fixed[name].times(column)
    fixed |= also
    yields = (*also, BETWEEN)
    return Design(centred, outcome, predictor, fixed, yields=yields, arms=levels, arm_of=arm_of)


def reported(term: str) -> str:
    """The engine's name of a term as a report has it."""
    changed = re.sub(rf"\b{WITHIN}(?!\w)", f"{WITHIN}:{POST}", term)
    return changed.replace(BEFORE, WITHIN)


def refuse_one_phase(
    gram: Gram, arm_of: Sequence[str], levels: Sequence[str], baseline: str
) -> None:
    """Raise ValueError for an arm without answers on either side of the baseline phase's end."""
    after = np.asarray(gram.totals[gram.functions.index(POST)])
    of = np.array(arm_of) if arm_of else np.full(len(after), "")
    for arm in levels or ("",):
        here = of == arm
        if not here.any():
            continue
        whose = f" in arm {arm}" if arm else ""
        if not (gram.n[here] - after[here]).any():
            raise ValueError(f"there are no usable answers in phase {baseline}{whose}")
        if not after[here].any():
            raise ValueError(f"there are no usable answers after phase {baseline}{whose}")


def own_changes(gram: Gram, predictor: str, outcome: str) -> tuple[Floats, NDArray[np.bool_]]:
    """Everybody's own slope after baseline minus that at baseline, and who has both.

    A slope takes three rows and a predictor that varies.
    """
    at = {name: place for place, name in enumerate(gram.functions)}
    x, y, post, both = (
        at[name] for name in (predictor, outcome, POST, product_of(predictor, POST))
    )
    totals, products = gram.totals.astype(np.float64), gram.products.astype(np.float64)
    later = [totals[post], totals[both], products[post, y], products[both, x], products[both, y]]
    every = [gram.n.astype(np.float64), totals[x], totals[y], products[x, x], products[x, y]]
    slopes, has = zip(
        _slopes(*later), _slopes(*(a - b for a, b in zip(every, later, strict=True))), strict=True
    )
    return slopes[0] - slopes[1], has[0] & has[1]


def _slopes(n: Floats, x: Floats, y: Floats, xx: Floats, xy: Floats) -> tuple[Floats, Any]:
    ss = n * xx - x * x
    has = (n >= 3) & (ss > 0)
    return np.divide(n * xy - x * y, ss, out=np.zeros_like(ss), where=has), has


def add_phases(report: dict[str, Any], model: MixedModel, method: Method) -> None:
    """To each arm: its coupling after baseline, at baseline, and the change."""
    for one in report["arms"]:
        before, change = _in_arm(BEFORE, one["arm"], model), _in_arm(WITHIN, one["arm"], model)
        held = [
            each for each in (before, change, {**before, **change}) if set(each) <= set(model.terms)
        ]
        if len(held) < 3:
            continue
        then, moved, now = best(model, held, method)
        told = {"baseline": _told(then, "coupling"), "change": _told(moved, "estimate")}
        one.update(_told(now, "coupling") | told)


def _in_arm(term: str, arm: str | None, model: MixedModel) -> Combination:
    own = {} if arm in (None, model.reference) else {f"{term}:{arm_term(str(arm))}": 1.0}
    return {term: 1.0, **own}


def _told(found: Estimate, name: str) -> dict[str, Any]:
    return {
        name: found.estimate,
        "standard_error": found.standard_error,
        "interval": list(found.interval),
    }
