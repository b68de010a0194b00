"""A questionnaire document as a FHIR R4 `Questionnaire`. Pure.

What FHIR has no place for goes into extensions of ours (docs/questionnaires.md); a condition that
`enableWhen` cannot say is refused, because other programs would show the item always.
"""

from collections.abc import Mapping
from typing import Any

from ema.models.questionnaire import Kind
from ema.questionnaires import checks
from ema.questionnaires import fhir_names as names
from ema.questionnaires.files import Refused
from ema.submissions import Fault

Json = dict[str, Any]


def exported(document: Mapping[str, Any], *, is_published: bool) -> Json:
    """The resource, or Refused with the place of every condition that FHIR cannot say."""
    languages = document["languages"]
    lacking = checks.missing_texts({**document, "languages": languages[:1]})
    faults = [Fault("", sentence) for sentence in lacking]
    types = {item["key"]: _type(item) for item in document["items"]}
    items = [
        _item(item, languages, types, f"/items/{number}/show_if", faults)
        for number, item in enumerate(document["items"])
    ]
    if faults:
        raise Refused(faults)
    extensions = [
        {"url": names.SKIP_REASON, "extension": [_value_of(reason), *_texts(reason["label"])]}
        for reason in document["skip_reasons"]
    ]
    return {
        "resourceType": "Questionnaire",
        "language": languages[0],
        **({"extension": extensions} if extensions else {}),
        "identifier": [{"system": names.KEY, "value": document["key"]}],
        "version": str(document["version"]),
        **_string("title", document["title"], languages),
        "status": "active" if is_published else "draft",
        "subjectType": ["Patient"],
        "item": items,
    }


def _item(
    item: Json, languages: list[str], types: Mapping[str, str], at: str, faults: list[Fault]
) -> Json:
    extensions = _extensions(item, languages)
    return {
        **({"extension": extensions} if extensions else {}),
        "linkId": item["key"],
        **_string("text", item["label"], languages),
        "type": _type(item),
        **_enabled(item["show_if"], types, at, faults),
        "required": item["required"],
        **({"repeats": True} if item["kind"] == Kind.MULTIPLE else {}),
        **({"maxLength": item["max_length"]} if item["kind"] == Kind.TEXT else {}),
        **_answer_options(item, languages),
        **_displayed(item, languages),
    }


def _type(item: Json) -> str:
    kind: str = item["kind"]
    if kind in (Kind.SLIDER, Kind.NUMBER):
        return "decimal" if item["decimals"] else "integer"
    if kind == Kind.RATING:
        return "choice" if item["options"] else "integer"
    others = {"single": "choice", "multiple": "choice", "yes_no": "boolean", "text": "string"}
    return others.get(kind, kind)


def _extensions(item: Json, languages: list[str]) -> list[Json]:
    found: list[Json] = []
    kind = item["kind"]
    if kind == Kind.SLIDER:
        coding = {"system": names.CONTROL_CODES, "code": "slider"}
        found.append({"url": names.CONTROL, "valueCodeableConcept": {"coding": [coding]}})
    elif kind == Kind.RATING:
        found.append({"url": names.KIND, "valueCode": kind})
    for url, name in ((names.MINIMUM, "minimum"), (names.MAXIMUM, "maximum")):
        if item.get(name) is not None:
            value = "valueDecimal" if item.get("decimals") else "valueInteger"
            found.append({"url": url, value: item[name]})
    if item.get("decimals"):
        found.append({"url": names.DECIMALS, "valueInteger": item["decimals"]})
    if item.get("unit"):
        found.append(
            {"url": names.UNIT, "valueCoding": _string("display", item["unit"], languages)}
        )
    if item["recall"]:
        found.append({"url": names.RECALL, "extension": _texts(item["recall"])})
    if item["role"]:
        found.append({"url": names.ROLE, "valueCode": item["role"]})
    found += [{"url": names.SKIP_REASON, **_coded(code)} for code in item["skip_reasons"]]
    return found


def _answer_options(item: Json, languages: list[str]) -> Json:
    options = item.get("options")
    if not options:
        return {}
    if item["kind"] == Kind.RATING:
        labels = {option["value"]: option["label"] for option in options}
        points = range(item["minimum"], item["maximum"] + 1)
        options = [{"value": point, "label": labels.get(point, {})} for point in points]
    return {"answerOption": [_option(item["kind"], option, languages) for option in options]}


