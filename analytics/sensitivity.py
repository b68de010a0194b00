"""The difference beside itself: without those who answered little, and adjusted for how much.

Compliance is a participant's answered share of the prompts that reached them in the plan's phases.
It is seen after allocation, so leaving people out by it is no more than a check.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from analytics.card_attempts import content_of
from analytics.fixed_effects import within_arm_term
from analytics.gram import Gram
from analytics.mixed_model import Combination, Method
from analytics.plan_model import Fitted
from analytics.report import best
from analytics.summing import Floats

LEAST = {"compliance_50": 0.50, "compliance_33": 0.33}
ADJUSTED = "compliance_adjusted"
Traits = Mapping[str, Mapping[str, Floats]]
Fit = Callable[[Gram, Traits, Mapping[str, Floats]], Fitted]


def by_compliance(
    gram: Gram, traits: Traits, compliance: Mapping[str, float], fit: Fit, main: Method
) -> list[dict[str, Any]]:
    """A row per rule: how many it keeps, and its contrasts; or the sentence why there are none."""
    own = np.array([compliance.get(str(code), 0.0) for code in gram.participants])
    rows = [_row(rule, gram, traits, own >= least, {}, fit, main) for rule, least in LEAST.items()]
    everybody = np.ones(len(own), dtype=bool)
    share = {"compliance": own - own.mean()}
    return [*rows, _row(ADJUSTED, gram, traits, everybody, share, fit, main)]


def _row(
    rule: str,
    gram: Gram,
    traits: Traits,
    stay: Any,
    shared: Mapping[str, Floats],
    fit: Fit,
    main: Method,
) -> dict[str, Any]:
    kept = gram.select([code for code, here in zip(gram.participants, stay, strict=True) if here])
    theirs = {
        name: {column: values[stay] for column, values in columns.items()}
        for name, columns in traits.items()
    }
    told: dict[str, Any] = {
        "rule": rule,
        "n_participants": len(kept.participants),
        "n_pairs": int(kept.n.sum()),
        "contrasts": [],
        "not_computed": None,
    }
    try:
        fitted = fit(kept, theirs, shared)
    except ValueError as error:
        return told | {"not_computed": str(error)}
    return told | {"contrasts": contrasts(fitted, main)}


def contrasts(fitted: Fitted, main: Method) -> list[dict[str, Any]]:
    """Every arm's coupling minus the reference's."""
    model = fitted.model
    arms = [arm for arm in model.arms[1:] if within_arm_term(arm) in model.terms]
    asked: Sequence[Combination] = [{within_arm_term(arm): 1.0} for arm in arms]
    found = best(model, asked, main) if arms else []
    return [
        {"arm": arm, "reference": model.arms[0], "difference": each.estimate}
        | (content_of(each) or {})
        for arm, each in zip(arms, found, strict=True)
    ]
