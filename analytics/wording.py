"""A comparison in plain sentences that say neither more nor less than the numbers."""

from collections.abc import Mapping
from typing import Any

from analytics.figures import signed

LEFT_OUT = {
    "after_lock": "arrived after the study was locked",
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
    couplings = {one["arm"]: one["coupling"] for one in report["arms"]}
    together = _together(report)
    told = [_couplings(report)]
    if where := report.get("moderated_at"):
        told.append(
            "With what moderates in the model, couplings and their differences are those "
            f"{_listed(where)}."
        )
    if report["contrasts"] and report.get("exploratory"):
        told.append("This comparison is exploratory: it raises questions and settles none.")
    if omnibus := _omnibus(report):
        told.append(omnibus)
    return told + [
        _difference(
            one,
            couplings.get(one["reference"]),
            together.get(one["arm"]),
            report.get("baseline_phase"),
        )
        for one in report["contrasts"]
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
        f"{_points(one)} " + (f"under {one['arm']}" if one["arm"] else "in this group")
        for one in report["arms"]
        if one["coupling"] is not None
    ]
    predictor, outcome = report.get("predictor", "stress"), report.get("outcome", "craving")
    lagged = predictor.startswith("previous_")
    when = " at the prompt before" if lagged else ""
    since = report.get("baseline_phase")
    begins = f"After phase {since}, when" if since else "When"
    return (
        f"{begins} a person's {predictor.removeprefix('previous_')}{when} is one point above that "
        f"person's own mean, their {outcome} is on average {_listed(told)} (95 % intervals in "
        "brackets)."
    )


def _points(one: Mapping[str, Any]) -> str:
    size, (low, high) = one["coupling"], one["interval"]
    way = "lower" if size < 0 else "higher"
    return f"{abs(size):.3f} points {way} [{signed(low)} to {signed(high)}]"


def _together(report: Mapping[str, Any]) -> dict[str, float]:
    """By arm, p judged together with the other differences, where there are several."""
    several = report.get("several_arms") or {}
    return {one["arm"]: one["p"] for one in several.get("against_reference", ())}


def _omnibus(report: Mapping[str, Any]) -> str:
    several = report.get("several_arms") or {}
    if not (test := several.get("omnibus")):
        return ""
    what = "couplings"
    if since := report.get("baseline_phase"):
        what = f"changes of the coupling since phase {since}"
    return (
        f"Whether the {what} of the {len(report['arms'])} arms differ at all: "
        f"F({test['numerator_df']}, {test['df']:.1f}) = {test['f']:.2f}, {p_in_words(test['p'])}."
    )


def _difference(
    one: Mapping[str, Any], reference: float | None, together: float | None, since: str | None
) -> str:
    low, high = one["interval"]
    judged = (
        "" if together is None else f"; judged together with the other arms {p_in_words(together)}"
    )
    numbers = (
        f"{signed(one['difference'])} (95 % interval {signed(low)} to {signed(high)}, "
        f"{p_in_words(one['p'])}{judged})"
    )
    seen = _detectable(one) + _attenuation(one)
    what = f"The change of the coupling since phase {since}" if since else "The coupling"
    between = f"{what} under {one['arm']} minus that under {one['reference']} is {numbers}"
    down, up = _ways(None if since else reference)
    if low <= 0 <= high:
        return (
            f"{between}. The interval holds zero: these data fit a {down} coupling as well as a "
            f"{up} one, within that range.{seen}"
        )
    turned = ""
    if since is None and reference is not None and reference * (reference + one["difference"]) < 0:
        turned = ", so much that its direction is the opposite one"
    if since:
        way = down if high < 0 else up
        return f"{between}: it changed towards a {way} one under {one['arm']}.{seen}"
    return f"{between}: it is {down if high < 0 else up} under {one['arm']}{turned}.{seen}"


def _ways(reference: float | None) -> tuple[str, str]:
    """A negative and a positive difference in words: of a coupling that is itself negative, a
    negative difference is no weakening."""
    return ("weaker", "stronger") if reference is None or reference >= 0 else ("lower", "higher")


def p_in_words(p: float) -> str:
    """In a sentence: `p = 0.0210`, `p < 0.0001`."""
    told = p_value(p)
    return f"p {told}" if told.startswith("<") else f"p = {told}"


def _detectable(one: Mapping[str, Any]) -> str:
    """What a true difference had to be; nothing in reports of before it was computed."""
    if (size := one.get("detectable")) is None:
        return ""
    return (
        f" A true difference of {size:.3f}, in either direction, would have been found with 80 % "
        "power."
    )


def _attenuation(one: Mapping[str, Any]) -> str:
    """The difference as a share of the reference's coupling, where that ratio has bounds."""
    found = one.get("attenuation")
    if not found or not found["interval"]:
        return ""
    low, high = found["interval"]
    return (
        f" Relative to {one['reference']} the coupling is {_share(found['estimate'])} (95 % "
        f"interval {_share(low)} to {_share(high)})."
    )


def _share(weakening: float) -> str:
    return f"{abs(100 * weakening):.0f} % {'weaker' if weakening >= 0 else 'stronger'}"


def all_of(arm: str | None) -> str:
    """An arm as a row is named by it."""
    return arm or "all participants"


def percent(share: float | None) -> str:
    """A share as people write it: 41 %, −3 %."""
    return "–" if share is None else f"{signed(100 * share, 0)} %"


def _listed(parts: list[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
