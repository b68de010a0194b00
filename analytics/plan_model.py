"""The mixed model that a plan asks for: its terms, and the names that a report gives them. Pure."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analytics import crossover, plan_change
from analytics.crossover import Crossover, crossover_design, refuse_confounded
from analytics.design import Design, Term, Terms
from analytics.fixed_effects import (
    WITHIN,
    arm_term,
    arms_of,
    coupling_design,
    in_context,
    moderated,
    squared,
)
from analytics.gram import Centred, Gram
from analytics.mixed_model import Combination, MixedModel, fit_design
from analytics.permutation import own_slopes
from analytics.plan import Plan
from analytics.plan_change import change_design, own_changes, refuse_one_phase
from analytics.plan_fields import AR1, CROSSOVER, DAY, MOMENT, PARALLEL
from analytics.serial import Days, Neighbours, fit_ar1, fit_days
from analytics.summing import Floats


class Level(NamedTuple):
    """A participant's usable rows at one level of the predictor, in stored integers."""

    participant: str
    predictor: int
    n: int
    total: int
    above_floor: int


GIVEN = {
    "phi": "; errors, df and the other estimates take φ, estimated by REML, as known",
    "sd_day": "; errors, df and the other estimates take the days' share of the variance, "
    "estimated by REML, as known",
}

ALIKE = "; for this model people do not differ {}; CR2 alone allows for it"


@dataclass(frozen=True)
class Pair:
    """Predictor and outcome as row functions are named."""

    predictor: str
    outcome: str


@dataclass(frozen=True, eq=False)
class Fitted:
    """A model with its design; `moderations`: by moderator, the terms that are its tests.

    `remembered`: φ of AR(1) or the SD of days, by the name a report gives it. `own`: everybody's
    own number that a randomisation test compares, and who has one; None in a crossover.
    """

    model: MixedModel
    design: Design
    pair: Pair
    moderations: Mapping[str, Sequence[Combination]]
    remembered: Mapping[str, float]
    plan: Plan
    own: tuple[Floats, NDArray[np.bool_]] | None

    @property
    def given(self) -> str:
        """What the report's method is to add."""
        given = "".join(GIVEN[name] for name in self.remembered)
        if self.plan.baseline_phase:
            given += ALIKE.format("in how their coupling changes")
        return given + (ALIKE.format("in what treatments do") if not self.is_of_arms else "")

    @property
    def is_of_arms(self) -> bool:
        """Whether arms are what is compared, and not treatments within people."""
        return self.plan.design == PARALLEL

    @property
    def is_parallel(self) -> bool:
        """Whether arms are compared in their couplings, not in changes, nor treatments."""
        return not self.plan.baseline_phase and self.is_of_arms

    def named(self, text: str) -> str:
        """The engine's terms and sentences, in the plan's items."""
        return in_items(_reported(text, self.plan), self.pair)


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


def _reported(text: str, plan: Plan) -> str:
    """Terms as reports name them where the engine's arms are changes or treatments."""
    if plan.baseline_phase:
        return plan_change.reported(text)
    return crossover.reported(text) if plan.design == CROSSOVER else text


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
    memory: Neighbours | Days | None = None,
    shared: Mapping[str, Floats] | None = None,
    order: Crossover | None = None,
) -> Fitted:
    """Fit it. ``traits``: by moderator, columns of a number per participant of the Gram.

    ``shared``: further such columns that change level and coupling alike in all arms. ``memory``:
    of the same participants in the same order, for residuals that are not independent. ``order``:
    of a crossover's treatments, in place of arms.
    Raises ValueError, in the plan's items, for data that hold no such model.
    """
    of, levels = arms_of(gram.participants, None if order else arm_of, reference, all_arms)

    def design_of(centred: Centred) -> Design:
        also = _also(plan, centred, pair, of, levels, traits or {})
        for column, values in (shared or {}).items():
            also |= moderated(centred, column, values, (), (), pair.predictor)
        x, y = pair.predictor, pair.outcome
        if order:
            return crossover_design(order, centred, predictor=x, outcome=y, also=also)
        make = change_design if plan.baseline_phase else coupling_design
        return make(centred, of, levels, predictor=x, outcome=y, also=also)

    try:
        if plan.baseline_phase:
            refuse_one_phase(gram, of, levels, plan.baseline_phase)
        if order:
            refuse_confounded(order, gram)
        model, design, remembered = _fit(gram, scales, memory, design_of)
    except ValueError as error:
        raise ValueError(in_items(_reported(str(error), plan), pair)) from error
    tested = _moderations(_tested(plan, traits or {}), levels, model)
    own = None if order else own_slopes(design.pairs)
    if plan.baseline_phase:
        own = own_changes(gram, pair.predictor, pair.outcome)
    return Fitted(model, design, pair, tested, remembered, plan, own)


