"""Questionnaires through the admin's door: edit, preview, publish, copy, carry."""

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client
from django.utils import timezone

from ema import audit, studies
from ema.models import AuditEvent, Questionnaire, QuestionnaireVersion, Study
from ema.questionnaires import default, drafts, files
from tests.ema.test_admin import page, sign_in
from tests.ema.test_questionnaires import EVERY_KIND

pytestmark = pytest.mark.django_db

LIST = "/admin/ema/questionnaireversion/"


@pytest.fixture
def root(study: Study) -> Client:
    return sign_in("root")


@pytest.fixture
def draft(study: Study) -> QuestionnaireVersion:
    return drafts.bring_in(study=study, document=EVERY_KIND, actor=audit.COMMAND)


def at(version: QuestionnaireVersion, name: str = "change") -> str:
    return f"{LIST}{version.pk}/{name}/"


def form_of(client: Client, version: QuestionnaireVersion) -> dict[str, Any]:
    """What the browser would send back unchanged."""
    context = client.get(at(version)).context
    found: dict[str, Any] = {}
    for form in (context["adminform"].form, *context["inline_admin_formsets"][0].formset.forms):
        for field in form:
            value = field.value()
            if value is True:
                found[field.html_name] = "on"
            elif value is not None and value is not False:
                found[field.html_name] = value
    management = context["inline_admin_formsets"][0].formset.management_form
    return found | {field.html_name: field.value() for field in management}


def save(client: Client, version: QuestionnaireVersion, **changes: Any) -> str:
    sent = form_of(client, version) | changes
    return page(client.post(at(version), sent, follow=True))


def test_saving_a_draft_unchanged_changes_nothing(
    root: Client, draft: QuestionnaireVersion
) -> None:
    before = draft.document()
    assert "was changed successfully" in save(root, draft)
    draft.refresh_from_db()
    assert draft.document() == before
    assert not AuditEvent.objects.filter(action="questionnaire.changed").exists()


def test_a_new_draft_is_written_in_the_form(root: Client, study: Study) -> None:
    form = Questionnaire.objects.create(study=study, key="evening", title="Evening")
    sent = {
        "questionnaire": form.pk,
        "languages": "en de",
        "title": "en: Tonight\nde: Heute Abend",
        "skip_reasons": "later | en: Later | de: Später",
        "items-TOTAL_FORMS": 3,
        "items-INITIAL_FORMS": 0,
        "items-0-key": "company",
        "items-0-kind": "multiple",
        "items-0-label": "en: Who is with you?\nde: Wer ist bei Ihnen?",
        "items-0-options": "nobody! | en: Nobody | de: Niemand\n2 | en: Two: or more | de: Zwei",
        "items-0-skip_reasons": "later",
        "items-0-minimum": "0",
        "items-0-maximum": "100",
        "items-1-key": "note",
        "items-1-kind": "text",
        "items-1-label": "en: What else?",
        "items-1-show_if": '{"not": {"item": "company", "includes": "nobody"}}',
        "items-2-kind": "slider",
        "items-2-minimum": "0",
        "items-2-maximum": "100",
        "items-2-decimals": "0",
        "items-2-required": "on",
    }
    page(root.post(f"{LIST}add/", sent, follow=True))
    version = QuestionnaireVersion.objects.get(questionnaire=form)
    company, note = version.document()["items"]
    assert version.version == 1
    assert version.title == {"en": "Tonight", "de": "Heute Abend"}
    assert company["options"] == [
        {"value": "nobody", "label": {"en": "Nobody", "de": "Niemand"}, "exclusive": True},
        {"value": 2, "label": {"en": "Two: or more", "de": "Zwei"}},
    ]
    assert (note["max_length"], note["required"]) == (255, False)
    assert AuditEvent.objects.get(action="questionnaire.added").after == version.document()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"languages": ""}, "This field is required"),
        ({"languages": "english"}, "A language is a tag such as en"),
        ({"title": "Hello"}, "“Hello” names no language: write en: and the text after it"),
        ({"title": "fr: Bonjour"}, "Language fr is not among the languages"),
        ({"skip_reasons": "a b | en: x\na b | en: y"}, "The code a b is there twice"),
        ({"items-0-label": "en: a\nen: b"}, "Language en is there twice"),
        ({"items-0-maximum": "10"}, "runs from 0 to 100"),
        ({"items-0-options": "a | en: A"}, "A slider item has no choices"),
        ({"items-1-minimum": "6"}, "The minimum 6 must be below the maximum 5"),
        ({"items-2-options": "a | en: A\na | en: B"}, "The code a is there twice. (at 1/value)"),
        ({"items-3-show_if": "{"}, "Enter a valid JSON"),
        ({"items-3-show_if": '{"item": "note", "answered": true}'}, "not an item before this"),
        ({"items-3-show_if": '{"all": [{"item": "event"}]}'}, "(at all/0)"),
        ({"items-3-skip_reasons": "never"}, "is not a skip reason of the questionnaire"),
        ({"items-4-role": "pain"}, "Only a slider, rating or number can be analysed"),
        ({"items-4-position": "1"}, "Item stress has this place already"),
        ({"items-6-max_length": "9999"}, "from 1 to 2000"),
    ],
)
def test_a_fault_is_said_beside_its_field(
    root: Client, draft: QuestionnaireVersion, changes: dict[str, str], sentence: str
) -> None:
    before = draft.document()
    said = save(root, draft, **changes).replace("&#x27;", "'").replace("&quot;", '"')
    assert sentence in said
    assert "was changed successfully" not in said
    assert QuestionnaireVersion.objects.get(pk=draft.pk).document() == before


