"""A FHIR R4 `Questionnaire` as a questionnaire document. Pure, and strict.

What would be lost in silence is refused: groups, open choices, value sets, dates, files, initial
values. What changes nothing for a phone (publisher, contact, narrative) is left aside.
"""

import re
from collections.abc import Container, Mapping, Sequence
from typing import Any

from ema.models.questionnaire import FORMAT, AnalysisRole, Kind
from ema.questionnaires import fhir_names as names
from ema.questionnaires.checks import LONGEST_ANSWER, WHOLE
from ema.questionnaires.files import Refused
from ema.submissions import Fault

Json = dict[str, Any]
TYPES = ("integer", "decimal", "boolean", "choice", "string", "text", "time")
OF_RESOURCE = {"resourceType", "language", "extension", "identifier", "version", "title", "_title"}
OF_RESOURCE |= {"status", "subjectType", "item", "name"}
ASIDE = {"id", "meta", "text", "url", "date", "publisher", "contact", "useContext", "jurisdiction"}
ASIDE |= {"description", "purpose", "copyright", "approvalDate", "lastReviewDate", "code"}
ASIDE |= {"effectivePeriod", "experimental", "implicitRules"}
OF_ITEM = {"linkId", "text", "_text", "type", "required", "repeats", "maxLength", "answerOption"}
OF_ITEM |= {"enableWhen", "enableBehavior", "extension", "item"}
ASIDE_OF_ITEM = {"id", "definition", "code", "prefix"}
TAKEN = {names.CONTROL, names.MINIMUM, names.MAXIMUM, names.DECIMALS, names.STEP, names.UNIT}
TAKEN |= {names.ROLE, names.KIND, names.RECALL, names.SKIP_REASON}
DECIMALS = 2  # of a decimal that does not say how many
COMPARED = {">=": "at_least", "<=": "at_most", ">": "above", "<": "below"}


def imported(resource: Any) -> Json:
    """The document, not yet checked; Refused with every place that cannot be carried."""
    reader = _Reader()
    document = reader.document(resource)
    if reader.faults:
        raise Refused(reader.faults)
    return document


