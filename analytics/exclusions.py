"""Which responses are outside an analysis, counted once each, by the first reason that holds."""

from collections.abc import Iterable

from analytics.plan import STANDARD, Plan
from analytics.plan_sums import Counted, Sources
from analytics.trial import allocations
from analytics.usable import Kept
from ema.models import Study


def excluded_responses(study: Study, *, by_arm: bool, summed: int) -> dict[str, int]:
    """Responses outside the standard analysis by the first reason, only those that occur.

    `summed` pairs are in the model; usable ones beyond them arrived meanwhile.
    """
    counted = Kept(study, Sources(study, STANDARD)).counted
    allocated = set(allocations(study)) if by_arm else None
    return left_out(STANDARD, counted, allocated, summed)


def left_out(
    plan: Plan, counted: Counted, allocated: Iterable[str] | None, summed: int
) -> dict[str, int]:
    """By reason; `allocated` are the codes with an arm, None where arms are not compared."""
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
        totals[why] = totals.get(why, 0) + usable - summed
    return dict(sorted(totals.items()))
