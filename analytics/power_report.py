"""Power as JSON and as a table with a few sentences. Every number says how uncertain it is."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from analytics.figures import signed
from analytics.power import ArmTest, Detectable, Pair, Point, Power, Question
from analytics.rates import Rate

SIMULATED = (
    "Simulated people: what a real trial finds depends on how much its own differ. "
    "Negative = weaker coupling."
)
SHIFTED = (
    "The mean of craving is shifted as well: without attenuation nothing happens to the coupling "
    "itself, and what is found there is what the floor makes of the shift."
)


def document(power: Power, notes: tuple[str, ...] = ()) -> dict[str, Any]:
    """Everything, as JSON can hold it."""
    asked, protocol = power.question, power.question.protocol
    false_positives = power.false_positives
    return {
        "arms": [
            {"arm": arm, "participants": count, "dose": dose}
            for arm, count, dose in zip(
                protocol.arms, protocol.participants, protocol.dose, strict=True
            )
        ],
        "stretches": [
            {
                "days": each.days,
                "prompts_per_day": each.prompts_per_day,
                "window": list(each.window),
                "gap_h": each.gap_h,
            }
            for each in protocol.stretches
        ],
        "compliance_logit": protocol.shapes[0].compliance_logit,
        "arm_shift": asked.arm_shift,
        "method": str(asked.method),
        "test": list(asked.test) if isinstance(asked.test, Pair) else str(asked.test),
        "trials": asked.trials,
        "seed": asked.seed,
        "alpha": asked.alpha,
        "target": asked.target,
        "coupling": power.coupling,
        "points": [_point(point) for point in power.points],
        "false_positives": None if false_positives is None else _rate(false_positives),
        "detectable": {
            "simulated": power.simulated._asdict(),
            "closed_form": {
                "attenuation": power.closed_form.attenuation,
                "difference": power.closed_form.difference,
            },
        },
        "notes": [*notes, *_notes(power)],
    }


def table(power: Power, notes: tuple[str, ...] = ()) -> str:
    """What was asked, the curve, and what it says."""
    rows = [["attenuation", "found", "95 % interval", "difference", "SE", "refused"]]
    rows += [
        [
            percent(point.attenuation),
            percent(point.found.share, 1),
            _interval(point.found),
            "" if point.difference is None else signed(point.difference, 4),
            "" if point.standard_error is None else f"{point.standard_error:.4f}",
            str(point.refused or ""),
        ]
        for point in power.points
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["  ".join(map(str.rjust, row, widths)).rstrip() for row in rows]
    said = [*sentences(power), *notes, *_notes(power)]
    return "\n".join([asked(power), "", *lines, "", *said])


def asked(power: Power) -> str:
    """The question in a sentence."""
    question, protocol = power.question, power.question.protocol
    arms = " + ".join(
        f"{count} {arm}" for arm, count in zip(protocol.arms, protocol.participants, strict=True)
    )
    what = " then ".join(
        f"{_counted(each.days, 'day')} of {_counted(each.prompts_per_day, 'prompt')}"
        for each in protocol.stretches
    )
    return (
        f"{arms}; {what}; {question.trials:,} trials, seed {question.seed}; "
        f"{_tested(question)} {percent(question.alpha, 1)}."
    )


def _tested(question: Question) -> str:
    """The test in words, up to its level."""
    if question.test is ArmTest.OMNIBUS:
        return f"omnibus test of all arms by {question.method}, at"
    what = "trend over doses" if len(question.protocol.arms) > 2 else "difference in coupling"
    if isinstance(question.test, Pair):
        what = f"coupling in {question.test.arm} minus {question.test.other}"
    return f"{what} by {question.method}, two-sided at"


def sentences(power: Power) -> Iterator[str]:
    """False positives and the smallest effect that can be detected."""
    question, target = power.question, percent(power.question.target)
    if (false := power.false_positives) is not None:
        yield (
            f"False positives: {percent(false.share, 1)} ({_interval(false)}) where "
            f"{percent(question.alpha, 1)} are promised."
        )
    if power.coupling is not None:
        yield f"Coupling found in the reference arm: {power.coupling:.4f}."
    if power.simulated.attenuation is None:
        yield _off_curve(power)
    else:
        yield (
            f"Detectable with {target} power, simulated: {_size(power.simulated)} "
            f"({_bounds(power.simulated)})."
        )
    if power.closed_form.difference is not None:
        yield f"Closed form, from the standard error without effect: {_size(power.closed_form)}."


def percent(share: float, digits: int = 0) -> str:
    """A share in per cent, with as few digits as it takes."""
    return f"{signed(100 * share, max(digits, _digits(100 * share)))} %"


def _digits(value: float) -> int:
    return 0 if abs(value - round(value)) < 1e-9 else 1


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"


def _off_curve(power: Power) -> str:
    target, shares = power.question.target, [point.found.share for point in power.points]
    if power.points[0].found.share >= target and power.points[0].attenuation >= 0:
        return f"The power is {percent(target)} already without attenuation: see what is shifted."
    if max(shares) >= target:
        return f"The power is {percent(target)} only where treatment strengthens the coupling."
    largest = power.points[-1].attenuation
    if largest <= 0:
        return "No attenuation above 0 % was asked for, so no detectable one can be read off."
    return (
        f"Up to {percent(largest)} attenuation the power stays below {percent(target)}: "
        "ask for larger ones, more participants or more prompts."
    )


def _bounds(found: Detectable) -> str:
    """The interval in words, one end of which the curve may not reach."""
    early, late = (None if each is None else percent(each, 1) for each in found.interval)
    if early and late:
        return f"{early.removesuffix(' %')} to {late} with this number of trials"
    return f"with this number of trials not below {early}" if early else f"at most {late}"


def _size(found: Detectable) -> str:
    if found.difference is None:
        return f"{percent(found.attenuation or 0.0, 1)} attenuation"
    if found.attenuation is None:
        return f"a difference of {signed(found.difference, 4)}"
    size = f"a difference of {signed(found.difference, 4)}"
    if found.attenuation > 1:
        return f"{size}, which is more than the whole coupling"
    return f"{percent(found.attenuation, 1)} attenuation, {size}"


def _notes(power: Power) -> list[str]:
    refused = sum(point.refused for point in power.points)
    notes = [SHIFTED] if power.question.arm_shift else []
    if refused:
        notes.append(f"The model refused the data {refused:,} times; these found nothing.")
    return [*notes, SIMULATED]


def _interval(found: Rate) -> str:
    low, high = found.interval
    return f"{100 * low:.1f} to {100 * high:.1f} %"


def _rate(found: Rate) -> dict[str, Any]:
    return {
        "found": found.hits,
        "trials": found.trials,
        "share": found.share,
        "interval": list(found.interval),
    }


def _point(point: Point) -> dict[str, Any]:
    return {
        "attenuation": point.attenuation,
        **_rate(point.found),
        "difference": point.difference,
        "standard_error": point.standard_error,
        "refused": point.refused,
    }
