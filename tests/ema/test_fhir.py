"""Questionnaires as FHIR R4 resources: valid ones, and nothing lost in silence."""

import copy
from contextlib import suppress
from typing import Any

import pytest
from fhir.resources.R4B.questionnaire import Questionnaire as Resource
from hypothesis import given
from hypothesis import strategies as st

from ema.questionnaires import checks, default, fhir_export, fhir_import
from ema.questionnaires.files import Refused, read, written
from tests.ema.test_questionnaires import EVERY_KIND, JSON, at_item, changed

FOREIGN: dict[str, Any] = {
    "resourceType": "Questionnaire",
    "id": "mood-today",
    "publisher": "A clinic",
    "status": "active",
    "item": [
        {
            "linkId": "1.1",
            "text": "How do you feel?",
            "type": "choice",
            "required": True,
            "answerOption": [
                {"valueCoding": {"system": "http://loinc.org", "code": "LA1-1", "display": "Well"}},
                {"valueString": "Unwell"},
            ],
        },
        {
            "linkId": "1.2",
            "text": "How often, and why?",
            "type": "text",
            "enableWhen": [
                {"question": "1.1", "operator": "!=", "answerCoding": {"code": "LA1-1"}}
            ],
        },
        {"linkId": "2", "text": "Weight", "type": "decimal"},
    ],
}


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """The document with every field said, as a version gives it."""
    empty: dict[str, Any] = {"role": "", "help": {}, "recall": {}, "required": True}
    empty |= {"skip_reasons": [], "show_if": {}, "decimals": 0, "low_label": {}, "unit": {}}
    empty |= {"options": [], "high_label": {}}
    return document | {"items": [{**empty, **item} for item in document["items"]]}


def exported(document: dict[str, Any]) -> dict[str, Any]:
    return fhir_export.exported(complete(document), is_published=True)


@pytest.mark.parametrize("document", [EVERY_KIND, default.document()], ids=["every", "default"])
def test_what_is_exported_is_a_valid_resource(document: dict[str, Any]) -> None:
    resource = exported(document)
    found = Resource.model_validate(resource)
    assert [item.linkId for item in found.item or ()] == [item["key"] for item in document["items"]]
    links = [item["linkId"] for item in resource["item"]]
    links += [below["linkId"] for item in resource["item"] for below in item.get("item", ())]
    assert len(set(links)) == len(links)


def test_items_have_the_types_that_fhir_has_for_them() -> None:
    types = {item["linkId"]: item["type"] for item in exported(EVERY_KIND)["item"]}
    assert types == {
        "stress": "integer",
        "craving": "choice",
        "company": "choice",
        "drinks": "decimal",
        "woke": "time",
        "event": "boolean",
        "note": "string",
    }


def test_conditions_become_enable_when() -> None:
    items = {item["linkId"]: item for item in exported(EVERY_KIND)["item"]}
    [when] = items["drinks"]["enableWhen"]
    assert when == {"question": "stress", "operator": ">=", "answerDecimal": 50.5}
    assert items["note"]["enableBehavior"] == "all"
    assert items["note"]["enableWhen"][1]["answerCoding"]["code"] == "2"


DIFFERS = {"all": [{"item": "event", "answered": True}, {"not": {"item": "event", "is": True}}]}


@pytest.mark.parametrize(
    "condition",
    [
        {"item": "event", "is": False},
        {"item": "company", "includes": "nobody"},
        {"item": "stress", "above": 10},
        {"item": "stress", "below": 10},
        {"item": "stress", "at_most": 10},
        {"item": "craving", "is": 3},
        {"item": "event", "answered": False},
        DIFFERS,
        {"any": [DIFFERS, {"item": "stress", "is": 0}]},
    ],
)
def test_a_condition_comes_back_as_it_was(condition: dict[str, Any]) -> None:
    document = changed(at_item(6, show_if=condition))
    assert checks.faults(document) == []
    back = fhir_import.imported(exported(document))
    assert back["items"][6]["show_if"] == condition


@pytest.mark.parametrize(
    "condition",
    [
        {"all": [{"any": [{"item": "event", "is": True}, {"item": "stress", "is": 0}]}]},
        {"not": {"item": "event", "is": True}},
        {"item": "craving", "at_least": 3},
    ],
)
def test_a_condition_that_fhir_cannot_say_is_refused_with_its_place(
    condition: dict[str, Any],
) -> None:
    with pytest.raises(Refused, match="/items/6/show_if: FHIR cannot say this condition"):
        exported(changed(at_item(6, show_if=condition)))


