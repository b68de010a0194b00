"""What is wrong with a questionnaire document: a sentence each, with its JSON pointer. Pure.

A document is what a version is published, exported and imported as (docs/questionnaires.md).
"""

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from ema import branching
from ema.models.questionnaire import (
    FORMAT,
    MOST_DECIMALS,
    OWN_FIELDS,
    TEXTS,
    AnalysisRole,
    Kind,
)
from ema.submissions import Fault

KEY = re.compile(r"[-a-zA-Z0-9_]{1,40}")
LANGUAGE = re.compile(r"[a-z]{2,3}(-[A-Za-z0-9]{2,8})*")
WHOLE = re.compile(r"-?(0|[1-9][0-9]*)")
LONGEST_TEXT, LONGEST_CODE, LONGEST_ANSWER = 500, 40, 2000
MOST_ITEMS, MOST_OPTIONS, MOST_POINTS = 200, 100, 21
MOST_VERSION, LARGEST = 32_767, 2**31 - 1
NUMERIC = (Kind.SLIDER, Kind.RATING, Kind.NUMBER)
EVERY_ITEM = ("key", "kind", "role", *TEXTS[:3], "required", "skip_reasons", "show_if")
TOP = ("format", "key", "version", "languages", "title", "skip_reasons", "items")
Faults = Iterator[Fault]


def faults(document: Any) -> list[Fault]:
    """Every fault but missing texts: those only keep a draft from being published."""
    if not isinstance(document, dict):
        return [Fault("", 'A questionnaire is an object: {"format": …, "items": […]}.')]
    return [*_top(document), *_items(document)]


def missing_texts(document: Mapping[str, Any]) -> list[str]:
    """One sentence per language that lacks texts; every text is needed in every language."""
    languages = document["languages"]
    places = list(_places_of_texts(document))
    found = []
    for language in languages:
        lacking = [name for name, texts in places if language not in texts]
        if lacking:
            found.append(f"Texts missing in {language}: {', '.join(lacking)}.")
    return found


def in_words(fault: Fault, document: Mapping[str, Any]) -> str:
    """A fault for people: with the key of its item instead of a pointer."""
    place = re.match(r"/items/(\d+)", fault.pointer)
    if place is None:
        return fault.detail
    item = document["items"][int(place[1])]
    return f"Item {item.get('key') if isinstance(item, dict) else place[1]}: {fault.detail}"


# --- the document -------------------------------------------------------------------------


def _top(document: dict[str, Any]) -> Faults:
    yield from _unknown(document, TOP, "")
    if document.get("format") != FORMAT:
        yield Fault("/format", f'Write "{FORMAT}": this is the format that can be read.')
    if not _is_key(document.get("key")):
        yield Fault("/key", "A key is 1 to 40 letters, digits, - and _.")
    version = document.get("version")
    if type(version) is not int or not 1 <= version <= MOST_VERSION:
        yield Fault("/version", f"A version is a whole number from 1 to {MOST_VERSION}.")
    yield from _languages(document.get("languages"), "/languages")
    languages = _languages_of(document)
    yield from _texts(document.get("title", {}), "/title", languages)
    yield from _options(document.get("skip_reasons", []), "/skip_reasons", languages, fewest=0)


def _languages_of(document: Mapping[str, Any]) -> Sequence[Any]:
    languages = document.get("languages")
    return languages if isinstance(languages, list) else []


def _languages(languages: Any, at: str) -> Faults:
    if not isinstance(languages, list) or not languages:
        yield Fault(at, 'Name at least one language: ["en"].')
        return
    for number, language in enumerate(languages):
        if not isinstance(language, str) or not LANGUAGE.fullmatch(language):
            yield Fault(f"{at}/{number}", "A language is a tag such as en, de or pt-BR.")
        elif language in languages[:number]:
            yield Fault(f"{at}/{number}", f"Language {language} is there twice.")


def _items(document: dict[str, Any]) -> Faults:
    items = document.get("items")
    if not isinstance(items, list) or not items:
        yield Fault("/items", "A questionnaire has at least one item.")
        return
    if len(items) > MOST_ITEMS:
        yield Fault("/items", f"A questionnaire has at most {MOST_ITEMS} items.")
        return
    earlier: dict[str, dict[str, Any] | None] = {}  # None: not sound itself
    roles: set[str] = set()
    for number, item in enumerate(items):
        at = f"/items/{number}"
        if not isinstance(item, dict):
            yield Fault(at, "An item is an object.")
            continue
        wrong = list(_item(item, at, document, earlier))
        yield from wrong
        role = item.get("role")
        if isinstance(role, str) and role and role in roles:
            yield Fault(f"{at}/role", f"Another item has the role {role} already.")
        roles.add(str(role))
        if _is_key(item.get("key")):
            earlier.setdefault(item["key"], None if wrong else item)