def _option(kind: str, option: Json, languages: list[str]) -> Json:
    """One choice. A point of a rating also says its number, for scores."""
    coding = {"code": str(option["value"]), **_string("display", option["label"], languages)}
    if kind == Kind.RATING:
        ordinal = [{"url": names.ORDINAL, "valueDecimal": option["value"]}]
        coding = {"extension": ordinal, **coding}
    exclusive = [{"url": names.EXCLUSIVE, "valueBoolean": True}]
    return {
        **({"extension": exclusive} if option.get("exclusive") else {}),
        "valueCoding": {"system": names.CODES, **coding},
    }


def _displayed(item: Json, languages: list[str]) -> Json:
    """Help and the labels of a scale's ends are items of type display below their question."""
    found = []
    for field, code in names.DISPLAYED.items():
        if item.get(field):
            coding = {"system": names.CONTROL_CODES, "code": code}
            found.append(
                {
                    "extension": [
                        {"url": names.CONTROL, "valueCodeableConcept": {"coding": [coding]}}
                    ],
                    "linkId": f"{item['key']}.{code}",
                    **_string("text", item[field], languages),
                    "type": "display",
                }
            )
    return {"item": found} if found else {}


# --- conditions ---------------------------------------------------------------------------


def _enabled(condition: Json, types: Mapping[str, str], at: str, faults: list[Fault]) -> Json:
    if not condition:
        return {}
    behaviour, parts = "all", [condition]
    if _when(condition, types) is None:
        for name in ("all", "any"):
            if name in condition:
                behaviour, parts = name, condition[name]
    whens = [_when(part, types) for part in parts]
    if None in whens:
        sentence = "enableWhen is one list of comparisons, all or any of them"
        faults.append(Fault(at, f"FHIR cannot say this condition: {sentence}."))
        return {}
    several = {"enableBehavior": behaviour} if len(whens) > 1 else {}
    return {"enableWhen": whens, **several}


def _when(part: Json, types: Mapping[str, str]) -> Json | None:
    """One comparison of `enableWhen`, or None where it cannot say this."""
    if "item" in part:
        return _compared(part, types)
    if "not" in part and set(part["not"]) == {"item", "answered"}:
        turned = part["not"] | {"answered": not part["not"]["answered"]}
        return _compared(turned, types)
    return _differs(part, types)


def _differs(part: Json, types: Mapping[str, str]) -> Json | None:
    """FHIR's != asks for an answer that differs: answered, and not this."""
    if len(part.get("all", ())) != 2:
        return None
    answered, other = part["all"]
    term = other.get("not", {})
    operator = set(term) - {"item"}
    if answered != {"item": term.get("item"), "answered": True} or operator != {"is"}:
        return None
    compared = _compared(term, types)
    return compared and compared | {"operator": "!="}


def _compared(term: Json, types: Mapping[str, str]) -> Json | None:
    (operator,) = set(term) - {"item"}
    wanted = term[operator]
    said = {"question": term["item"], "operator": names.OPERATORS[operator]}
    if isinstance(wanted, bool):
        return {**said, "answerBoolean": wanted}
    if types[term["item"]] == "choice":
        if operator not in ("is", "includes"):
            return None  # points of a labelled rating are codes there, and have no order
        return {**said, "answerCoding": {"system": names.CODES, "code": str(wanted)}}
    if isinstance(wanted, int):
        return {**said, "answerInteger": wanted}
    return {**said, "answerDecimal": wanted}


# --- texts and codes ----------------------------------------------------------------------


def _string(name: str, texts: Mapping[str, str], languages: list[str]) -> Json:
    """A string of FHIR in the first language, with its translations beside it."""
    if not texts:
        return {}
    found: Json = {name: texts.get(languages[0])}
    extensions = [_translation(language, texts[language]) for language in list(texts)[1:]]
    return {**found, f"_{name}": {"extension": extensions}} if extensions else found


def _translation(language: str, text: str, url: str = names.TRANSLATION) -> Json:
    parts = [{"url": "lang", "valueCode": language}, {"url": "content", "valueString": text}]
    return {"url": url, "extension": parts}


def _texts(texts: Mapping[str, str]) -> list[Json]:
    """Texts inside an extension of ours, one part per language."""
    return [_translation(language, text, "text") for language, text in texts.items()]


def _coded(code: Any) -> Json:
    return {"valueInteger": code} if isinstance(code, int) else {"valueString": code}


def _value_of(reason: Json) -> Json:
    return {"url": "value", **_coded(reason["value"])}
