"""Whether an item is shown: conditions on what was answered before. Pure.

A condition is {} (always) or one of

    {"item": "event", "is": true}            also a number, or the code of a choice
    {"item": "company", "includes": "kids"}  a multiple choice has this code
    {"item": "stress", "at_least": 50}       also at_most, above, below
    {"item": "pain", "answered": true}       or false
    {"all": […]}   {"any": […]}   {"not": …}

What was not shown or not answered meets no condition but {"answered": false}.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

DEEPEST = 8
MOST = 50
COMPARED = ("at_least", "at_most", "above", "below")
NUMERIC = ("slider", "rating", "number")
OPERATORS = {
    "yes_no": ("is", "answered"),
    "single": ("is", "answered"),
    "multiple": ("includes", "answered"),
    **dict.fromkeys(NUMERIC, ("is", *COMPARED, "answered")),
    "time": ("answered",),
    "text": ("answered",),
}
Condition = Mapping[str, Any]
Fault = tuple[str, str]


def shown(items: Sequence[Mapping[str, Any]], answers: Mapping[str, Any]) -> list[str]:
    """Keys of the items to show, in order. An answer to a hidden item does not count.

    An item whose condition cannot be read is shown: better a question too many than none.
    """
    known: dict[str, Any] = {}
    keys = []
    for item in items:
        condition = item.get("show_if") or {}
        if not is_readable(condition) or holds(condition, known):
            keys.append(item["key"])
            if answers.get(item["key"]) is not None:
                known[item["key"]] = answers[item["key"]]
    return keys


def holds(condition: Condition, answers: Mapping[str, Any]) -> bool:
    """Whether a readable condition holds for what was answered."""
    if not condition:
        return True
    if "all" in condition:
        return all(holds(each, answers) for each in condition["all"])
    if "any" in condition:
        return any(holds(each, answers) for each in condition["any"])
    if "not" in condition:
        return not holds(condition["not"], answers)
    value: Any = answers.get(condition["item"])
    [(operator, wanted)] = ((k, v) for k, v in condition.items() if k != "item")
    if operator == "answered":
        return (value is not None) is wanted
    if operator == "is":
        return _same(value, wanted)
    if operator == "includes":
        return isinstance(value, list) and any(_same(each, wanted) for each in value)
    return is_number(value) and _compares(operator, value, wanted)


def _compares(operator: str, value: float, wanted: float) -> bool:
    if operator in ("at_least", "at_most"):
        return value >= wanted if operator == "at_least" else value <= wanted
    return value > wanted if operator == "above" else value < wanted


def is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _same(value: Any, wanted: Any) -> bool:
    """Equal as JSON has it: 1 is 1.0, and neither is true or "1"."""
    if is_number(value) and is_number(wanted):
        return bool(value == wanted)
    return type(value) is type(wanted) and bool(value == wanted)


def is_readable(condition: Any) -> bool:
    """Whether this is a condition at all, whatever items it names."""
    return condition == {} or not any(True for _ in _shape_faults(condition, "", 1, [0]))


def faults(condition: Any, earlier: Mapping[str, Mapping[str, Any] | None]) -> list[Fault]:
    """What is wrong with a condition, each with its place in it.

    `earlier` has the items before by key; None where there is something wrong with that item.
    """
    if condition == {}:
        return []
    wrong = list(_shape_faults(condition, "", 1, [0]))
    return wrong or [
        (at, why)
        for at, term in _terms(condition, "")
        if (why := _meaning_fault(term, earlier)) is not None
    ]


def _shape_faults(condition: Any, at: str, depth: int, count: list[int]) -> Iterator[Fault]:
    count[0] += 1
    if depth > DEEPEST or count[0] > MOST:
        yield at, f"A condition is at most {DEEPEST} deep and has at most {MOST} parts."
    elif not isinstance(condition, dict):
        yield at, 'A condition is an object such as {"item": "event", "is": true}.'
    elif len(condition) == 1 and (name := next(iter(condition))) in ("all", "any"):
        parts = condition[name]
        if not isinstance(parts, list) or not parts:
            yield f"{at}/{name}", f"{name!r} takes a list of at least one condition."
            return
        for number, part in enumerate(parts):
            yield from _shape_faults(part, f"{at}/{name}/{number}", depth + 1, count)
    elif set(condition) == {"not"}:
        yield from _shape_faults(condition["not"], f"{at}/not", depth + 1, count)
    else:
        yield from _term_faults(condition, at)


def _term_faults(term: dict[str, Any], at: str) -> Iterator[Fault]:
    names = set(term) - {"item"}
    known = {"is", "includes", "answered", *COMPARED}
    if not isinstance(term.get("item"), str) or len(names) != 1 or not names <= known:
        listed = ", ".join(["is", "includes", *COMPARED, "answered"])
        yield (
            at,
            f'Write {{"all": […]}}, {{"any": […]}}, {{"not": …}}, or "item" and one of {listed}.',
        )
        return
    (operator,) = names
    wanted = term[operator]
    if operator in COMPARED and not is_number(wanted):
        yield f"{at}/{operator}", f"{operator!r} compares with a number."
    elif operator == "answered" and not isinstance(wanted, bool):
        yield f"{at}/{operator}", "'answered' is true or false."
    elif not isinstance(wanted, bool | int | float | str):
        yield f"{at}/{operator}", f"{operator!r} takes true, false, a number or a code."


def _terms(condition: Condition, at: str) -> Iterator[tuple[str, Condition]]:
    """The comparisons of a readable condition, each with its place."""
    for name in ("all", "any"):
        for number, part in enumerate(condition.get(name, ())):
            yield from _terms(part, f"{at}/{name}/{number}")
    if "not" in condition:
        yield from _terms(condition["not"], f"{at}/not")
    if "item" in condition:
        yield at, condition


def _meaning_fault(term: Condition, earlier: Mapping[str, Mapping[str, Any] | None]) -> str | None:
    """Why a comparison makes no sense for the item it names, or None."""
    if term["item"] not in earlier:
        return f"{term['item']!r} is not an item before this one."
    item = earlier[term["item"]]
    if item is None:
        return None
    (operator,) = set(term) - {"item"}
    kind, wanted = item["kind"], term[operator]
    if operator not in OPERATORS[kind]:
        return f"{item['key']!r} can be compared by {' or '.join(OPERATORS[kind])} only."
    if operator == "answered":
        return None
    return _value_fault(item, wanted)


def _value_fault(item: Mapping[str, Any], wanted: Any) -> str | None:
    kind = item["kind"]
    if kind == "yes_no":
        return None if isinstance(wanted, bool) else f"{item['key']!r} is true or false."
    if kind in ("single", "multiple"):
        codes = [option["value"] for option in item["options"]]
        if any(_same(code, wanted) for code in codes):
            return None
        return f"{wanted!r} is not a choice of {item['key']!r}: {', '.join(map(str, codes))}."
    low, high = item.get("minimum"), item.get("maximum")
    if not is_number(wanted):
        return f"{item['key']!r} is a number."
    if (low is not None and wanted < low) or (high is not None and wanted > high):
        return f"{wanted} is outside the range of {item['key']!r}."
    return None


def normal(condition: Condition) -> dict[str, Any]:
    """The same condition with its keys in a fixed order."""
    if "item" in condition:
        return {"item": condition["item"], **{k: v for k, v in condition.items() if k != "item"}}
    if "not" in condition:
        return {"not": normal(condition["not"])}
    return {name: [normal(part) for part in parts] for name, parts in condition.items()}
