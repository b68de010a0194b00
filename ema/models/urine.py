"""Scheduled urine tests: a missed one counts as a lapse."""

from django.db import models
from django.db.models import Q

from ema.models.participant import Participant


class UrineResult(models.TextChoices):
    NEGATIVE = "negative", "opioid negative"
    POSITIVE = "positive", "opioid positive"
    MISSED = "missed", "missed"


class UrineTestQuerySet(models.QuerySet["UrineTest"]):
    def open(self) -> "UrineTestQuerySet":
        """Tests without a result."""
        return self.filter(result="")


class UrineTest(models.Model):
    participant = models.ForeignKey(
        Participant, on_delete=models.PROTECT, related_name="urine_tests"
    )
    due_on = models.DateField()
    collected_on = models.DateField(null=True, blank=True)
    result = models.CharField(
        max_length=10, choices=UrineResult, blank=True, help_text="Empty: open."
    )
    recorded_at = models.DateTimeField(null=True, blank=True)

    objects = UrineTestQuerySet.as_manager()

    class Meta:
        ordering = ["participant", "due_on"]
        constraints = [
            models.UniqueConstraint(
                fields=["participant", "due_on"], name="one_urine_test_is_due_on_a_day"
            ),
            models.CheckConstraint(
                condition=Q(result__in=["", "missed"], collected_on__isnull=True)
                | Q(result__in=["negative", "positive"], collected_on__isnull=False),
                name="a_urine_result_has_its_collection_date",
                violation_error_message="A result has its collection date; a missed test has none.",
            ),
            models.CheckConstraint(
                condition=Q(result="", recorded_at__isnull=True)
                | (~Q(result="") & Q(recorded_at__isnull=False)),
                name="a_urine_result_says_when_it_was_recorded",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.due_on} {self.result or 'open'}"

    @property
    def is_lapse(self) -> bool:
        return self.result in (UrineResult.POSITIVE, UrineResult.MISSED)