def _fit(
    gram: Gram,
    scales: Mapping[str, float],
    memory: Neighbours | Days | None,
    design_of: Callable[[Centred], Design],
) -> tuple[MixedModel, Design, dict[str, float]]:
    if memory is None:
        design = design_of(gram.centred(scales))
        return fit_design(design), design, {}
    if isinstance(memory, Neighbours):
        model, phi = fit_ar1(memory, design_of, **scales)
        return model, design_of(memory.centred(phi, scales)), {"phi": phi}
    model, ratio = fit_days(memory, design_of, **scales)
    sd_day = float(np.sqrt(ratio)) * model.sd_residual
    return model, design_of(memory.centred(ratio, scales)), {"sd_day": sd_day}


def formula(plan: Plan, pair: Pair, has_arms: bool, moderations: Sequence[str]) -> str:
    """The model in lme4's notation; that residuals remember is said after it."""
    within = f"{pair.predictor}_within"
    main = f"{within} * post" if plan.baseline_phase else within
    if plan.design == CROSSOVER:
        carried = f"{within} * carryover + " if plan.carryover else ""
        main, has_arms = f"{within} * treatment + {carried}period + sequence", False
    parts = [f"{main} * arm" if has_arms else main, f"{pair.predictor}_between"]
    by = " * arm" if has_arms else ""
    parts += [f"I({within}^2){by}"] if plan.quadratic else []
    parts += [f"{within} * {name}{by}" for name in moderations]
    parts += [
        f"previous_{plan.outcome}" if name == "previous_outcome" else name
        for name in plan.adjust_for
    ]
    random = f"(1 + {within} | participant)"
    random += " + (1 | participant:day)" if plan.residuals == DAY else ""
    after = ", residuals AR(1) within the study day" if plan.residuals == AR1 else ""
    return f"{pair.outcome} ~ {' + '.join(parts)} + {random}{after}"


def _also(
    plan: Plan,
    centred: Centred,
    pair: Pair,
    of: tuple[str, ...],
    levels: tuple[str, ...],
    traits: Mapping[str, Mapping[str, Floats]],
) -> dict[str, Term]:
    """What the plan has beside predictor and arms."""
    also = _adjustments(Terms(centred))
    for columns in traits.values():
        for column, values in columns.items():
            also |= moderated(centred, column, values, of, levels, pair.predictor)
    for each in plan.moderators:
        if each.kind == MOMENT:
            also |= in_context(centred, f"@{each.item}", of, levels, pair.predictor)
    if plan.quadratic:
        also |= squared(centred, of, levels, pair.predictor)
    return also


def _tested(plan: Plan, traits: Mapping[str, Mapping[str, Floats]]) -> dict[str, list[str]]:
    """By moderator, the terms of what it does to the coupling."""
    tested = {name: [f"{WITHIN}:{column}" for column in traits[name]] for name in traits}
    for each in plan.moderators:
        if each.kind == MOMENT:
            tested[each.item] = [f"{WITHIN}:@{each.item}_within"]
    return tested


def _adjustments(terms: Terms) -> dict[str, Term]:
    """Every adjustment among the row functions, about its mean over all rows; `previous_…` within.

    Momentary context comes with its product and is a moderator.
    """
    functions = terms.centred.functions
    context = {name.rpartition("*")[2] for name in functions if "*" in name}
    found = {}
    for name in functions:
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
