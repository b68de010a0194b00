"""The forms of a questionnaire version and its items: faults are said beside their fields."""

import re
from itertools import pairwise
from typing import Any

from django import forms

from ema.admin.text_fields import CodesField, ConditionField, OptionsField, TextsField
from ema.models import Item, QuestionnaireVersion
from ema.models.questionnaire import MOST_DECIMALS, OWN_FIELDS, Kind, document_of, first_language
from ema.questionnaires import checks

BY_LANGUAGE = "One line per language: en: …"
OF_SOME_KINDS = sorted({name for names in OWN_FIELDS.values() for name in names})
EMPTY: dict[str, Any] = {
    "minimum": None,
    "maximum": None,
    "decimals": 0,
    "max_length": None,
    "options": [],
}
ORDINARY = {"minimum": 0, "maximum": 100}  # what an empty form has; a kind without it drops it
LONGEST_TEXT = 255


class VersionForm(forms.ModelForm[QuestionnaireVersion]):
    languages = CodesField(
        required=True,
        initial=first_language,
        help_text="With spaces: en de. The first comes first.",
    )
    title = TextsField(help_text=f"What participants read above the first item. {BY_LANGUAGE}")
    skip_reasons = OptionsField(
        help_text="A line each: prefer_not_to_say | en: I prefer not to say | de: …"
    )

    class Meta:
        model = QuestionnaireVersion
        fields = ("questionnaire", "languages", "title", "skip_reasons")

    def _post_clean(self) -> None:
        """Say what is wrong with the version itself; its items speak for themselves."""
        super()._post_clean()  # type: ignore[misc]
        if self.errors:
            return
        for fault in checks.faults(document_of(self.instance, [])):
            name = fault.pointer.split("/")[1]
            if name in self.fields:
                self.add_error(name, _said(fault.detail, fault.pointer))


class ItemForm(forms.ModelForm[Item]):
    position = forms.IntegerField(
        required=False, min_value=1, max_value=1000, help_text="Empty: after the others."
    )
    label = TextsField(help_text=BY_LANGUAGE)
    help = TextsField(help_text=BY_LANGUAGE)
    recall = TextsField(help_text="E.g. en: in the past hour")
    decimals = forms.IntegerField(
        required=False,
        initial=0,
        min_value=0,
        max_value=MOST_DECIMALS,
        help_text="Digits after the point. 30.4 with one decimal is analysed as 304.",
    )
    low_label = TextsField(help_text=BY_LANGUAGE)
    high_label = TextsField(help_text=BY_LANGUAGE)
    unit = TextsField(help_text="Of a number. E.g. en: glasses")
    options = OptionsField(
        label="choices",
        help_text="A line each: home | en: At home | de: Zu Hause. Of a multiple choice, a code "
        "with ! excludes the others: nobody! | en: Nobody. Of a rating, labels of points: "
        "1 | en: Never",
    )
    skip_reasons = CodesField(
        help_text="Codes of this version's skip reasons that the item offers, with spaces."
    )
    show_if = ConditionField(
        help_text='Empty: always. E.g. {"item": "event", "is": true}, {"item": "stress", '
        '"at_least": 50}, {"all": [ … ]}, {"any": [ … ]}, {"not": … }.',
    )

    class Meta:
        model = Item
        fields = (
            *("position", "key", "kind", "role", "label", "recall", "help", "required"),
            *("minimum", "maximum", "decimals", "low_label", "high_label", "unit"),
            *("max_length", "options", "skip_reasons", "show_if"),
        )

    def clean_show_if(self) -> Any:
        return self.cleaned_data["show_if"] or {}

    def clean(self) -> dict[str, Any]:
        """Drop what every empty form has; refuse what was written for another kind."""
        cleaned = super().clean() or {}
        kind = cleaned.get("kind")
        if kind is None:
            return cleaned
        for name in OF_SOME_KINDS:
            if name in OWN_FIELDS[Kind(kind)]:
                continue
            value = cleaned.get(name)
            empty: Any = EMPTY.get(name, {})
            if value not in (None, empty, ORDINARY.get(name)):
                label = self.fields[name].label or name.replace("_", " ")
                self.add_error(name, f"A {kind} item has no {label}.")
            cleaned[name] = empty
        if kind == Kind.TEXT and cleaned.get("max_length") is None:
            cleaned["max_length"] = LONGEST_TEXT
        if cleaned.get("decimals") is None:
            cleaned["decimals"] = 0
        return cleaned

    def _get_validation_exclusions(self) -> set[str]:
        """Places may be exchanged within the form, and ranges are checked with their kind."""
        excluded: set[str] = super()._get_validation_exclusions()  # type: ignore[misc]
        return excluded | {"position", "minimum", "maximum"}


class ItemFormSet(forms.BaseInlineFormSet[Item, QuestionnaireVersion, ItemForm]):
    def clean(self) -> None:
        """Put the items in order, and say what is wrong with each beside its fields."""
        super().clean()
        kept = [form for form in self.forms if self._is_kept(form)]
        if any(form.errors for form in self.forms):
            return
        places = [form.cleaned_data["position"] for form in kept]
        last = max(filter(None, places), default=0)
        for form, position in zip(kept, places, strict=True):
            if position is None:
                last += 1
                form.instance.position = last
        kept.sort(key=lambda form: form.instance.position)
        _refuse_shared_places(kept)
        if kept and self.instance.questionnaire_id:
            self._say_faults(kept)

    def _is_kept(self, form: ItemForm) -> bool:
        cleaned = getattr(form, "cleaned_data", {})
        is_there = bool(form.initial) or form.has_changed()
        return is_there and bool(cleaned) and not cleaned.get("DELETE")

    def _say_faults(self, kept: list[ItemForm]) -> None:
        document = document_of(self.instance, [form.instance for form in kept])
        for fault in checks.faults(document):
            place = re.fullmatch(r"/items/(\d+)/?([^/]*)(.*)", fault.pointer)
            if place is None:
                continue  # of the version: its own form has said it
            form = kept[int(place[1])]
            name = place[2] if place[2] in form.fields else None
            form.add_error(name, _said(fault.detail, f"/{place[2]}{place[3]}"))


def _refuse_shared_places(kept: list[ItemForm]) -> None:
    for one, other in pairwise(kept):
        if one.instance.position == other.instance.position:
            other.add_error("position", f"Item {one.instance.key} has this place already.")


def _said(detail: str, pointer: str) -> str:
    """A fault beside its field; where it is in lines or conditions, with what it is about."""
    inside = pointer.split("/", 2)[2:]
    return f"{detail} (at {inside[0]})" if inside else detail