def _item(
    item: dict[str, Any],
    at: str,
    document: Mapping[str, Any],
    earlier: Mapping[str, Mapping[str, Any] | None],
) -> Faults:
    kind = item.get("kind")
    if kind not in Kind.values:
        yield Fault(f"{at}/kind", f"A kind is one of {', '.join(Kind.values)}.")
        return
    kind = Kind(kind)
    key = item.get("key")
    if not _is_key(key):
        yield Fault(f"{at}/key", "A key is 1 to 40 letters, digits, - and _.")
    elif key in earlier:
        yield Fault(f"{at}/key", f"Another item has the key {key!r} already.")
    yield from _unknown(item, (*EVERY_ITEM, *OWN_FIELDS[kind]), at, f" of a {kind.value} item")
    languages = _languages_of(document)
    for name in TEXTS:
        yield from _texts(item.get(name, {}), f"{at}/{name}", languages)
    if not isinstance(item.get("required", True), bool):
        yield Fault(f"{at}/required", "Write true or false.")
    yield from _role(item.get("role", ""), kind, f"{at}/role")
    yield from _skip_reasons(item.get("skip_reasons", []), f"{at}/skip_reasons", document)
    yield from OF_KIND[kind](item, at, languages)
    for place, why in branching.faults(item.get("show_if", {}), earlier):
        yield Fault(f"{at}/show_if{place}", why)


def _unknown(given: dict[str, Any], known: Sequence[str], at: str, where: str = "") -> Faults:
    for name in given:
        if name not in known:
            escaped = name.replace("~", "~0").replace("/", "~1")
            yield Fault(f"{at}/{escaped}", f"There is no field {name!r}{where}.")


def _is_key(key: Any) -> bool:
    return isinstance(key, str) and KEY.fullmatch(key) is not None


# --- parts that several kinds have --------------------------------------------------------


def _texts(texts: Any, at: str, languages: Sequence[Any]) -> Faults:
    if not isinstance(texts, dict):
        yield Fault(at, 'Write texts by language: {"en": "…"}.')
        return
    for language, text in texts.items():
        here = f"{at}/{language}"
        if language not in languages:
            listed = ", ".join(map(str, languages))
            yield Fault(here, f"Language {language} is not among the languages ({listed}).")
        elif not isinstance(text, str) or not text.strip():
            yield Fault(here, "This text is empty: leave the language out until there is one.")
        elif len(text) > LONGEST_TEXT or not is_one_line(text):
            yield Fault(here, f"A text is one line of at most {LONGEST_TEXT} characters.")


def is_one_line(text: str) -> bool:
    """No line breaks, other control characters or halves of characters."""
    return not any(unicodedata.category(each) in ("Cc", "Cs", "Zl", "Zp") for each in text)


def _options(
    options: Any,
    at: str,
    languages: Sequence[Any],
    fewest: int = 2,
    fields: Sequence[str] = ("value", "label"),
) -> Faults:
    if not isinstance(options, list):
        yield Fault(at, 'Write a list: [{"value": "home", "label": {"en": "At home"}}].')
        return
    if not fewest <= len(options) <= MOST_OPTIONS:
        yield Fault(at, f"There must be {fewest} to {MOST_OPTIONS} of them.")
    seen: list[Any] = []
    for number, option in enumerate(options):
        here = f"{at}/{number}"
        if not isinstance(option, dict):
            yield Fault(here, 'Write {"value": "home", "label": {"en": "At home"}}.')
            continue
        yield from _unknown(option, fields, here)
        if not isinstance(option.get("exclusive", False), bool):
            yield Fault(f"{here}/exclusive", "Write true or false.")
        yield from _texts(option.get("label", {}), f"{here}/label", languages)
        yield from _code(option.get("value"), f"{here}/value", seen)
        seen.append(option.get("value"))


def _code(code: Any, at: str, seen: Sequence[Any]) -> Faults:
    if not is_code(code):
        word = f"a word of at most {LONGEST_CODE} characters that is no number"
        yield Fault(at, f"A code is a whole number, or {word}.")
    elif code in seen:
        yield Fault(at, f"The code {code} is there twice.")


def is_code(code: Any) -> bool:
    """A whole number, or a short text that could not be taken for one."""
    if isinstance(code, str):
        fits = 0 < len(code) <= LONGEST_CODE and code == code.strip()
        return fits and is_one_line(code) and "|" not in code and not WHOLE.fullmatch(code)
    return type(code) is int and abs(code) <= LARGEST


def _role(role: Any, kind: Kind, at: str) -> Faults:
    if role not in AnalysisRole.values:
        listed = ", ".join(filter(None, AnalysisRole.values))
        yield Fault(at, f"A role is one of {listed}, or empty.")
    elif role and kind not in NUMERIC:
        yield Fault(at, "Only a slider, rating or number can be analysed.")


