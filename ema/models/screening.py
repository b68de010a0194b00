"""The screening log: who was considered for the trial, before anybody is a participant."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from ema.models.participant import valid_code
from ema.models.study import Site, Study


class Outcome(models.TextChoices):
    ELIGIBLE = "eligible", "eligible"
    NOT_ELIGIBLE = "not_eligible", "does not meet the criteria"
    DECLINED = "declined", "declined to take part"
    OTHER = "other", "other reason"


class ScreeningQuerySet(models.QuerySet["Screening"]):
    def excluded(self) -> "ScreeningQuerySet":
        return self.exclude(outcome=Outcome.ELIGIBLE)


class Screening(models.Model):
    """Somebody who was screened, under a number that names nobody."""

    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="screenings")
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="screenings")
    number = models.CharField(
        max_length=40, validators=[valid_code], help_text="Of the screening log; names nobody."
    )
    screened_on = models.DateField()
    outcome = models.CharField(max_length=20, choices=Outcome)
    reason = models.CharField(
        max_length=100, blank=True, help_text="Why excluded, in the words to be counted by."
    )
    recorded_at = models.DateTimeField()
    recorded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )

    objects = ScreeningQuerySet.as_manager()

    class Meta:
        ordering = ["study", "number"]
        constraints = [
            models.UniqueConstraint(
                fields=["study", "number"], name="screening_number_is_unique_in_its_study"
            ),
            models.CheckConstraint(
                condition=Q(outcome__in=Outcome.values), name="screening_outcome_is_a_known_one"
            ),
            models.CheckConstraint(
                condition=(Q(outcome="eligible") & Q(reason=""))
                | (~Q(outcome="eligible") & ~Q(reason="")),
                name="whoever_is_excluded_has_a_reason",
                violation_error_message="Say why somebody is excluded; nothing of the eligible.",
            ),
        ]

    def __str__(self) -> str:
        return self.number