def test_a_questionnaire_without_texts_in_its_first_language_is_not_exported() -> None:
    with pytest.raises(Refused, match="Texts missing in en: label of woke"):
        exported(changed(at_item(4, label={"pt-BR": "Acordou?"})))


def test_a_resource_from_elsewhere_is_read() -> None:
    document = fhir_import.imported(FOREIGN)
    assert checks.faults(document) == []
    assert (document["key"], document["version"], document["languages"]) == (
        "mood-today",
        1,
        ["en"],
    )
    feeling, why, weight = document["items"]
    assert (feeling["key"], feeling["kind"], feeling["required"]) == ("1_1", "single", True)
    assert [option["value"] for option in feeling["options"]] == ["LA1-1", "Unwell"]
    assert why["max_length"] == 2000
    assert why["show_if"]["all"][1] == {"not": {"item": "1_1", "is": "LA1-1"}}
    assert (weight["kind"], weight["decimals"], weight["required"]) == ("number", 2, False)


@pytest.mark.parametrize(
    ("change", "pointer", "sentence"),
    [
        ({"type": "group", "item": []}, "/item/2/type", "Groups are not carried"),
        ({"type": "open-choice"}, "/item/2/type", "open-choice is not carried"),
        ({"type": "date"}, "/item/2/type", "type date are not carried; what is: integer"),
        ({"repeats": True}, "/item/2/repeats", "Only a choice may have several answers"),
        ({"initial": [{"valueDecimal": 1}]}, "/item/2/initial", "initial is not carried"),
        ({"answerValueSet": "x"}, "/item/2/answerValueSet", "answerValueSet is not carried"),
        ({"linkId": "1_1"}, "/item/2/linkId", "not the only item that becomes '1_1'"),
        ({"linkId": None}, "/item/2/linkId", "Every item needs a linkId"),
        ({"extension": [{"url": "http://x"}]}, "/item/2/extension/0", "http://x is not carried"),
        ({"item": [{"type": "string"}]}, "/item/2/item/0", "only its help, lower and upper"),
        (
            {"enableWhen": [{"question": "9", "operator": "=", "answerBoolean": True}]},
            "/item/2/enableWhen/0/question",
            "'9' is not an item before this one",
        ),
        (
            {"enableWhen": [{"question": "1.1", "operator": "~", "answerCoding": {"code": "x"}}]},
            "/item/2/enableWhen/0/operator",
            "'~' is not carried",
        ),
        (
            {"enableWhen": FOREIGN["item"][1]["enableWhen"] * 2},
            "/item/2/enableBehavior",
            "all or any",
        ),
    ],
)
def test_what_would_be_lost_is_refused_with_its_place(
    change: dict[str, Any], pointer: str, sentence: str
) -> None:
    resource = copy.deepcopy(FOREIGN)
    resource["item"][2].update(change)
    with pytest.raises(Refused) as refused:
        fhir_import.imported(resource)
    said = {fault.pointer: fault.detail for fault in refused.value.faults}
    assert sentence in said[pointer]


def test_a_published_export_survives_its_file() -> None:
    resource = exported(EVERY_KIND)
    back = fhir_import.imported(read(written(resource).encode()))
    assert exported(back) == resource


NAMES = [
    "extension",
    "url",
    "item",
    "type",
    "linkId",
    "enableWhen",
    "answerOption",
    "_text",
    "text",
]
NAMES += [
    "valueCoding",
    "identifier",
    "language",
    "version",
    "title",
    "_title",
    "code",
    "maxLength",
]
FHIR = st.recursive(
    JSON | st.sampled_from(["choice", "Questionnaire", "display"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(NAMES), inner),
    max_leaves=12,
)


@given(FHIR, st.sampled_from([*NAMES, "question", "operator"]), st.integers(0, 2))
def test_whatever_stands_in_a_resource_is_read_or_refused(
    value: Any, name: str, number: int
) -> None:
    below = copy.deepcopy(FOREIGN)
    below["item"][number][name] = value
    when = copy.deepcopy(FOREIGN)
    when["item"][1]["enableWhen"][0][name] = value
    option = copy.deepcopy(FOREIGN)
    option["item"][0]["answerOption"][0]["valueCoding"][name] = value
    for resource in (value, FOREIGN | {name: value}, below, when, option):
        with suppress(Refused):
            checks.faults(fhir_import.imported(resource))
