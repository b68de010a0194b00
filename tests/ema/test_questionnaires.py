"""Questionnaires as files and as versions: checked, published for good, carried in and out."""

import copy
import hashlib
import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from ema import audit, studies
from ema.models import AuditEvent, Item, QuestionnaireVersion, Study
from ema.questionnaires import carrying, checks, default, drafts, files
from tests import trial

EVERY_KIND: dict[str, Any] = {
    "format": "fourbeat-questionnaire/1",
    "key": "every",
    "version": 3,
    "languages": ["en", "pt-BR"],
    "title": {"en": "Every kind", "pt-BR": "Cada tipo"},
    "skip_reasons": [{"value": "later", "label": {"en": "Later", "pt-BR": "Depois"}}],
    "items": [
        {
            "key": "stress",
            "kind": "slider",
            "role": "stress",
            "label": {"en": "Stress?", "pt-BR": "Estresse?"},
            "skip_reasons": ["later"],
            "minimum": 0,
            "maximum": 100,
        },
        {
            "key": "craving",
            "kind": "rating",
            "role": "craving",
            "label": {"en": "Craving?", "pt-BR": "Fissura?"},
            "minimum": 1,
            "maximum": 5,
            "options": [{"value": 1, "label": {"en": "None", "pt-BR": "Nenhuma"}}],
        },
        {
            "key": "company",
            "kind": "multiple",
            "label": {"en": "Who?", "pt-BR": "Quem?"},
            "options": [
                {
                    "value": "nobody",
                    "label": {"en": "Nobody", "pt-BR": "Ninguém"},
                    "exclusive": True,
                },
                {"value": 2, "label": {"en": "Two", "pt-BR": "Dois"}},
            ],
        },
        {
            "key": "drinks",
            "kind": "number",
            "label": {"en": "Drinks?", "pt-BR": "Bebidas?"},
            "unit": {"en": "glasses", "pt-BR": "copos"},
            "minimum": 0,
            "decimals": 1,
            "show_if": {"item": "stress", "at_least": 50.5},
        },
        {"key": "woke", "kind": "time", "label": {"en": "Woke?", "pt-BR": "Acordou?"}},
        {"key": "event", "kind": "yes_no", "label": {"en": "Event?", "pt-BR": "Evento?"}},
        {
            "key": "note",
            "kind": "text",
            "label": {"en": "What?", "pt-BR": "O quê?"},
            "required": False,
            "max_length": 80,
            "show_if": {"all": [{"item": "event", "is": True}, {"item": "company", "includes": 2}]},
        },
    ],
}
Change = Callable[[dict[str, Any]], Any]


@pytest.fixture
def study(db: None) -> Study:
    return trial.make_study()


def changed(change: Change) -> dict[str, Any]:
    document = copy.deepcopy(EVERY_KIND)
    change(document)
    return document


def brought_in(study: Study, document: dict[str, Any]) -> QuestionnaireVersion:
    return drafts.bring_in(study=study, document=document, actor=audit.COMMAND)


def test_sound_questionnaires_have_no_faults() -> None:
    assert checks.faults(EVERY_KIND) == []
    assert checks.faults(default.document()) == []


def at_item(number: int, **fields: Any) -> Change:
    return lambda document: document["items"][number].update(fields)


