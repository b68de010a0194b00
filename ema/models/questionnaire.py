"""Questionnaires: published versions are immutable; items with a role feed the analysis."""

import hashlib
import json
from typing import Any

from django.core.validators import MaxValueValidator
from django.db import models
from django.db.models import F, Q

from ema.models.study import Study

MOST_DECIMALS = 4


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
    questionnaire = models.ForeignKey(
        Questionnaire, on_delete=models.PROTECT, related_name="versions"
    )
    version = models.PositiveSmallIntegerField(default=1)
    published_at = models.DateTimeField(null=True, blank=True, editable=False)
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
        ]

    def __str__(self) -> str:
        return f"{self.questionnaire} v{self.version}"

    def content(self) -> dict[str, Any]:
        """What a phone shows: `{key, version, items: […]}`, the same for the same version."""
        return {
            "key": self.questionnaire.key,
            "version": self.version,
            "items": [item.content() for item in self.items.order_by("position")],
        }

    def content_hash(self) -> str:
        text = json.dumps(self.content(), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        return hashlib.sha256(text.encode()).hexdigest()


class Kind(models.TextChoices):
    SLIDER = "slider", "visual analogue slider"
    RATING = "rating", "rating (Likert or numeric)"
    SINGLE = "single", "single choice"
    MULTIPLE = "multiple", "multiple choice"
    YES_NO = "yes_no", "yes or no"
    NUMBER = "number", "number"
    TIME = "time", "time of day"
    TEXT = "text", "short text"


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
    label = models.JSONField(default=dict, help_text='By language: {"en": "…"}.')
    minimum = models.IntegerField(null=True, blank=True, default=0)
    maximum = models.IntegerField(null=True, blank=True, default=100)
    decimals = models.PositiveSmallIntegerField(
        default=0,
        validators=[MaxValueValidator(MOST_DECIMALS)],
        help_text="Digits after the point. 30.4 with one decimal is stored as 304.",
    )
    options = models.JSONField(default=list, blank=True, help_text='[{"value": 1, "label": {…}}]')
    show_if = models.JSONField(default=dict, blank=True, help_text='{"item": "…", "equals": 1}')
    recall = models.CharField(max_length=100, blank=True, help_text="E.g. in the past hour.")
    required = models.BooleanField(default=True)

    class Meta:
        ordering = ["version", "position"]
        constraints = [
            models.UniqueConstraint(
                fields=["version", "key"], name="item_key_is_unique_in_version"
            ),
            models.UniqueConstraint(
                fields=["version", "position"], name="item_position_is_unique_in_version"
            ),
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

    def content(self) -> dict[str, Any]:
        return {
            "key": self.key,
            "kind": self.kind,
            "label": self.label,
            "minimum": self.minimum,
            "maximum": self.maximum,
            "decimals": self.decimals,
            "options": self.options,
            "show_if": self.show_if,
            "recall": self.recall,
            "required": self.required,
        }
