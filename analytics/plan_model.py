"""The mixed model that a plan asks for: its terms, and the names that a report gives them. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from analytics.design import Design, Term, Terms
from analytics.fixed_effects import (
    WITHIN,
    arm_term,
    arms_of,
    coupling_design,
    in_context,
    moderated,
)
from analytics.gram import Gram
from analytics.mixed_model import Combination, MixedModel, fit_design
from analytics.plan import MOMENT, Plan
from analytics.summing import Floats


class Level(NamedTuple):
    """A participant's usable rows at one level of the predictor, in stored integers."""

    participant: str
    predictor: int
    n: int
    total: int
    above_floor: int


@dataclass(frozen=True)
class Pair:
    """Predictor and outcome as row functions are named."""

    predictor: str
    outcome: str


@dataclass(frozen=True, eq=False)
class Fitted:
    """A model with its design; `moderations`: by moderator, the terms that are its tests."""

    model: MixedModel
    design: Design
    pair: Pair
    moderations: Mapping[str, Sequence[Combination]]

    def named(self, text: str) -> str:
        """The engine's terms and sentences, in the plan's items."""
        return in_items(text, self.pair)


def in_items(text: str, pair: Pair) -> str:
    """The engine's words in the plan's items."""
    names = {
        "stress_within": f"{pair.predictor}_within",
        "stress_between": f"{pair.predictor}_between",
        "stress": pair.predictor.replace("_", " "),
        "craving": pair.outcome,
    }
    found = re.sub(
        r"(?<![@\w])(stress_within|stress_between|stress|craving)(?![\w\]])",
        lambda match: names[match[1]],
        text,
    )
    return found.replace("@", "")


def fit_plan(
    plan: Plan,
    gram: Gram,
    scales: Mapping[str, float],
    pair: Pair,
    *,
    arm_of: Mapping[str, str] | None = None,
    reference: str | None = None,
    all_arms: Sequence[str] | None = None,
    traits: Mapping[str, Mapping[str, Floats]] | None = None,
) -> Fitted:
    """Fit it. ``traits``: by moderator, columns of a number per participant of the Gram.

    Raises ValueError, in the plan's items, for data that hold no such model.
    """
    centred = gram.centred(scales)
    of, levels = arms_of(gram.participants, arm_of, reference, all_arms)
    also = _adjustments(Terms(centred), gram)
    tested: dict[str, list[str]] = {}
    for name, columns in (traits or {}).items():
        for column, values in columns.items():
            also |= moderated(centred, column, values, of, levels, pair.predictor)
            tested.setdefault(name, []).append(f"{WITHIN}:{column}")
    for each in plan.moderators:
        if each.kind == MOMENT:
            function = f"@{each.item}"
            also |= in_context(centred, function, of, levels, pair.predictor)
            tested[each.item] = [f"{WITHIN}:{function}_within"]
    design = coupling_design(
        centred, of, levels, predictor=pair.predictor, outcome=pair.outcome, also=also
    )
    try:
        model = fit_design(design)
    except ValueError as error:
        raise ValueError(in_items(str(error), pair)) from error
    return Fitted(model, design, pair, _moderations(tested, levels, model))


def formula(plan: Plan, pair: Pair, has_arms: bool, moderations: Sequence[str]) -> str:
    """The model in lme4's notation."""
    within = f"{pair.predictor}_within"
    parts = [f"{within} * arm" if has_arms else within, f"{pair.predictor}_between"]
    by = " * arm" if has_arms else ""
    parts += [f"{within} * {name}{by}" for name in moderations]
    parts += [
        f"previous_{plan.outcome}" if name == "previous_outcome" else name
        for name in plan.adjust_for
    ]
    return f"{pair.outcome} ~ {' + '.join(parts)} + (1 + {within} | participant)"


def _adjustments(terms: Terms, gram: Gram) -> dict[str, Term]:
    """Every adjustment among the row functions, about its mean over all rows; `previous_…` within.

    Momentary context comes with its product and is a moderator.
    """
    functions = set(gram.functions)
    context = {name.rpartition("*")[2] for name in functions if "*" in name}
    found = {}
    for name in gram.functions:
        if name.startswith("@previous_"):
            found[f"{name}_within"] = terms.within(name)
        elif name.startswith("@") and name not in context:
            mean = terms.centred.mean_of(name)
            found[name] = terms.raw(name, float(np.average(mean, weights=terms.centred.n)))
    return found


def _moderations(
    tested: Mapping[str, Sequence[str]], levels: Sequence[str], model: MixedModel
) -> dict[str, list[Combination]]:
    """The combinations whose being zero means that the moderator does not change the difference
    between arms (without arms: the coupling); those that the data hold."""
    found: dict[str, list[Combination]] = {}
    for name, slopes in tested.items():
        terms = [f"{s}:{arm_term(arm)}" for s in slopes for arm in levels[1:]] or list(slopes)
        found[name] = [{term: 1.0} for term in terms if term in model.terms]
    return found