OPTION = {"value": "x", "label": {"en": "X"}}
FAULTS: dict[str, tuple[Change, str, str]] = {
    "another format": (lambda d: d.update(format="x/2"), "/format", "fourbeat-questionnaire/1"),
    "an unknown field": (lambda d: d.update({"a/b": 1}), "/a~1b", "no field 'a/b'"),
    "no items": (lambda d: d.update(items=[]), "/items", "at least one item"),
    "an item that is none": (lambda d: d["items"].insert(0, 7), "/items/0", "An item is an object"),
    "a version of 0": (lambda d: d.update(version=0), "/version", "from 1 to 32767"),
    "a language that is none": (
        lambda d: d["languages"].append("English"),
        "/languages/2",
        "a tag such as en",
    ),
    "a text in no language": (at_item(0, label="Stress?"), "/items/0/label", "by language"),
    "a text in another language": (at_item(0, help={"fr": "x"}), "/items/0/help/fr", "(en, pt-BR)"),
    "an empty text": (at_item(0, help={"en": " "}), "/items/0/help/en", "This text is empty"),
    "two lines": (at_item(0, help={"en": "a\nb"}), "/items/0/help/en", "one line"),
    "a null character": (at_item(0, help={"en": "a\0b"}), "/items/0/help/en", "one line"),
    "an unknown kind": (at_item(4, kind="date"), "/items/4/kind", "slider, rating, single"),
    "a key twice": (at_item(4, key="stress"), "/items/4/key", "key 'stress' already"),
    "a key with spaces": (at_item(4, key="how are you"), "/items/4/key", "letters, digits"),
    "a role twice": (at_item(3, role="stress"), "/items/3/role", "role stress already"),
    "a role of a text": (
        at_item(4, role="pain"),
        "/items/4/role",
        "Only a slider, rating or number",
    ),
    "a field of another kind": (
        at_item(4, minimum=0),
        "/items/4/minimum",
        "no field 'minimum' of a time item",
    ),
    "a slider to 10": (at_item(0, maximum=10), "/items/0/minimum", "runs from 0 to 100"),
    "five decimals": (at_item(0, decimals=5), "/items/0/decimals", "from 0 to 4"),
    "a rating without an end": (at_item(1, maximum=None), "/items/1/maximum", "whole number"),
    "a rating upside down": (
        at_item(1, minimum=9),
        "/items/1/minimum",
        "9 must be below the maximum 5",
    ),
    "a long rating": (at_item(1, maximum=99), "/items/1/maximum", "at most 21 points"),
    "a label off the rating": (
        at_item(1, options=[OPTION | {"value": 6}]),
        "/items/1/options/0/value",
        "no point from 1 to 5",
    ),
    "one choice": (at_item(2, options=[OPTION]), "/items/2/options", "2 to 100"),
    "a code twice": (at_item(2, options=[OPTION, OPTION]), "/items/2/options/1/value", "twice"),
    "a code that is true": (
        at_item(2, options=[OPTION, OPTION | {"value": True}]),
        "/items/2/options/1/value",
        "a whole number, or a word",
    ),
    "a code that could be a number": (
        at_item(2, options=[OPTION, OPTION | {"value": "2"}]),
        "/items/2/options/1/value",
        "that is no number",
    ),
    "a text without end": (at_item(6, max_length=0), "/items/6/max_length", "from 1 to 2000"),
    "a skip reason nobody knows": (
        at_item(0, skip_reasons=["never"]),
        "/items/0/skip_reasons/0",
        "'never' is not a skip reason",
    ),
    "a condition on what comes later": (
        at_item(0, show_if={"not": {"item": "event", "is": True}}),
        "/items/0/show_if/not",
        "'event' is not an item before this one",
    ),
}


@pytest.mark.parametrize(("change", "pointer", "sentence"), FAULTS.values(), ids=FAULTS)
def test_a_fault_is_named_with_its_place(change: Change, pointer: str, sentence: str) -> None:
    found = {fault.pointer: fault.detail for fault in checks.faults(changed(change))}
    assert sentence in found[pointer]
    assert all(detail.endswith((".", "}]", "].")) for detail in found.values())


def test_every_fault_of_a_file_is_named_at_once() -> None:
    document = changed(at_item(0, maximum=10))
    document["items"][4]["key"] = "a b"
    document["version"] = "1"
    pointers = [fault.pointer for fault in checks.faults(document)]
    assert pointers == ["/version", "/items/0/minimum", "/items/4/key"]


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.text(max_size=4) | st.just("slider"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["key", "kind", "items", "options", "value", "label", "en", "item"])
            | st.sampled_from([*checks.EVERY_ITEM, *checks.TOP, "minimum", "maximum"]),
            inner,
            max_size=5,
        )
    ),
    max_leaves=20,
)


