"""Compare: the coupling in each arm and its difference from the reference arm, by a plan.

The one step of the analysis that reads the allocation. Everything it says goes to the closed role
only, while arms are hidden (`ema.access.access_comparison`).
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from django.db import connection, transaction

from analytics import card, plan_sums, plans, sums
from analytics import plan as plan_documents
from analytics.card_options import quadratic
from analytics.card_provenance import data_digest, newest_snapshot
from analytics.card_surroundings import add_surroundings
from analytics.fixed_effects import within_arm_term
from analytics.gram import Gram
from analytics.mixed_model import Method
from analytics.models import AnalysisPlan, Comparison
from analytics.moments import Moments
from analytics.personal import personal_couplings
from analytics.plan import STANDARD, Plan
from analytics.plan_change import add_phases
from analytics.plan_fields import BASELINE, SITE
from analytics.plan_memory import memory_of
from analytics.plan_model import Fitted, Pair, fit_plan, formula
from analytics.plan_sums import Counted, Sources, baseline_means
from analytics.report import comparison_report
from analytics.sensitivity import by_compliance
from analytics.summing import Floats
from analytics.trial import Trial
from ema import audit
from ema.audit import Actor
from ema.models import Allocation, Arm, Participant, Study

ONE_GROUP = "There is nothing to compare: the study has {}, so this is the coupling of one group."


class ComparisonImpossible(ValueError):
    """The arms of this study cannot be compared (yet); the message says what is missing."""


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
    trial = _trial(study, gram)
    if trial.arm_of is not None:
        gram = gram.select([code for code in gram.participants if code in trial.arm_of])
    traits, gram = _traits(study, plan, gram)
    fitted = _fit(plan, gram, sources, pair, trial, traits)
    counted = plan_sums.count(sources)
    missing: list[str] = []
    report = _heading(study, stored, plan, pair, fitted, trial) | _model(
        fitted, plan, gram, sources, counted, trial, participants
    )
    report["data_sha256"] = data_digest(gram, trial.arm_of)
    report["snapshot"] = newest_snapshot(study)
    _add_differences(report, fitted, plan, trial, missing)
    report["sensitivity"] = None
    if plan.compliance_sensitivity:
        report["sensitivity"] = by_compliance(
            gram,
            traits,
            plan_sums.compliance_of(sources),
            lambda some, theirs, shared: _fit(plan, some, sources, pair, trial, theirs, shared),
            Method(plan.method),
        )
    add_surroundings(report, fitted, sources, counted, trial, missing, companion=companion)
    return report


def freeze(
    study: Study, actor: Actor, now: datetime, stored: AnalysisPlan | None = None
) -> Comparison:
    """Keep the comparison as it is now, with its SHA-256, and say so in the audit trail."""
    report = _as_stored(compare(study, stored))
    with transaction.atomic():
        comparison = Comparison.objects.create(
            study=study,
            report=report,
            sha256=digest(report),
            made_at=now,
            made_by_id=actor.user.pk if actor.user else None,
        )
        audit.record(
            actor=actor,
            action="comparison.frozen",
            subject=f"comparison {comparison.sha256[:8]}",
            study=study,
            is_closed=True,
            after={"sha256": comparison.sha256},
        )
    return comparison


def digest(report: Mapping[str, Any]) -> str:
    """SHA-256 of the report as JSON with sorted keys and no spaces."""
    text = json.dumps(report, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def excluded_responses(study: Study, *, by_arm: bool, summed: int) -> dict[str, int]:
    """Responses outside the standard analysis by the first reason, only those that occur.

    `summed` pairs are in the model; usable ones beyond them arrived since the last estimate.
    """
    counted = plan_sums.count(Sources(study, STANDARD))
    allocated = set(_allocations(study)) if by_arm else None
    return _excluded(STANDARD, counted, allocated, summed)


def _excluded(
    plan: Plan, counted: Counted, allocated: Iterable[str] | None, summed: int
) -> dict[str, int]:
    totals = {reason: sum(people.values()) for reason, people in counted.by_reason.items()}
    usable = totals.pop("", 0)
    if allocated is not None:
        known = set(allocated)
        people = counted.usable.items()
        strangers = sum(n for code, n in people if code not in known)
        usable -= strangers
        totals |= {"not_allocated": strangers} if strangers else {}
    if usable > summed:
        why = "not_yet_estimated" if plan.is_of_moments else "no_baseline"
        totals[why] = usable - summed
    return dict(sorted(totals.items()))


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


def _trial(study: Study, gram: Gram) -> Trial:
    arms = list(Arm.objects.filter(study=study).order_by("key"))
    if len(arms) < 2:
        return Trial(tuple(arm.key for arm in arms))
    reference = _reference_of(study, arms)
    spent = _allocations(study)
    if not spent:
        raise ComparisonImpossible(f"No participant of study {study} is allocated to an arm yet.")
    filled = {spent[str(code)][0] for code in gram.participants if code in spent}
    empty = tuple(arm.key for arm in arms if arm.key not in filled)
    if reference in empty or len(filled) < 2:
        predictor, outcome = gram.functions[0].replace("_", " "), gram.functions[1]
        raise ComparisonImpossible(
            f"No answers yet in {_arms_named(empty)}: no allocated participant has an answered "
            f"random prompt with {predictor} and {outcome} there."
        )
    return Trial(
        arms=tuple(arm.key for arm in arms),
        reference=reference,
        arm_of={code: arm for code, (arm, _) in spent.items()},
        stratum_of={code: stratum for code, (_, stratum) in spent.items()},
        empty=empty,
    )


def _allocations(study: Study) -> dict[str, tuple[str, str]]:
    """Everybody's arm and stratum."""
    spent = Allocation.objects.filter(study=study, participant__isnull=False)
    rows = spent.values_list("participant__code", "arm__key", "stratum")
    return {code: (arm, stratum) for code, arm, stratum in rows}