class _Reader:
    """Reads a resource and collects what it cannot carry."""

    def __init__(self) -> None:
        self.faults: list[Fault] = []
        self.language = "en"
        self.languages: dict[str, None] = {}
        self.keys: dict[str, str] = {}  # by linkId
        self.kinds: dict[str, str] = {}  # by linkId

    def refuse(self, at: str, detail: str) -> None:
        self.faults.append(Fault(at, detail))

    def document(self, resource: Any) -> Json:
        if not isinstance(resource, dict) or resource.get("resourceType") != "Questionnaire":
            self.refuse(
                "/resourceType", 'This is no FHIR Questionnaire: "Questionnaire" is missing.'
            )
            return {}
        self._only(resource, OF_RESOURCE | ASIDE, "")
        self.language = str(resource.get("language") or "en")
        self.languages = {self.language: None}
        items = self._list(resource, "item", "")
        for number, item in enumerate(items):
            self._name(item, f"/item/{number}")
        found = [self._item(item, f"/item/{n}") for n, item in enumerate(items)]
        title = self._texts(resource, "title", "")
        return {
            "format": FORMAT,
            "key": self._key(resource),
            "version": self._version(resource),
            "title": title,
            "skip_reasons": self._reasons(resource),
            "items": [item for item in found if item],
            "languages": list(self.languages),
        }

    # --- the resource ---------------------------------------------------------------------

    def _only(self, given: Json, known: set[str], at: str) -> None:
        for name in given:
            if name not in known:
                self.refuse(f"{at}/{name}", f"{name} is not carried: take it out if it may go.")

    def _list(self, given: Json, name: str, at: str) -> list[Json]:
        found = given.get(name, [])
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            self.refuse(f"{at}/{name}", "This must be a list of objects.")
            return []
        return found

    def _key(self, resource: Json) -> str:
        for identifier in self._list(resource, "identifier", ""):
            if identifier.get("system") == names.KEY:
                return str(identifier.get("value"))
        named = str(resource.get("name") or resource.get("id") or resource.get("title") or "")
        key = re.sub(r"[^a-z0-9]+", "-", named.lower()).strip("-")[:40]
        if not key:
            self.refuse("/name", "Give the questionnaire a name: it becomes its key.")
        return key

    def _version(self, resource: Json) -> int:
        said = str(resource.get("version", "1"))
        return int(said) if re.fullmatch(r"[1-9][0-9]{0,4}", said) else 1

    def _reasons(self, resource: Json) -> list[Json]:
        return [
            {
                "value": _code(_value(_part(extension, "value"))),
                "label": self._own_texts(extension),
            }
            for _, extension in self._extensions(resource, "", {names.SKIP_REASON})
        ]

    # --- items ----------------------------------------------------------------------------

    def _name(self, item: Json, at: str) -> None:
        """Remember the key that a linkId becomes: dots and spaces turn into underscores."""
        link = item.get("linkId")
        if not isinstance(link, str) or not link:
            self.refuse(f"{at}/linkId", "Every item needs a linkId.")
            return
        key = re.sub(r"[^-A-Za-z0-9_]", "_", link)[:40]
        if link in self.keys or key in self.keys.values():
            self.refuse(f"{at}/linkId", f"{link!r} is not the only item that becomes {key!r}.")
        self.keys[link] = key

    def _item(self, item: Json, at: str) -> Json | None:
        kind = self._kind(item, at)
        if kind is None or not _is_in(item.get("linkId"), self.keys):
            return None
        self._only(item, OF_ITEM | ASIDE_OF_ITEM, at)
        self.kinds[item["linkId"]] = kind
        extensions = self._extensions(item, at, TAKEN)
        found: Json = {
            "key": self.keys[item["linkId"]],
            "kind": kind,
            "role": "",
            "label": self._texts(item, "text", at),
            "required": item.get("required", False),
            "skip_reasons": [],
            "show_if": self._condition(item, at),
            **self._own(kind, item, at),
        }
        for place, extension in extensions:
            self._take(found, extension, place)
        found |= self._displayed(item, at)
        return found

    def _kind(self, item: Json, at: str) -> str | None:
        kind = item.get("type")
        if kind not in TYPES:
            if kind == "group":
                why = "Groups are not carried: move their questions up one level"
            elif kind == "open-choice":
                why = "open-choice is not carried: make it a choice, and a string for the rest"
            else:
                why = f"Items of type {kind} are not carried; what is: {', '.join(TYPES)}"
            self.refuse(f"{at}/type", f"{why}.")
            return None
        extensions = item.get("extension", [])
        if _marked(extensions, names.KIND) == Kind.RATING:
            return str(Kind.RATING)
        if kind == "choice":
            return str(Kind.MULTIPLE if item.get("repeats") else Kind.SINGLE)
        if item.get("repeats"):
            self.refuse(f"{at}/repeats", "Only a choice may have several answers.")
        if kind in ("integer", "decimal"):
            return str(Kind.SLIDER if _control(item) == "slider" else Kind.NUMBER)
        return {"boolean": "yes_no", "string": "text"}.get(kind, kind)

    def _own(self, kind: str, item: Json, at: str) -> Json:
        """The fields that only this kind has, as far as they are no extensions."""
        if kind in (Kind.SINGLE, Kind.MULTIPLE, Kind.RATING):
            options = [
                self._option(option, f"{at}/answerOption/{number}", kind)
                for number, option in enumerate(self._list(item, "answerOption", at))
            ]
            if kind == Kind.RATING:
                options = [option for option in options if option["label"]]
            return {"options": options}
        if "answerOption" in item:
            self.refuse(f"{at}/answerOption", "Only a choice has options here.")
        if kind == Kind.TEXT:
            longest = LONGEST_ANSWER if item["type"] == "text" else 255
            return {"max_length": item.get("maxLength", longest)}
        if "maxLength" in item:
            self.refuse(f"{at}/maxLength", "Only a string has a longest length here.")
        if kind in (Kind.SLIDER, Kind.NUMBER):
            return {"decimals": 0 if item["type"] == "integer" else DECIMALS}
        return {}

    def _option(self, option: Json, at: str, kind: str) -> Json:
        self._only(option, {"valueCoding", "valueString", "valueInteger", "extension", "id"}, at)
        exclusive = self._extensions(option, at, {names.EXCLUSIVE})
        is_exclusive = any(each.get("valueBoolean") is True for _, each in exclusive)
        coding = option.get("valueCoding")
        if isinstance(coding, dict):
            known = {"system", "version", "code", "display", "_display", "extension", "id"}
            self._only(coding, known, f"{at}/valueCoding")
            self._extensions(coding, f"{at}/valueCoding", {names.ORDINAL})
            code = coding.get("code")
            label = self._texts(coding, "display", f"{at}/valueCoding")
            if not label and kind != Kind.RATING:
                label = {self.language: str(code)}
        else:
            code = _value(option)
            label = {self.language: str(code)}
        found = {"value": _code(code), "label": label}
        return {**found, "exclusive": True} if is_exclusive else found

    def _take(self, found: Json, extension: Json, at: str) -> None:
        """Put what one extension says into the item."""
        url, value = extension["url"], _value(extension)
        if url in (names.MINIMUM, names.MAXIMUM):
            name = "minimum" if url == names.MINIMUM else "maximum"
            found[name] = int(value) if _is_whole(value) else value
        elif url == names.DECIMALS:
            found["decimals"] = value
        elif url == names.UNIT and isinstance(value, dict):
            unit = value if "display" in value else {"display": value.get("code")}
            found["unit"] = self._texts(unit, "display", at)
        elif url == names.RECALL:
            found["recall"] = self._own_texts(extension)
        elif url == names.ROLE:
            found["role"] = value if value in AnalysisRole.values else str(value)
        elif url == names.SKIP_REASON:
            found["skip_reasons"].append(_code(value))

    def _displayed(self, item: Json, at: str) -> Json:
        """Items of type display below a question: its help, the ends of its scale."""
        fields = {code: field for field, code in names.DISPLAYED.items()}
        found = {}
        for number, child in enumerate(self._list(item, "item", at)):
            here = f"{at}/item/{number}"
            control = _control(child)
            if child.get("type") != "display" or not _is_in(control, fields):
                which = "below a question only its help, lower and upper displays are"
                self.refuse(here, f"This is not carried: {which}.")
                continue
            self._only(child, {"linkId", "text", "_text", "type", "extension"}, here)
            found[fields[control]] = self._texts(child, "text", here)
        return found

    # --- conditions -----------------------------------------------------------------------

    def _condition(self, item: Json, at: str) -> Json:
        whens = [
            self._when(when, f"{at}/enableWhen/{number}")
            for number, when in enumerate(self._list(item, "enableWhen", at))
        ]
        parts = [when for when in whens if when]
        if len(parts) < 2:
            return parts[0] if parts else {}
        behaviour = item.get("enableBehavior")
        if behaviour not in ("all", "any"):
            self.refuse(f"{at}/enableBehavior", "Say whether all or any of enableWhen must hold.")
            return {}
        return {behaviour: parts}

    def _when(self, when: Json, at: str) -> Json | None:
        question, operator = str(when.get("question")), str(when.get("operator"))
        if question not in self.kinds:
            self.refuse(f"{at}/question", f"{question!r} is not an item before this one.")
            return None
        key = self.keys[question]
        answers = [value for name, value in when.items() if name.startswith("answer")]
        if len(answers) != 1:
            self.refuse(at, "A condition compares with one answer.")
            return None
        value = answers[0]
        if isinstance(value, dict):
            value = _code(value.get("code"))
        if operator == "exists":
            return {"item": key, "answered": value}
        if operator in COMPARED:
            return {"item": key, COMPARED[operator]: value}
        name = "includes" if self.kinds[question] == Kind.MULTIPLE else "is"
        if self.kinds[question] == Kind.RATING and isinstance(value, str):
            value = _code(value)
        if operator == "=":
            return {"item": key, name: value}
        if operator == "!=" and name == "is":
            return {"all": [{"item": key, "answered": True}, {"not": {"item": key, name: value}}]}
        self.refuse(f"{at}/operator", f"The operator {operator!r} is not carried here.")
        return None

    # --- texts and extensions -------------------------------------------------------------

    def _texts(self, given: Mapping[str, Any], name: str, at: str) -> Json:
        """A string and its translations, by language."""
        texts: Json = {}
        beside = given.get(f"_{name}")
        beside = beside if isinstance(beside, dict) else {}
        for place, extension in self._extensions(beside, f"{at}/_{name}", {names.TRANSLATION}):
            language = _value(_part(extension, "lang"))
            if not isinstance(language, str):
                self.refuse(place, "A translation says its language in lang.")
                continue
            texts[language] = _value(_part(extension, "content"))
            self.languages.setdefault(language)
        text = given.get(name)
        return texts if text is None else {self.language: text, **texts}

    def _own_texts(self, extension: Json) -> Json:
        """Texts inside an extension of ours, one part per language."""
        texts = {}
        for part in _parts(extension, "text"):
            language = str(_value(_part(part, "lang")))
            texts[language] = _value(_part(part, "content"))
            self.languages.setdefault(language)
        return texts

    def _extensions(
        self, given: Mapping[str, Any], at: str, known: set[str]
    ) -> Sequence[tuple[str, Json]]:
        """The extensions that are known, with their places. Others may change the meaning."""
        found = []
        for number, extension in enumerate(self._list(dict(given), "extension", at)):
            place, url = f"{at}/extension/{number}", extension.get("url")
            if _is_in(url, known):
                found.append((place, extension))
            else:
                self.refuse(place, f"The extension {url} is not carried: take it out if it may go.")
        return found


