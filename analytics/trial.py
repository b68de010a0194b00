"""Who is in which arm of a comparison: the one module of it that reads the allocation."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from analytics.crossover import Crossover
from analytics.gram import Gram
from analytics.periods import crossover_of
from analytics.plan import Plan
from analytics.plan_fields import CROSSOVER
from ema.arm_labels import ShownArm, are_coded, arms_shown, names_shown
from ema.models import Allocation, Study


class ComparisonImpossible(ValueError):
    """The arms of this study cannot be compared (yet); the message says what is missing."""


@dataclass(frozen=True)
class Trial:
    """Who is in which arm, and of which stratum; no arms where there is nothing to compare.

    In a crossover the arms are treatments, and everybody is of a sequence.
    """

    arms: tuple[str, ...]
    reference: str | None = None
    arm_of: Mapping[str, str] | None = None
    stratum_of: Mapping[str, str] | None = None
    empty: tuple[str, ...] = ()
    order: Crossover | None = None

    @property
    def groups(self) -> list[str | None]:
        """The arms as the report lists them; one nameless group without."""
        if self.reference is None:
            return [None]
        others: list[str | None] = [arm for arm in self.arms if arm != self.reference]
        return [self.reference, *others]

    @property
    def by_period(self) -> "Trial":
        """Of a crossover: the treatment of every participant@phase."""
        order = self.order
        if order is None:
            return self
        treatment_of = {
            f"{code}@{period}": order.treatment_of[sequence][period]
            for code, sequence in order.sequence_of.items()
            for period in order.periods
        }
        return Trial(self.arms, self.reference, treatment_of)

    def members(self, arm: str | None, codes: Iterable[str]) -> list[str]:
        of = self.arm_of
        return [code for code in codes if arm is None or (of is not None and of.get(code) == arm)]


def trial_of(study: Study, gram: Gram) -> Trial:
    """The arms and who is in them; ComparisonImpossible in words where they cannot be compared."""
    arms = arms_shown(study)
    if len(arms) < 2:
        return Trial(tuple(arm.name for arm in arms))
    reference = _reference_of(study, arms)
    spent = allocations(study)
    if not spent:
        raise ComparisonImpossible(f"No participant of study {study} is allocated to an arm yet.")
    filled = {spent[str(code)][0] for code in gram.participants if code in spent}
    empty = tuple(arm.name for arm in arms if arm.name not in filled)
    if reference in empty or len(filled) < 2:
        predictor, outcome = gram.functions[0].replace("_", " "), gram.functions[1]
        raise ComparisonImpossible(
            f"No answers yet in {arms_named(empty)}: no allocated participant has an answered "
            f"random prompt with {predictor} and {outcome} there."
        )
    return Trial(
        arms=tuple(arm.name for arm in arms),
        reference=reference,
        arm_of={code: arm for code, (arm, _) in spent.items()},
        stratum_of={code: stratum for code, (_, stratum) in spent.items()},
        empty=empty,
    )


def refuse_arms_by_name(study: Study, plan: Plan) -> None:
    """ComparisonImpossible where a plan would tell arms apart that are told by code."""
    if are_coded(study) and (plan.doses or plan.design == CROSSOVER):
        what = "gives doses by arm" if plan.doses else "compares treatments of a crossover by name"
        raise ComparisonImpossible(
            f"Arms of study {study} are told by code until they are unmasked, and this plan {what}."
        )


def sequences_of(study: Study, plan: Plan) -> Trial:
    """Of a crossover: treatments where arms are, and everybody's sequence."""
    spent = allocations(study)
    if not spent:
        raise ComparisonImpossible(f"No participant of study {study} is allocated to an arm yet.")
    sequence_of = {code: arm for code, (arm, _) in spent.items()}
    order = crossover_of(study, plan, sequence_of)
    return Trial(order.treatments, order.treatments[0], sequence_of, order=order)


def allocations(study: Study) -> dict[str, tuple[str, str]]:
    """Everybody's arm, as it may be called, and stratum."""
    name_of = names_shown(study)
    spent = Allocation.objects.filter(study=study, participant__isnull=False)
    rows = spent.values_list("participant__code", "arm__key", "stratum")
    return {code: (name_of[arm], stratum) for code, arm, stratum in rows}


def _reference_of(study: Study, arms: Sequence[ShownArm]) -> str:
    reference = next((arm.name for arm in arms if arm.is_reference), None)
    if reference is None:
        named = ", ".join(arm.name for arm in arms)
        raise ComparisonImpossible(
            f"Study {study} has no reference arm: mark one of {named} as the one to compare with."
        )
    return reference


def arms_named(keys: Sequence[str]) -> str:
    return f"arm{'s' if len(keys) > 1 else ''} {', '.join(keys)}"