def _reference_of(study: Study, arms: Sequence[Arm]) -> str:
    reference = next((arm.key for arm in arms if arm.is_reference), None)
    if reference is None:
        named = ", ".join(arm.key for arm in arms)
        raise ComparisonImpossible(
            f"Study {study} has no reference arm: mark one of {named} as the one to compare with."
        )
    return reference


def _traits(study: Study, plan: Plan, gram: Gram) -> tuple[dict[str, dict[str, Floats]], Gram]:
    """Numbers of participants by moderator, and the sums of those who have all of them."""
    baselines = {
        each.name: baseline_means(study, each.item, each.phase)
        for each in plan.moderators
        if each.kind == BASELINE
    }
    have = [code for code in gram.participants if all(code in own for own in baselines.values())]
    if not have:
        raise ComparisonImpossible(f"No participant has all of {', '.join(baselines)}.")
    gram = gram.select(have)
    found: dict[str, dict[str, Floats]] = {}
    for name, own in baselines.items():
        values = np.array([own[str(code)] for code in have])
        found[name] = {name: values - values.mean()}
    if any(each.kind == SITE for each in plan.moderators):
        found["site"] = _sites(study, [str(code) for code in have])
    return found, gram


def _sites(study: Study, codes: Sequence[str]) -> dict[str, Floats]:
    """A column for every site but the first."""
    rows = Participant.objects.filter(study=study).values_list("code", "site__code")
    site_of = dict(rows)
    of = np.array([site_of[code] for code in codes])
    first, *others = sorted(set(of.tolist()))
    if not others:
        raise ComparisonImpossible(
            f"Everybody with answers is of site {first}, so site cannot moderate anything."
        )
    return {f"site[{site}]": (of == site).astype(np.float64) for site in others}


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
        )
    except ValueError as error:
        sentence = str(error)
        raise ComparisonImpossible(f"{sentence[0].upper()}{sentence[1:]}.") from error
    model = fitted.model
    flat = [arm for arm in model.arms[1:] if within_arm_term(arm) not in model.terms]
    if model.arms and len(flat) == len(model.arms) - 1:
        raise ComparisonImpossible(
            fitted.named(
                f"Stress never varies within any participant of {_arms_named(flat)}, so there is "
                "no coupling to compare."
            )
        )
    return fitted


def _heading(
    study: Study,
    stored: AnalysisPlan | None,
    plan: Plan,
    pair: Pair,
    fitted: Fitted,
    trial: Trial,
) -> dict[str, Any]:
    """What stands above the numbers."""
    is_exploratory, notes = plans.notes_on(stored, study)
    if trial.reference is None:
        arms = f"one arm ({trial.arms[0]})" if trial.arms else "no arms"
        notes = [*notes, ONE_GROUP.format(arms)]
    return {
        "study": study.slug,
        "plan": {
            "key": stored.key if stored else None,
            "version": stored.version if stored else None,
            "sha256": plan_documents.digest(plan),
            "locked_at": stored.locked_at.isoformat() if stored and stored.locked_at else None,
            "content": plan.content(),
        },
        "reference": trial.reference,
        "exploratory": is_exploratory,
        "notes": notes,
        "baseline_phase": plan.baseline_phase or None,
        "predictor": pair.predictor,
        "outcome": pair.outcome,
        "estimand": _estimand(plan, pair),
        "formula": formula(plan, pair, trial.reference is not None, list(fitted.moderations)),
        "population": _population(study, fitted, trial),
    }


def _estimand(plan: Plan, pair: Pair) -> str:
    where = f"in phase {', '.join(plan.phases)}" if plan.phases else "in all phases"
    when = " at the prompt before on the same day" if plan.lag else ""
    there = " (the slope at that mean, beside its square)" if plan.quadratic else ""
    compared = "compared between arms as allocated. A negative difference means a weaker coupling."
    if plan.baseline_phase:
        compared = (
            f"its change from phase {plan.baseline_phase} to the phases after is compared between "
            "arms as allocated. A negative difference means a change towards a weaker coupling."
        )
    return (
        f"Coupling: by how many points {plan.outcome} rises within a person when {plan.predictor}"
        f"{when} is one point above that person's own mean{there}, {where}; {compared}"
    )


def _population(study: Study, fitted: Fitted, trial: Trial) -> str:
    everybody = Participant.objects.filter(study=study).count()
    had = len(fitted.model.participants)
    who = "participants as allocated" if trial.reference else "participants"
    return f"{had} of the study's {everybody} {who}: all with at least one usable prompt."


def _model(
    fitted: Fitted,
    plan: Plan,
    gram: Gram,
    sources: Sources,
    counted: Counted,
    trial: Trial,
    participants: bool,
) -> dict[str, Any]:
    """What the model says, its terms in the plan's items."""
    excluded = _excluded(plan, counted, trial.arm_of, int(gram.n.sum()))
    personal = None
    if participants:
        scales = sources.scales()
        x, y = sources.predictor, sources.outcome
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


def _arms_named(keys: Sequence[str]) -> str:
    return f"arm{'s' if len(keys) > 1 else ''} {', '.join(keys)}"


def _as_stored(report: Mapping[str, Any]) -> Any:
    """The report as PostgreSQL gives it back: what is hashed is what can be read again."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT %s::jsonb::text", [json.dumps(report, allow_nan=False)])
        (text,) = cursor.fetchone()
    return json.loads(text)