@given(
    JSON,
    st.sampled_from([*checks.TOP, *checks.EVERY_ITEM, "options", "minimum"]),
    st.integers(0, 6),
)
def test_whatever_stands_in_a_file_is_checked_and_never_breaks(
    value: Any, name: str, number: int
) -> None:
    checks.faults(value)
    checks.faults(EVERY_KIND | {name: value})
    checks.faults(changed(at_item(number, **{name: value})))


# --- versions -----------------------------------------------------------------------------


def test_a_published_version_keeps_its_bytes(study: Study) -> None:
    version = brought_in(study, EVERY_KIND)
    studies.publish(version=version, now=timezone.now(), actor=audit.COMMAND)
    kept = QuestionnaireVersion.objects.get(pk=version.pk)
    digest = hashlib.sha256(kept.published_content.encode()).hexdigest()
    assert kept.sha256 == digest == kept.content_hash()
    assert kept.content() == json.loads(kept.published_content) == version.document()
    event = AuditEvent.objects.filter(action="questionnaire.published").latest("pk")
    assert event.after == {"sha256": digest}


def test_a_version_with_missing_texts_is_not_published(study: Study) -> None:
    document = changed(at_item(4, label={"en": "Woke?"}))
    document["items"][2]["options"][1]["label"] = {"pt-BR": "Dois"}
    document["items"][6]["label"] = {}
    version = brought_in(study, document)
    with pytest.raises(studies.NotReady) as refused:
        studies.publish(version=version, now=timezone.now(), actor=audit.COMMAND)
    assert "missing in en: choice 2 of company, label of note." in str(refused.value)
    assert "missing in pt-BR: label of woke, label of note." in str(refused.value)


def test_a_version_with_faults_is_not_published(study: Study) -> None:
    version = brought_in(study, EVERY_KIND)
    Item.objects.filter(version=version, key="drinks").update(show_if={"item": "gone", "is": 1})
    with pytest.raises(studies.NotReady, match="Item drinks: 'gone' is not an item before"):
        studies.publish(version=version, now=timezone.now(), actor=audit.COMMAND)


def test_a_copy_is_a_draft_with_the_next_number(study: Study) -> None:
    version = brought_in(study, EVERY_KIND)
    copied = drafts.copy(version=version, actor=audit.COMMAND)
    assert (copied.version, copied.published_at) == (4, None)
    assert copied.document() == version.document() | {"version": 4}
    assert AuditEvent.objects.filter(action="questionnaire.copied").count() == 1


def test_the_default_asks_what_the_study_needs(study: Study) -> None:
    version = drafts.start_from_default(study=study, actor=audit.COMMAND)
    assert (version.questionnaire.key, version.version) == ("hourly", 2)
    items = {item["key"]: item for item in version.document()["items"]}
    assert list(items) == [
        *("stress", "craving", "pain", "mood", "place", "company", "stressful_event"),
        "event_about",
    ]
    assert [items[key]["role"] for key in ("stress", "craving", "pain")] == list(trial.SLIDERS)
    assert version.languages == ["en", "de"]
    assert studies.publishing_problems(version) == []


# --- files --------------------------------------------------------------------------------