def test_items_change_places_and_leave(root: Client, draft: QuestionnaireVersion) -> None:
    changes = {"items-0-position": "2", "items-1-position": "1", "items-6-DELETE": "on"}
    save(root, draft, **changes)
    keys = [item["key"] for item in draft.document()["items"]]
    assert keys == ["craving", "stress", "company", "drinks", "woke", "event"]
    event = AuditEvent.objects.get(action="questionnaire.changed")
    assert event.before
    assert len(event.before["items"]) == 7
    assert (event.door, str(event.actor)) == ("admin", "root")


def test_publishing_asks_first_and_says_what_is_missing(
    root: Client, draft: QuestionnaireVersion
) -> None:
    save(root, draft, **{"items-4-label": "en: Woke?"})
    refused = page(root.post(at(draft, "publish"), follow=True))
    assert "Texts missing in pt-BR: label of woke." in refused
    assert "<button" not in refused.split('id="content"')[1]
    save(root, draft, **{"items-4-label": "en: Woke?\npt-BR: Acordou?"})
    assert "never changes again" in page(root.get(at(draft, "publish")))
    draft.refresh_from_db()
    assert draft.published_at is None
    assert "is published under" in page(root.post(at(draft, "publish"), follow=True))
    draft.refresh_from_db()
    assert draft.sha256 == draft.content_hash()
    assert "is published already" in page(root.post(at(draft, "publish"), follow=True))
    shown = page(root.get(at(draft)))
    assert 'name="_save"' not in shown
    assert at(draft, "publish") not in shown
    assert root.post(at(draft), form_of(root, draft)).status_code == 403
    assert root.post(at(draft, "delete"), {"post": "yes"}).status_code == 403


def test_a_copy_and_the_default_become_drafts(root: Client, study: Study) -> None:
    published = QuestionnaireVersion.objects.get()
    assert "stays as it is" in page(root.get(at(published, "copy")))
    assert "ourly v2 is a draft" in page(root.post(at(published, "copy"), follow=True))
    said = page(root.post(f"{LIST}default/", {"study": study.pk}, follow=True))
    assert "ourly v3 is a draft in study demo" in said
    newest = QuestionnaireVersion.objects.get(version=3)
    assert len(newest.document()["items"]) == len(default.document()["items"])
    assert root.post(f"{LIST}default/", {"study": ""}).status_code == 404


def test_a_draft_may_be_deleted_and_leaves_its_event(
    root: Client, draft: QuestionnaireVersion
) -> None:
    document = draft.document()
    page(root.post(at(draft, "delete"), {"post": "yes"}, follow=True))
    assert not QuestionnaireVersion.objects.filter(pk=draft.pk).exists()
    assert AuditEvent.objects.get(action="questionnaire.removed").before == document


