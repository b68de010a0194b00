"""Questionnaires: published versions are immutable; items with a role feed the analysis."""

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import F, Q

from ema import branching
from ema.models.study import Study

FORMAT = "fourbeat-questionnaire/1"
MOST_DECIMALS = 4


def first_language() -> list[str]:
    return ["en"]


def canonical(content: dict[str, Any]) -> str:
    """The text that is hashed: sorted keys, no spaces."""
    return json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class Questionnaire(models.Model):
    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="questionnaires")
    key = models.SlugField(max_length=40)
    title = models.CharField(max_length=200)

    class Meta:
        ordering = ["study", "key"]
        constraints = [
            models.UniqueConstraint(
                fields=["study", "key"], name="questionnaire_key_is_unique_in_its_study"
            )
        ]

    def __str__(self) -> str:
        return self.key


class QuestionnaireVersionQuerySet(models.QuerySet["QuestionnaireVersion"]):
    def published(self) -> "QuestionnaireVersionQuerySet":
        return self.filter(published_at__isnull=False)


class QuestionnaireVersion(models.Model):
    """A draft, or published: then `published_content` is what phones are given, for good."""

    questionnaire = models.ForeignKey(
        Questionnaire, on_delete=models.PROTECT, related_name="versions"
    )
    version = models.PositiveSmallIntegerField(default=1)
    title = models.JSONField(
        default=dict, blank=True, help_text="What participants read above the first item."
    )
    languages = models.JSONField(
        default=first_language, help_text="The first is shown where a phone has none of them."
    )
    skip_reasons = models.JSONField(
        default=list, blank=True, help_text="Reasons to skip an item, for items that allow them."
    )
    published_at = models.DateTimeField(null=True, blank=True, editable=False)
    published_content = models.TextField(blank=True, editable=False)
    sha256 = models.CharField(max_length=64, blank=True, editable=False)

    objects = QuestionnaireVersionQuerySet.as_manager()

    class Meta:
        ordering = ["questionnaire", "version"]
        constraints = [
            models.UniqueConstraint(
                fields=["questionnaire", "version"], name="questionnaire_version_is_unique"
            ),
            models.CheckConstraint(
                condition=Q(published_at__isnull=True) | ~Q(sha256=""),
                name="a_published_questionnaire_is_hashed",
            ),
            models.CheckConstraint(
                condition=Q(published_at__isnull=True) | ~Q(published_content=""),
                name="a_published_questionnaire_keeps_its_content",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.questionnaire} v{self.version}"

    def content(self) -> dict[str, Any]:
        """What a phone shows; once published, the same for good."""
        if self.published_content:
            published: dict[str, Any] = json.loads(self.published_content)
            return published
        return self.document()

    def document(self) -> dict[str, Any]:
        """The version as its rows have it: what is published, exported and imported."""
        return document_of(self, self.items.order_by("position"))

    def content_hash(self) -> str:
        text = self.published_content or canonical(self.document())
        return hashlib.sha256(text.encode()).hexdigest()


def document_of(version: QuestionnaireVersion, items: Iterable["Item"]) -> dict[str, Any]:
    """A version and its items, saved or not, as a document in a fixed order."""
    return {
        "format": FORMAT,
        "key": version.questionnaire.key,
        "version": version.version,
        "languages": version.languages,
        "title": _in_order(version.title, version.languages),
        "skip_reasons": _options(version.skip_reasons, version.languages),
        "items": [item.content(version.languages) for item in items],
    }


def _in_order(texts: Any, languages: list[str]) -> Any:
    """Texts in the order of the languages, whatever order the database keeps keys in."""
    if not isinstance(texts, dict):
        return texts  # a draft may hold anything; what is wrong is said when it is checked
    ordered = {language: texts[language] for language in languages if language in texts}
    return {**ordered, **texts}


def _options(options: Any, languages: list[str]) -> Any:
    return [_option(each, languages) for each in options] if isinstance(options, list) else options


def _option(option: Any, languages: list[str]) -> Any:
    if not isinstance(option, dict) or not {"value", "label"} <= set(option):
        return option
    ordered = {"value": option["value"], "label": _in_order(option["label"], languages)}
    exclusive = {"exclusive": True} if option.get("exclusive") is True else {}
    others = {k: v for k, v in option.items() if k not in ("value", "label", "exclusive")}
    return {**ordered, **exclusive, **others}


class Kind(models.TextChoices):
    SLIDER = "slider", "visual analogue slider"
    RATING = "rating", "rating (Likert or numeric)"
    SINGLE = "single", "single choice"
    MULTIPLE = "multiple", "multiple choice"
    YES_NO = "yes_no", "yes or no"
    NUMBER = "number", "number"
    TIME = "time", "time of day"
    TEXT = "text", "short text"


TEXTS = ("label", "help", "recall", "low_label", "high_label", "unit")
OWN_FIELDS: dict[Kind, tuple[str, ...]] = {  # of a kind of item, beside those that every item has
    Kind.SLIDER: ("minimum", "maximum", "decimals", "low_label", "high_label"),
    Kind.RATING: ("minimum", "maximum", "low_label", "high_label", "options"),
    Kind.SINGLE: ("options",),
    Kind.MULTIPLE: ("options",),
    Kind.YES_NO: (),
    Kind.NUMBER: ("minimum", "maximum", "decimals", "unit"),
    Kind.TIME: (),
    Kind.TEXT: ("max_length",),
}


class AnalysisRole(models.TextChoices):
    NONE = "", "none"
    STRESS = "stress", "stress (the predictor)"
    CRAVING = "craving", "craving (the outcome)"
    PAIN = "pain", "pain"


class Item(models.Model):
    version = models.ForeignKey(
        QuestionnaireVersion, on_delete=models.CASCADE, related_name="items"
    )
    key = models.SlugField(max_length=40)
    position = models.PositiveSmallIntegerField()
    kind = models.CharField(max_length=20, choices=Kind, default=Kind.SLIDER)
    role = models.CharField(max_length=10, choices=AnalysisRole, blank=True, default="")
    label = models.JSONField(default=dict)
    help = models.JSONField(default=dict, blank=True)
    minimum = models.IntegerField(null=True, blank=True, default=0)
    maximum = models.IntegerField(null=True, blank=True, default=100)
    decimals = models.PositiveSmallIntegerField(
        default=0,
        validators=[MaxValueValidator(MOST_DECIMALS)],
        help_text="Digits after the point. 30.4 with one decimal is stored as 304.",
    )
    low_label = models.JSONField(default=dict, blank=True)
    high_label = models.JSONField(default=dict, blank=True)
    unit = models.JSONField(default=dict, blank=True)
    max_length = models.PositiveSmallIntegerField(
        null=True, blank=True, help_text="Characters of a short text."
    )
    options = models.JSONField(default=list, blank=True)
    show_if = models.JSONField(
        default=dict, blank=True, help_text='{} is always. E.g. {"item": "event", "is": true}.'
    )
    recall = models.JSONField(default=dict, blank=True, help_text="E.g. in the past hour.")
    required = models.BooleanField(default=True)
    skip_reasons = models.JSONField(default=list, blank=True)

    class Meta:
        ordering = ["version", "position"]
        constraints = [
            models.UniqueConstraint(
                fields=["version", "key"], name="item_key_is_unique_in_version"
            ),
            models.UniqueConstraint(
                fields=["version", "position"],
                name="item_position_is_unique_in_version",
                deferrable=models.Deferrable.DEFERRED,  # items change places
            ),
            models.CheckConstraint(condition=Q(kind__in=Kind.values), name="item_kind_is_known"),
            models.UniqueConstraint(
                fields=["version", "role"],
                condition=~Q(role=""),
                name="one_item_of_a_version_has_an_analysis_role",
                violation_error_message="Another item of this version already has this role.",
            ),
            models.CheckConstraint(
                condition=Q(decimals__lte=MOST_DECIMALS), name="item_has_at_most_four_decimals"
            ),
            models.CheckConstraint(
                condition=Q(minimum__isnull=True)
                | Q(maximum__isnull=True)
                | Q(minimum__lt=F("maximum")),
                name="item_minimum_is_below_its_maximum",
            ),
            models.CheckConstraint(
                condition=Q(role="") | Q(kind__in=["slider", "rating", "number"]),
                name="an_analysed_item_is_numeric",
                violation_error_message="Only a slider, rating or number can be analysed.",
            ),
        ]

    def __str__(self) -> str:
        return self.key

    def content(self, languages: list[str]) -> dict[str, Any]:
        """The item as a phone shows it: only the fields that its kind has."""
        own = {name: getattr(self, name) for name in OWN_FIELDS[Kind(self.kind)]}
        every = {
            "key": self.key,
            "kind": str(self.kind),
            "role": str(self.role),
            "label": self.label,
            "help": self.help,
            "recall": self.recall,
            "required": self.required,
            "skip_reasons": self.skip_reasons,
            "show_if": branching.normal(self.show_if)
            if branching.is_readable(self.show_if)
            else self.show_if,
            **own,
        }
        if "options" in every:
            every["options"] = _options(self.options, languages)
        texts = (name for name in TEXTS if name in every)
        return every | {name: _in_order(every[name], languages) for name in texts}