def _parts(extension: Json, url: str) -> list[Json]:
    parts = extension.get("extension")
    listed = parts if isinstance(parts, list) else []
    return [part for part in listed if isinstance(part, dict) and part.get("url") == url]


def _part(extension: Json, url: str) -> Json:
    return next(iter(_parts(extension, url)), {})


def _is_in(name: Any, known: Container[str]) -> bool:
    return isinstance(name, str) and name in known


def _value(given: Mapping[str, Any]) -> Any:
    return next((value for name, value in given.items() if name.startswith("value")), None)


def _marked(extensions: Any, url: str) -> Any:
    listed = extensions if isinstance(extensions, list) else []
    return next((_value(e) for e in listed if isinstance(e, dict) and e.get("url") == url), None)


def _control(item: Json) -> Any:
    concept = _marked(item.get("extension"), names.CONTROL)
    codings = concept.get("coding") if isinstance(concept, dict) else None
    listed = codings if isinstance(codings, list) else []
    coded = [each.get("code") for each in listed if isinstance(each, dict)]
    return coded[0] if coded else None


def _is_whole(value: Any) -> bool:
    return isinstance(value, float) and value.is_integer()


def _code(code: Any) -> Any:
    """A code of FHIR is text; one that is a whole number is a number here."""
    return int(code) if isinstance(code, str) and WHOLE.fullmatch(code) else code
