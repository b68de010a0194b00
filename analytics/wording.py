"""A comparison in plain sentences that say neither more nor less than the numbers."""

from collections.abc import Mapping
from typing import Any

from analytics.figures import signed

LEFT_OUT = {
    "after_withdrawal": "completed after the participant withdrew",
    "duplicate": "the prompt had an answer already",
    "late": "completed after the prompt expired",
    "missing_craving": "craving not answered",
    "missing_stress": "stress not answered",
    "missing_stress_and_craving": "neither stress nor craving answered",
    "not_allocated": "the participant is not allocated to an arm",
    "not_yet_estimated": "arrived since the last estimate; counted within a minute",
    "self_initiated": "the participant's own report, not a random prompt",
    "too_large": "a number too large to be a rating",
    "unknown_prompt": "no such prompt of this participant",
}


def sentences(report: Mapping[str, Any]) -> list[str]:
    """What the comparison says: couplings first, then one sentence on each difference."""
    return [_couplings(report), *(_difference(one) for one in report["contrasts"])]


def exclusions(report: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Why responses are not in the model, in words, with their numbers."""
    return [
        (LEFT_OUT.get(reason, reason.replace("_", " ")), count)
        for reason, count in report["n_excluded"].items()
    ]


def p_value(p: float) -> str:
    """The cell of a table: `< 0.0001` or four decimals."""
    return "< 0.0001" if p < 0.0001 else f"{p:.4f}"


def _couplings(report: Mapping[str, Any]) -> str:
    told = [
        f"{_points(one['coupling'])} " + (f"under {one['arm']}" if one["arm"] else "in this group")
        for one in report["arms"]
        if one["coupling"] is not None
    ]
    return (
        "When a person's stress is one point above that person's own mean, their craving is on "
        f"average {_listed(told)}."
    )


def _points(coupling: float) -> str:
    return f"{abs(coupling):.3f} points {'lower' if coupling < 0 else 'higher'}"


def _difference(one: Mapping[str, Any]) -> str:
    low, high = one["interval"]
    p = p_value(one["p"])
    numbers = (
        f"{signed(one['difference'])} (95 % interval {signed(low)} to {signed(high)}, "
        f"p {p if p.startswith('<') else f'= {p}'})"
    )
    between = f"The coupling under {one['arm']} minus that under {one['reference']} is {numbers}"
    if low <= 0 <= high:
        return (
            f"{between}. The interval holds zero: these data fit a weaker coupling as well as a "
            "stronger one, within that range."
        )
    return f"{between}: it is {'weaker' if high < 0 else 'stronger'} under {one['arm']}."


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
