"""A comparison in plain sentences that say neither more nor less than the numbers."""

from collections.abc import Mapping
from typing import Any

from analytics.figures import signed

LEFT_OUT = {
    "after_withdrawal": "completed after the participant withdrew",
    "duplicate": "the prompt had an answer already",
    "late": "completed after the prompt expired",
    "no_baseline": "the participant has no answers in the baseline phase of a moderator",
    "not_allocated": "the participant is not allocated to an arm",
    "not_yet_estimated": "arrived since the last estimate; counted within a minute",
    "other_phase": "in a phase that the plan does not name",
    "self_initiated": "the participant's own report, not a random prompt",
    "too_large": "a number too large to be a rating",
    "unknown_prompt": "no such prompt of this participant",
}


def sentences(report: Mapping[str, Any]) -> list[str]:
    """What the comparison says: couplings first, then one sentence on each difference."""
    return [
        _couplings(report),
        *(_difference(one, report.get("baseline_phase")) for one in report["contrasts"]),
    ]


def exclusions(report: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Why responses are not in the model, in words, with their numbers."""
    return [(why_left_out(reason), count) for reason, count in report["n_excluded"].items()]


def why_left_out(reason: str) -> str:
    """A reason in words."""
    if reason in LEFT_OUT:
        return LEFT_OUT[reason]
    missing = reason.removeprefix("missing_").replace("previous_", "the prompt before's ")
    if missing == reason:
        return reason.replace("_", " ")
    names = [name.replace("_", " ") for name in missing.split("_and_")]
    return (
        f"{names[0]} not answered" if len(names) == 1 else f"neither {' nor '.join(names)} answered"
    )


def p_value(p: float) -> str:
    """The cell of a table: `< 0.0001` or four decimals."""
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def _couplings(report: Mapping[str, Any]) -> str:
    told = [
        f"{_points(one['coupling'])} " + (f"under {one['arm']}" if one["arm"] else "in this group")
        for one in report["arms"]
        if one["coupling"] is not None
    ]
    predictor, outcome = report.get("predictor", "stress"), report.get("outcome", "craving")
    lagged = predictor.startswith("previous_")
    when = " at the prompt before" if lagged else ""
    return (
        f"When a person's {predictor.removeprefix('previous_')}{when} is one point above that "
        f"person's own mean, their {outcome} is on average {_listed(told)}."
    )


def _points(coupling: float) -> str:
    return f"{abs(coupling):.3f} points {'lower' if coupling < 0 else 'higher'}"


def _difference(one: Mapping[str, Any], since: str | None = None) -> str:
    low, high = one["interval"]
    p = p_value(one["p"])
    numbers = (
        f"{signed(one['difference'])} (95 % interval {signed(low)} to {signed(high)}, "
        f"p {p if p.startswith('<') else f'= {p}'})"
    )
    seen = _detectable(one) + _attenuation(one)
    what = f"The change of the coupling since phase {since}" if since else "The coupling"
    between = f"{what} under {one['arm']} minus that under {one['reference']} is {numbers}"
    if low <= 0 <= high:
        return (
            f"{between}. The interval holds zero: these data fit a weaker coupling as well as a "
            f"stronger one, within that range.{seen}"
        )
    return f"{between}: it is {'weaker' if high < 0 else 'stronger'} under {one['arm']}.{seen}"


def _detectable(one: Mapping[str, Any]) -> str:
    """What a true difference had to be; nothing in reports of before it was computed."""
    if (size := one.get("detectable")) is None:
        return ""
    return f" A true difference of {size:.3f} would have been found with 80 % power."


def _attenuation(one: Mapping[str, Any]) -> str:
    """The difference as a share of the reference's coupling, where that ratio has bounds."""
    found = one.get("attenuation")
    if not found or not found["interval"]:
        return ""
    share, (low, high) = found["estimate"], found["interval"]
    much = f"{abs(share):.0%} {'weaker' if share >= 0 else 'stronger'}".replace("%", " %")
    return (
        f" Relative to {one['reference']} the coupling is {much} (95 % interval of the weakening "
        f"{percent(low)} to {percent(high)})."
    )


def all_of(arm: str | None) -> str:
    """An arm as a row is named by it."""
    return arm or "all participants"


def percent(share: float | None) -> str:
    """A share as people write it: 41 %, −3 %."""
    return "–" if share is None else f"{signed(100 * share, 0)} %"


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
