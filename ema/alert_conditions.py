"""What a rule about answers asks of a value, and rules in words. Pure."""

from collections.abc import Mapping
from decimal import Decimal, InvalidOperation
from typing import Any, NamedTuple

SMALLEST_SHARE = 0.02  # of an item's range: what a standard deviation counts for at least
YES_NO = {"yes": True, "no": False}
COMPARED = {"at_least": "at least", "at_most": "at most", "is": "is"}


class Spread(NamedTuple):
    """A participant's earlier answers to an item: how many, their mean and standard deviation."""

    n: int
    mean: float
    deviation: float


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def number(text: str) -> Decimal | None:
    """The finite number that a text writes, or None."""
    try:
        found = Decimal(text.strip())
    except InvalidOperation:
        return None
    return found if found.is_finite() else None


def meets(operator: str, wanted: str, value: Any) -> bool:
    """Whether an answer is what a rule looks for; of several choices, whether one of them is."""
    if isinstance(value, list):
        return any(meets(operator, wanted, each) for each in value)
    if operator == "is" and isinstance(value, bool):
        return YES_NO.get(wanted) is value
    limit = number(wanted)
    if is_number(value) and limit is not None:
        stated = Decimal(str(value))
        compared = {"at_least": stated >= limit, "at_most": stated <= limit}
        return compared.get(operator, stated == limit)
    return operator == "is" and isinstance(value, str) and value == wanted


def leaves_mean(operator: str, deviations: float, value: float, own: Spread, floor: float) -> bool:
    """Whether a value is this many standard deviations above (or below) a participant's mean.

    A standard deviation counts for at least `floor`: whoever always answered the same would
    otherwise leave their mean by a point.
    """
    distance = value - own.mean if operator == "at_least" else own.mean - value
    return distance >= deviations * max(own.deviation, floor)


def in_words(value: Any) -> str:
    """An answer as it is told to people."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(in_words(each) for each in value)
    return f"{value:g}" if is_number(value) else str(value)


def sentence(content: Mapping[str, Any]) -> str:
    """A rule's content, as one clause without its end: craving is at least 90."""
    amount = content.get("amount")
    match content["kind"]:
        case "answer":
            words = COMPARED[content["operator"]]
            between = " " if words == "is" else " is "
            return f"{content['item']}{between}{words} {content['value']}"
        case "change":
            side = "above" if content["operator"] == "at_least" else "below"
            return (
                f"{content['item']} is {amount} SD or more {side} the participant's own mean of at "
                f"least {content['least_answers']} earlier answers"
            )
        case "missed":
            return f"{amount} prompts in a row were missed"
        case "silent":
            return f"nothing was heard of the app for {amount} hours"
        case _:
            return f"the phone's clock is off by more than {amount} minutes"