def _skip_reasons(codes: Any, at: str, document: Mapping[str, Any]) -> Faults:
    if not isinstance(codes, list):
        yield Fault(at, 'Write a list of codes: ["prefer_not_to_say"].')
        return
    reasons = document.get("skip_reasons", [])
    listed = reasons if isinstance(reasons, list) else []
    known = [reason.get("value") for reason in listed if isinstance(reason, dict)]
    for number, code in enumerate(codes):
        if code not in known:
            yield Fault(f"{at}/{number}", f"{code!r} is not a skip reason of the questionnaire.")
        elif code in codes[:number]:
            yield Fault(f"{at}/{number}", f"The skip reason {code!r} is there twice.")


# --- kinds --------------------------------------------------------------------------------


def _range(item: dict[str, Any], at: str, *, is_needed: bool) -> Faults:
    fits = True
    for name in ("minimum", "maximum"):
        value = item.get(name)
        if value is None and not is_needed:
            continue
        if type(value) is not int or abs(value) > LARGEST:
            fits = False
            yield Fault(f"{at}/{name}", "Write a whole number.")
    low, high = item.get("minimum"), item.get("maximum")
    if fits and low is not None and high is not None and low >= high:
        yield Fault(f"{at}/minimum", f"The minimum {low} must be below the maximum {high}.")


def _decimals(item: dict[str, Any], at: str) -> Faults:
    decimals = item.get("decimals", 0)
    if type(decimals) is not int or not 0 <= decimals <= MOST_DECIMALS:
        yield Fault(f"{at}/decimals", f"Write a whole number from 0 to {MOST_DECIMALS}.")


def _slider(item: dict[str, Any], at: str, languages: Sequence[Any]) -> Faults:
    if (item.get("minimum"), item.get("maximum")) != (0, 100):
        yield Fault(
            f"{at}/minimum",
            "A visual analogue slider runs from 0 to 100; use a rating or a number for others.",
        )
    yield from _decimals(item, at)


def _rating(item: dict[str, Any], at: str, languages: Sequence[Any]) -> Faults:
    wrong = list(_range(item, at, is_needed=True))
    yield from wrong
    options = item.get("options", [])
    yield from _options(options, f"{at}/options", languages, fewest=0)
    if wrong:
        return
    low, high = item["minimum"], item["maximum"]
    if high - low >= MOST_POINTS:
        yield Fault(f"{at}/maximum", f"A rating has at most {MOST_POINTS} points; use a number.")
    for number, option in enumerate(options if isinstance(options, list) else []):
        code = option.get("value") if isinstance(option, dict) else None
        if is_code(code) and (isinstance(code, str) or not low <= code <= high):
            yield Fault(f"{at}/options/{number}/value", f"{code} is no point from {low} to {high}.")


def _single(item: dict[str, Any], at: str, languages: Sequence[Any]) -> Faults:
    yield from _options(item.get("options"), f"{at}/options", languages)


def _multiple(item: dict[str, Any], at: str, languages: Sequence[Any]) -> Faults:
    fields = ("value", "label", "exclusive")
    yield from _options(item.get("options"), f"{at}/options", languages, fields=fields)


def _number(item: dict[str, Any], at: str, languages: Sequence[Any]) -> Faults:
    yield from _range(item, at, is_needed=False)
    yield from _decimals(item, at)


def _text(item: dict[str, Any], at: str, languages: Sequence[Any]) -> Faults:
    longest = item.get("max_length")
    if type(longest) is not int or not 1 <= longest <= LONGEST_ANSWER:
        yield Fault(f"{at}/max_length", f"Write a whole number from 1 to {LONGEST_ANSWER}.")


def _nothing(item: dict[str, Any], at: str, languages: Sequence[Any]) -> Faults:
    return iter(())


OF_KIND: dict[Kind, Callable[[dict[str, Any], str, Sequence[Any]], Faults]] = {
    Kind.SLIDER: _slider,
    Kind.RATING: _rating,
    Kind.SINGLE: _single,
    Kind.MULTIPLE: _multiple,
    Kind.YES_NO: _nothing,
    Kind.NUMBER: _number,
    Kind.TIME: _nothing,
    Kind.TEXT: _text,
}


def _places_of_texts(document: Mapping[str, Any]) -> Iterator[tuple[str, Mapping[str, str]]]:
    """Every text there is or has to be: its name for people, and what there is of it."""
    if document["title"]:
        yield "the title", document["title"]
    for option in document["skip_reasons"]:
        yield f"skip reason {option['value']}", option["label"]
    for item in document["items"]:
        for name in TEXTS:
            if name == "label" or item.get(name):
                yield f"{name.replace('_', ' ')} of {item['key']}", item[name]
        for option in item.get("options", ()):
            yield f"choice {option['value']} of {item['key']}", option["label"]
