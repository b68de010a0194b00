"""Which treatment each arm of a study receives in which phase, as crossovers are compared."""

from collections.abc import Iterator, Mapping

from analytics.crossover import Crossover
from analytics.plan import Plan
from ema.models import Arm, Phase, Study
from ema.submissions import Fault


def treatments_of(study: Study) -> dict[str, dict[str, str]]:
    """By arm and phase."""
    arms = Arm.objects.filter(study=study).order_by("key")
    return {arm.key: dict(arm.treatments) for arm in arms}


def periods_of(study: Study, plan: Plan) -> list[str]:
    """The phases of a plan in the order of the study."""
    keys = Phase.objects.filter(study=study).order_by("position").values_list("key", flat=True)
    return [key for key in keys if key in plan.phases or not plan.phases]


def crossover_of(study: Study, plan: Plan, sequence_of: Mapping[str, str]) -> Crossover:
    """Who receives what when; for a plan without `faults_of`."""
    by_arm, periods = treatments_of(study), periods_of(study, plan)
    given = {own[period] for own in by_arm.values() for period in periods}
    others = sorted(given - {plan.reference_treatment})
    treatments = (plan.reference_treatment, *others)
    return Crossover(tuple(periods), treatments, by_arm, dict(sequence_of), plan.carryover)


def faults_of(study: Study, plan: Plan) -> Iterator[Fault]:
    """Why this study is not the crossover that the plan compares."""
    by_arm, periods = treatments_of(study), periods_of(study, plan)
    if len(by_arm) < 2 or len(periods) < 2:
        yield Fault("/design", "A crossover takes two arms (sequences) and two phases at least.")
        return
    for arm, own in by_arm.items():
        for period in periods:
            if period not in own:
                yield Fault(
                    "/phases",
                    f"Arm {arm} has no treatment in phase {period}: give it one with the arm, or "
                    "name the phases that are compared.",
                )
    given = sorted({own[period] for own in by_arm.values() for period in periods if period in own})
    if len(given) < 2:
        yield Fault("/design", "All arms receive the same in all these phases.")
    elif plan.reference_treatment not in given:
        named = ", ".join(given)
        yield Fault(
            "/reference_treatment",
            f"No arm receives {plan.reference_treatment!r} in these phases; there are: {named}.",
        )
