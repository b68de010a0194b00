"""What in a person's answers contradicts the questionnaire they were written on. Pure.

Answers are never refused for it. It costs nothing while they come in: it is looked up when
somebody reads a response.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from ema import branching
from ema.models.questionnaire import Kind

TIME = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
Item = Mapping[str, Any]


class Contradiction(NamedTuple):
    """`code` is stable, for programs; `detail` is a sentence."""

    item: str
    code: str
    detail: str


def contradictions(
    content: Mapping[str, Any], answers: Sequence[Mapping[str, Any]]
) -> list[Contradiction]:
    """Everything that a phone following the published content would not have sent, in its order.

    `answers` is a list of {item, value, skip}, as phones send it.
    """
    items = {item["key"]: item for item in content["items"]}
    first: dict[str, Mapping[str, Any]] = {}
    found = []
    for answer in answers:
        key = answer["item"]
        if key not in items:
            found.append(Contradiction(key, "unknown_item", "There is no such item."))
        elif key in first:
            found.append(Contradiction(key, "answered_twice", "It was answered more than once."))
        first.setdefault(key, answer)
    values = {key: answer.get("value") for key, answer in first.items()}
    visible = set(branching.shown(content["items"], values))
    for key, item in items.items():
        found += _of_item(item, first.get(key), is_shown=key in visible)
    return found


def _of_item(
    item: Item, answer: Mapping[str, Any] | None, *, is_shown: bool
) -> Iterator[Contradiction]:
    key = item["key"]
    value = answer.get("value") if answer else None
    skip = answer.get("skip") if answer else None
    if value is not None:
        if not is_shown:
            yield Contradiction(key, "not_shown", "It was answered, though it was not shown.")
        wrong = _wrong(item, value)
        if wrong:
            yield Contradiction(key, *wrong)
    elif skip:
        if "skip_reasons" in item and skip not in map(str, item["skip_reasons"]):
            yield Contradiction(key, "unknown_skip_reason", f"{skip} is no reason to skip it.")
    elif is_shown and item["required"]:
        yield Contradiction(key, "missing", "It is required, and has neither answer nor reason.")


Wrong = tuple[str, str] | None


def _wrong(item: Item, value: Any) -> Wrong:
    return OF_KIND[item["kind"]](item, value)


def _number(item: Item, value: Any) -> Wrong:
    if not branching.is_number(value):
        return "wrong_type", "The answer is not a number."
    low, high = item.get("minimum"), item.get("maximum")
    if (low is not None and value < low) or (high is not None and value > high):
        return "out_of_range", f"{value} is not between {low} and {high}."
    decimals = item.get("decimals", 0)
    if round(value, decimals) != value:
        return "too_many_decimals", f"{value} has more than {decimals} decimals."
    return None


def _choice(item: Item, value: Any) -> Wrong:
    codes = [option["value"] for option in item["options"]]
    if any(type(code) is type(value) and code == value for code in codes):
        return None
    return "unknown_choice", f"{value} is not a choice."


def _choices(item: Item, value: Any) -> Wrong:
    if not isinstance(value, list):
        return "wrong_type", "The answer is not a list of choices."
    for number, each in enumerate(value):
        wrong = _choice(item, each)
        if wrong:
            return wrong
        if each in value[:number]:
            return "unknown_choice", f"{each} was chosen twice."
    alone = [option["value"] for option in item["options"] if option.get("exclusive")]
    if len(value) > 1 and any(each in alone for each in value):
        return "not_alone", "A choice that excludes the others was chosen with another."
    return None


def _yes_no(item: Item, value: Any) -> Wrong:
    return None if isinstance(value, bool) else ("wrong_type", "The answer is not yes or no.")


def _time(item: Item, value: Any) -> Wrong:
    fits = isinstance(value, str) and TIME.fullmatch(value)
    return None if fits else ("wrong_type", "The answer is not a time such as 07:30.")


def _text(item: Item, value: Any) -> Wrong:
    if not isinstance(value, str):
        return "wrong_type", "The answer is not a text."
    longest = item.get("max_length")
    if longest is not None and len(value) > longest:
        return "too_long", f"It has {len(value)} characters, more than {longest}."
    return None


OF_KIND: dict[str, Callable[[Item, Any], Wrong]] = {
    Kind.SLIDER: _number,
    Kind.RATING: _number,
    Kind.NUMBER: _number,
    Kind.SINGLE: _choice,
    Kind.MULTIPLE: _choices,
    Kind.YES_NO: _yes_no,
    Kind.TIME: _time,
    Kind.TEXT: _text,
}
