"""Compare: the coupling in each arm and its difference from the reference arm, by a plan.

The one step of the analysis that reads the allocation (`analytics.trial`). Everything it says goes
to the closed role only, while arms are hidden (`ema.access.access_comparison`).
"""

from collections.abc import Mapping
from contextlib import nullcontext
from typing import Any

from analytics import card, plan_sums, plans, sums
from analytics.card_heading import heading
from analytics.card_options import quadratic
from analytics.card_provenance import data_digest, newest_snapshot
from analytics.card_surroundings import add_surroundings
from analytics.crossover import add_treatments
from analytics.exclusions import left_out
from analytics.fixed_effects import within_arm_term
from analytics.gram import Gram
from analytics.mixed_model import Method
from analytics.models import AnalysisPlan
from analytics.moments import Moments
from analytics.personal import personal_couplings
from analytics.plan import STANDARD, Plan
from analytics.plan_change import add_phases
from analytics.plan_fields import CROSSOVER
from analytics.plan_memory import memory_of
from analytics.plan_model import Fitted, Pair, fit_plan
from analytics.plan_sums import Sources
from analytics.report import comparison_report
from analytics.sensitivity import by_compliance
from analytics.summing import Floats
from analytics.traits import traits_of
from analytics.trial import (
    ComparisonImpossible,
    Trial,
    arms_named,
    refuse_arms_by_name,
    sequences_of,
    trial_of,
)
from analytics.usable import Usable, usable_of
from ema.models import Study


def compare(
    study: Study,
    stored: AnalysisPlan | None = None,
    participants: bool = False,
    companion: bool = False,
) -> dict[str, Any]:
    """The report card by a plan (None: the standard analysis), as docs/coupling.md lists it.

    A study with one arm or none is one group: its coupling, no contrasts. `companion`: also where
    no floor is suspected. Everything is in the items' own units. Raises
    ComparisonImpossible in words.
    """
    plan = stored.plan if stored else STANDARD
    sources = _sources(study, plan)
    pair = Pair(sources.predictor, sources.outcome)
    gram = _gram(study, plan, sources, pair)
    refuse_arms_by_name(study, plan)
    trial = sequences_of(study, plan) if plan.design == CROSSOVER else trial_of(study, gram)
    if trial.arm_of is not None:
        gram = gram.select([code for code in gram.participants if code in trial.arm_of])
    traits, gram = traits_of(study, plan, gram)
    usable = usable_of(study, sources)
    missing: list[str] = []
    with nullcontext() if trial.order else usable.counting_prompts():
        fitted = _fit(plan, gram, sources, pair, trial, traits)
        report = _model(fitted, plan, gram, usable, trial, participants)
        report["data_sha256"] = data_digest(gram, trial.arm_of)
        _add_differences(report, fitted, plan, trial, missing)
    report = heading(study, stored, plan, pair, fitted, trial) | report
    report["snapshot"] = newest_snapshot(study)
    report["sensitivity"] = None
    if plan.compliance_sensitivity:
        report["sensitivity"] = by_compliance(
            gram,
            traits,
            usable.compliance,
            lambda some, theirs, shared: _fit(plan, some, sources, pair, trial, theirs, shared),
            Method(plan.method),
        )
    if trial.order:
        add_treatments(report, trial.order, gram)
    add_surroundings(report, fitted, usable, trial, missing, companion=companion)
    return report


def _sources(study: Study, plan: Plan) -> Sources:
    unknown = [fault.detail for fault in plans.unknown_names(study, plan)]
    if unknown:
        raise ComparisonImpossible(" ".join(unknown))
    return Sources(study, plan)


def _gram(study: Study, plan: Plan, sources: Sources, pair: Pair) -> Gram:
    """The kept moments where they are enough; else sums made now."""
    if plan.is_of_moments:
        phases = sources.params["phases"]
        gram = Gram.from_moments(sums.moments_of(study, phases=phases), *_names(pair))
    else:
        gram = plan_sums.gram_of(sources)
    gram = gram.with_rows()
    if not gram.n.sum():
        where = f" in {', '.join(plan.phases)}" if plan.phases else ""
        names = [pair.predictor.replace("_", " "), pair.outcome, *sources.context]
        raise ComparisonImpossible(
            f"No answers yet: study {study} has no answered random prompt with "
            f"{', '.join(names[:-1])} and {names[-1]}{where}."
        )
    return gram


def _names(pair: Pair) -> tuple[str, str]:
    return pair.predictor, pair.outcome


def _fit(
    plan: Plan,
    gram: Gram,
    sources: Sources,
    pair: Pair,
    trial: Trial,
    traits: Mapping[str, Mapping[str, Floats]],
    shared: Mapping[str, Floats] | None = None,
) -> Fitted:
    try:
        fitted = fit_plan(
            plan,
            gram,
            sources.scales(),
            pair,
            arm_of=trial.arm_of,
            reference=trial.reference,
            all_arms=trial.arms if trial.reference else None,
            traits=traits,
            memory=memory_of(sources, gram),
            shared=shared,
            order=trial.order,
        )
    except ValueError as error:
        sentence = str(error)
        raise ComparisonImpossible(f"{sentence[0].upper()}{sentence[1:]}.") from error
    model = fitted.model
    flat = [arm for arm in model.arms[1:] if within_arm_term(arm) not in model.terms]
    if model.arms and len(flat) == len(model.arms) - 1:
        raise ComparisonImpossible(
            fitted.named(
                f"Stress never varies within any participant of {arms_named(flat)}, so there is "
                "no coupling to compare."
            )
        )
    return fitted


def _model(
    fitted: Fitted,
    plan: Plan,
    gram: Gram,
    usable: Usable,
    trial: Trial,
    participants: bool,
) -> dict[str, Any]:
    """What the model says, its terms in the plan's items."""
    excluded = left_out(plan, usable.counted, trial.arm_of, int(gram.n.sum()))
    personal = None
    if participants:
        scales, x, y = usable.sources.scales(), usable.sources.predictor, usable.sources.outcome
        personal = personal_couplings(_moments(gram), x_scale=scales[x], y_scale=scales[y])
    report = comparison_report(
        fitted.model, excluded=excluded, personal=personal, method=Method(plan.method)
    )
    report["fixed"] = [one | {"term": fitted.named(one["term"])} for one in report["fixed"]]
    report["dropped"] = [fitted.named(term) for term in report["dropped"]]
    if plan.baseline_phase:
        add_phases(report, fitted.model, Method(plan.method))
    report["random"] |= fitted.remembered
    report["method"] += fitted.given
    of = trial.arm_of
    for one in report.get("participants", ()):
        one["arm"] = of[one["participant"]] if of is not None else None
    return report


def _moments(gram: Gram) -> Moments:
    """Of predictor and outcome alone."""
    (x, y), products = gram.totals[:2], gram.products
    return Moments(gram.participants, gram.n, x, y, products[0, 0], products[0, 1], products[1, 1])


def _add_differences(
    report: dict[str, Any], fitted: Fitted, plan: Plan, trial: Trial, missing: list[str]
) -> None:
    """What belongs to the differences, to several arms, to moderators."""
    main = Method(plan.method)
    more = card.differences(fitted, plan, main, trial.stratum_of or {}, missing)
    for one, added in zip(report["contrasts"], more, strict=True):
        one.update(added)
    report["several_arms"] = card.several_arms(fitted, plan, main, missing)
    report["moderation"] = card.moderation(fitted, main, missing)
    report["quadratic"] = quadratic(report, fitted, plan, main, missing)
