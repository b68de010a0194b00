"""A study's own protocol and plan, as far as they can be simulated. Reads no allocation."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import time

from analytics.plan import Plan
from analytics.virtual_trial import Stretch
from ema.models import Arm, Phase, Study
from ema.models.study import Design

HOUR_S = 3600


class NotSimulated(ValueError):
    """This study has nothing that could be simulated; the message says what is missing."""


def stretches_of(study: Study, plan: Plan) -> tuple[Stretch, ...]:
    """The phases that the plan compares (all of them when it names none), in their order."""
    phases = Phase.objects.filter(study=study).drawn().order_by("position")
    if plan.phases:
        phases = phases.filter(key__in=plan.phases)
    found = tuple(_stretch(phase) for phase in phases)
    if not found:
        raise NotSimulated(
            f"Study {study} has no phase with prompts of its own; name --days and "
            "--prompts-per-day instead of the study."
        )
    return found


def arms_of(study: Study) -> tuple[str, ...]:
    """The arms' keys, the reference first."""
    arms = list(Arm.objects.filter(study=study).order_by("-is_reference", "key"))
    if len(arms) < 2:
        raise NotSimulated(f"Study {study} has {len(arms)} arms: there is nothing to compare.")
    if not arms[0].is_reference:
        raise NotSimulated(f"None of the arms of study {study} is the reference.")
    return tuple(arm.key for arm in arms)


def left_out(study: Study, plan: Plan) -> Iterator[str]:
    """What the study or the plan has and the simulation has not, each in a sentence."""
    if (plan.predictor, plan.outcome) != ("stress", "craving"):
        yield (
            f"The plan asks for {plan.predictor} → {plan.outcome}; "
            "simulated people differ in stress → craving."
        )
    if plan.adjust_for or plan.moderators or plan.lag or plan.options:
        yield "Adjustments, moderators, lags and options of the plan are not simulated."
    if plan.all_pairs:
        yield "Of the plan's comparisons of all pairs of arms one is simulated, by --test ARM:ARM."
    phases = Phase.objects.filter(study=study).drawn()
    if plan.phases:
        phases = phases.filter(key__in=plan.phases)
    if any(len(phase.windows) > 1 for phase in phases):
        yield "Prompts are simulated in the window of most weekdays, on every day."
    if any(len(_weekdays(phase)) < 7 for phase in phases):
        yield "Days of the week without prompts are left out; the others follow on each other."


def _stretch(phase: Phase) -> Stretch:
    if phase.design == Design.FIXED and phase.fixed_times:
        hours = sorted(_hour(each) for each in phase.fixed_times)
        window = hours[0], max(hours[-1], hours[0] + 1)
        return Stretch(phase.days, len(hours), window, (window[1] - window[0]) / len(hours))
    longest = max(phase.windows, key=lambda each: len(each["weekdays"]))
    start, end = _hour(longest["start"]), _hour(longest["end"])
    end += 24 if end <= start else 0  # past midnight, or the whole day
    gap = phase.minimum_gap.total_seconds() / HOUR_S
    kept = gap if phase.design != Design.UNIFORM else 0.0
    days = max(1, round(phase.days * len(_weekdays(phase)) / 7))
    return Stretch(days, phase.prompts_per_day, (start, end), kept)


def _weekdays(phase: Phase) -> set[int]:
    return {day for window in phase.windows for day in window["weekdays"]}


def _hour(text: str) -> float:
    """09:30 is 9.5."""
    at = time.fromisoformat(text)
    return at.hour + at.minute / 60