@pytest.mark.parametrize("file_format", ["json", "fhir"])
def test_an_export_can_be_imported(
    root: Client, study: Study, draft: QuestionnaireVersion, file_format: str
) -> None:
    answer = root.get(at(draft, f"export/{file_format}"))
    ending = "fhir.json" if file_format == "fhir" else "json"
    assert answer["Content-Disposition"] == f'attachment; filename="every_v3.{ending}"'
    sent = {
        "study": study.pk,
        "file": SimpleUploadedFile("any.json", answer.content),
        "is_fhir": "on" if file_format == "fhir" else "",
        "renumber": "on",
    }
    assert "very v4 is a draft." in page(root.post(f"{LIST}import/", sent, follow=True))
    imported = QuestionnaireVersion.objects.get(version=4)
    assert imported.document() == draft.document() | {"version": 4}


def test_an_import_with_faults_names_them_all(
    root: Client, study: Study, draft: QuestionnaireVersion
) -> None:
    broken = EVERY_KIND | {"version": 0, "languages": ["en", "pt-BR", "en"]}
    for content, sentences in (
        (files.written(broken).encode(), ["/version</code>: A version is", "/languages/2</code>"]),
        (b"{", ["is not JSON"]),
        (json.dumps(EVERY_KIND).encode(), ["Version 3 of every is there already (a draft)"]),
    ):
        sent = {"study": study.pk, "file": SimpleUploadedFile("any.json", content)}
        said = page(root.post(f"{LIST}import/", sent))
        assert [s for s in sentences if s not in said] == []
    assert QuestionnaireVersion.objects.count() == 2


def test_what_fhir_cannot_carry_is_said(root: Client, draft: QuestionnaireVersion) -> None:
    draft.items.filter(key="note").update(show_if={"not": {"item": "event", "is": True}})
    said = page(root.get(at(draft, "export/fhir"), follow=True))
    assert "/items/6/show_if FHIR cannot say this condition" in said


def test_the_preview_holds_the_content_and_no_inline_script(
    root: Client, draft: QuestionnaireVersion
) -> None:
    answer = root.get(at(draft, "preview"))
    shown = page(answer)
    start = shown.index(">", shown.index('id="questionnaire"')) + 1
    assert json.loads(shown[start : shown.index("</script>", start)]) == draft.document()
    assert "script-src 'self';" in answer["Content-Security-Policy"]


@pytest.mark.parametrize("role", ["coordinator", "investigator", "statistician"])
def test_only_who_sets_up_the_study_reaches_questionnaires(
    study: Study, draft: QuestionnaireVersion, role: str
) -> None:
    client = sign_in(role, study, role)
    own = ["preview", "publish", "copy", "export/json", "export/fhir", "change"]
    paths = [LIST, f"{LIST}import/", f"{LIST}default/", *(at(draft, name) for name in own)]
    for path in paths:
        assert client.get(path).status_code == 403, path
        assert client.post(path, {"study": study.pk}).status_code == 403, path
    assert QuestionnaireVersion.objects.count() == 2


def test_nobody_signed_in_reaches_the_preview(draft: QuestionnaireVersion) -> None:
    assert Client().get(at(draft, "preview")).status_code == 302


def test_a_broken_draft_can_still_be_opened_and_says_why_it_is_not_published(
    root: Client, draft: QuestionnaireVersion
) -> None:
    draft.items.filter(key="company").update(options=[1], label=["x"], show_if=[7])
    assert "A condition is an object" in page(root.get(at(draft, "publish")))
    page(root.get(at(draft, "preview")))
    page(root.get(at(draft)))
    assert "was not copied" in page(root.post(at(draft, "copy"), follow=True))
    with pytest.raises(studies.NotReady):
        studies.publish(version=draft, now=timezone.now(), actor=audit.COMMAND)


def test_the_documented_default_is_the_file() -> None:
    file = Path(default.__file__).with_name("default.json")
    assert files.read(file.read_bytes()) == default.document()
