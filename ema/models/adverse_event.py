"""Adverse events: what happened to a participant, how severe, and how related to the treatment."""

import uuid

from django.db import models
from django.db.models import F, Q

from ema.models.participant import Participant


class Severity(models.TextChoices):
    MILD = "mild", "mild"
    MODERATE = "moderate", "moderate"
    SEVERE = "severe", "severe"
    LIFE_THREATENING = "life_threatening", "life-threatening"
    FATAL = "fatal", "fatal"


class Relatedness(models.TextChoices):
    UNRELATED = "unrelated", "unrelated"
    UNLIKELY = "unlikely", "unlikely"
    POSSIBLE = "possible", "possible"
    PROBABLE = "probable", "probable"
    DEFINITE = "definite", "definite"


class EventOutcome(models.TextChoices):
    RECOVERED = "recovered", "recovered"
    RECOVERING = "recovering", "recovering"
    NOT_RECOVERED = "not_recovered", "not recovered"
    SEQUELAE = "recovered_with_sequelae", "recovered with sequelae"
    FATAL = "fatal", "fatal"
    UNKNOWN = "unknown", "unknown"


class ActionTaken(models.TextChoices):
    NONE = "none", "none: the dose stayed as it was"
    REDUCED = "dose_reduced", "the dose was reduced"
    INTERRUPTED = "interrupted", "the treatment was interrupted"
    STOPPED = "stopped", "the treatment was stopped"
    NOT_APPLICABLE = "not_applicable", "not applicable"
    UNKNOWN = "unknown", "unknown"


SERIOUS = (Severity.LIFE_THREATENING.value, Severity.FATAL.value)
"""Severities that make an event serious whatever else is said of it."""


class AdverseEventQuerySet(models.QuerySet["AdverseEvent"]):
    def standing(self) -> "AdverseEventQuerySet":
        """Without those that were entered in error."""
        return self.filter(struck_at=None)


class AdverseEvent(models.Model):
    """Corrections keep what was in the audit trail; an event is struck out, never deleted."""

    key = models.UUIDField(
        unique=True,
        default=uuid.uuid4,
        editable=False,
        help_text="Who sends a form twice adds one event.",
    )
    participant = models.ForeignKey(
        Participant, on_delete=models.PROTECT, related_name="adverse_events"
    )
    term = models.CharField(
        max_length=200, help_text="In a few words: headache, fall from a ladder."
    )
    severity = models.CharField(max_length=20, choices=Severity)
    is_serious = models.BooleanField(
        default=False,
        verbose_name="serious",
        help_text="Death, danger to life, hospital, lasting disability or a birth defect.",
    )
    relatedness = models.CharField(
        max_length=20,
        choices=Relatedness,
        help_text="To the treatment, as the investigator judges.",
    )
    started_on = models.DateField()
    ended_on = models.DateField(null=True, blank=True, help_text="Empty: it goes on.")
    outcome = models.CharField(max_length=30, choices=EventOutcome, default=EventOutcome.UNKNOWN)
    action_taken = models.CharField(max_length=20, choices=ActionTaken, default=ActionTaken.UNKNOWN)
    description = models.TextField(max_length=4000, blank=True)
    reported_at = models.DateTimeField()
    corrected_at = models.DateTimeField(null=True, blank=True)
    struck_at = models.DateTimeField(
        null=True, blank=True, help_text="Entered in error: counted nowhere since."
    )

    objects = AdverseEventQuerySet.as_manager()

    class Meta:
        ordering = ["-started_on", "-pk"]
        constraints = [
            models.CheckConstraint(condition=~Q(term=""), name="an_adverse_event_has_a_term"),
            models.CheckConstraint(
                condition=Q(severity__in=Severity.values)
                & Q(relatedness__in=Relatedness.values)
                & Q(outcome__in=EventOutcome.values)
                & Q(action_taken__in=ActionTaken.values),
                name="an_adverse_event_is_graded_by_known_words",
            ),
            models.CheckConstraint(
                condition=Q(ended_on__isnull=True) | Q(ended_on__gte=F("started_on")),
                name="an_adverse_event_ends_after_it_starts",
                violation_error_message="An event ends on the day it starts or later.",
            ),
            models.CheckConstraint(
                condition=~Q(severity__in=SERIOUS) | Q(is_serious=True),
                name="a_life_threatening_event_is_serious",
                violation_error_message="A life-threatening or fatal event is serious: tick it.",
            ),
            models.CheckConstraint(
                condition=Q(severity="fatal", outcome="fatal")
                | (~Q(severity="fatal") & ~Q(outcome="fatal")),
                name="a_fatal_event_has_a_fatal_outcome",
                violation_error_message="Severity and outcome say both fatal, or neither does.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.term} ({self.severity})"
