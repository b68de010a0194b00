"""What stands above a comparison's numbers: its plan, its estimand in words, its population."""

from typing import Any

from analytics import plan as plan_documents
from analytics import plans
from analytics.models import AnalysisPlan
from analytics.plan import Plan
from analytics.plan_fields import CROSSOVER
from analytics.plan_model import Fitted, Pair, formula
from analytics.trial import Trial
from ema.models import Participant, Study

ONE_GROUP = "There is nothing to compare: the study has {}, so this is the coupling of one group."


def heading(
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
        "design": plan.design,
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
    if plan.design == CROSSOVER:
        compared = compared.replace("arms as", "treatments, in sequences as")
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