@pytest.mark.parametrize("document", [EVERY_KIND, default.document()], ids=["every", "default"])
@pytest.mark.parametrize("as_fhir", [False, True], ids=["own", "fhir"])
def test_a_file_comes_out_as_it_went_in(
    study: Study, document: dict[str, Any], as_fhir: bool
) -> None:
    first = drafts.bring_in(study=study, document=document, actor=audit.COMMAND, renumber=True)
    there = trial.make_study("other")
    there.questionnaires.filter(key="hourly").update(key="taken")
    text = carrying.exported(first, as_fhir=as_fhir)
    second = carrying.imported(
        study=there, content=text.encode(), as_fhir=as_fhir, renumber=False, actor=audit.COMMAND
    )
    assert carrying.exported(second, as_fhir=as_fhir) == text
    assert second.document() == first.document()
    assert second.content_hash() == first.content_hash()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b'{"key": 1,}', "not JSON"),
        (b'{"key": 1, "key": 2}', "'key' is in one object twice"),
        (b'{"version": NaN}', "NaN is not a number"),
        (b"[" * 100_000, "nested too deeply"),
        (b"[" * 60 + b"]" * 60, "nested too deeply"),
        (b" " * 1_000_001, "more than 1,000,000 bytes"),
        (b"7", "A questionnaire is an object"),
    ],
)
def test_a_file_that_is_none_is_refused_in_words(
    study: Study, content: bytes, sentence: str
) -> None:
    for as_fhir in (False, True):
        if sentence.startswith("A questionnaire") and as_fhir:
            sentence = "no FHIR Questionnaire"
        with pytest.raises(files.Refused, match=sentence):
            carrying.imported(
                study=study, content=content, as_fhir=as_fhir, renumber=False, actor=audit.COMMAND
            )


def run(*words: str) -> str:
    out = io.StringIO()
    call_command("questionnaire", *words, stdout=out, stderr=io.StringIO())
    return out.getvalue()


def test_the_command_brings_in_publishes_lists_and_writes(study: Study, tmp_path: Path) -> None:
    file, out = tmp_path / "every.json", tmp_path / "out.json"
    file.write_text(json.dumps(EVERY_KIND))
    assert run("import", "demo", str(file)) == "every v3 is a draft, with 7 items.\n"
    said = run("import", "demo", str(file), "--renumber", "--publish")
    published = QuestionnaireVersion.objects.get(questionnaire__key="every", version=4)
    assert said == f"every v4 is published under {published.sha256}, with 7 items.\n"
    assert f"every v4  7 items  en pt-BR  published {published.sha256}" in run("list", "demo")
    assert "every v3  7 items  en pt-BR  draft" in run("list", "demo")
    assert json.loads(run("export", "demo", "every"))["version"] == 4
    run("export", "demo", "every", "3", "--out", str(out))
    assert out.read_text() == run("export", "demo", "every", "3")
    fhir = json.loads(run("export", "demo", "every", "--fhir"))
    assert fhir["status"] == "active"
    assert AuditEvent.objects.filter(action="questionnaire.imported", door="command").count() == 2


def test_the_command_refuses_in_words(study: Study, tmp_path: Path) -> None:
    file = tmp_path / "every.json"
    file.write_text(json.dumps(changed(at_item(0, maximum=10)) | {"version": 0}))
    for words, code, sentence in (
        (["export", "demo", "none"], 2, "no questionnaire 'none'. There are: hourly"),
        (["export", "demo", "hourly", "9"], 2, "no version 9. There are: 1"),
        (["export", "nowhere", "hourly"], 2, "no study 'nowhere'"),
        (["import", "demo", str(tmp_path / "gone")], 2, "No such file"),
        (["export", "demo", "hourly", "--out", str(tmp_path)], 2, "Is a directory"),
        (["import", "demo", str(file)], 1, "/version: .*\n/items/0/minimum: A visual analogue"),
    ):
        with pytest.raises(CommandError, match=sentence) as refused:
            run(*words)
        assert refused.value.returncode == code


def test_what_cannot_be_published_is_not_brought_in(study: Study, tmp_path: Path) -> None:
    file = tmp_path / "every.json"
    file.write_text(json.dumps(changed(at_item(0, label={"en": "Stress?"}))))
    with pytest.raises(CommandError, match="Texts missing in pt-BR: label of stress"):
        run("import", "demo", str(file), "--publish")
    assert not QuestionnaireVersion.objects.filter(questionnaire__key="every").exists()


def test_a_number_that_is_there_is_not_written_over(study: Study) -> None:
    document = EVERY_KIND | {"key": "hourly", "version": 1}
    with pytest.raises(files.Refused, match=r"Version 1 of hourly is there already \(published\)"):
        brought_in(study, document)
    renumbered = drafts.bring_in(study=study, document=document, actor=audit.COMMAND, renumber=True)
    assert renumbered.version == 2
