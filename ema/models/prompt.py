"""A prompt: one random signal. Its state is derived from the instants of its ledger."""

from datetime import datetime

from django.contrib.postgres.functions import RandomUUID
from django.db import models
from django.db.models import F, Q

from ema.models.participant import Participant
from ema.models.questionnaire import QuestionnaireVersion
from ema.models.study import Phase


class CancelReason(models.TextChoices):
    BEFORE_ENROLMENT = "before_enrolment", "due before the participant enrolled that day"
    BEFORE_START = "before_start", "due before it was known that the phase begins"
    WITHDRAWN = "withdrawn", "the participant withdrew"
    PAUSED = "paused", "the participant paused"
    SUPERSEDED = "superseded", "another schedule took its place"
    OVERLAP_AFTER_TRAVEL = "overlap_after_travel", "before the day before had ended elsewhere"


class Undelivered(models.TextChoices):
    NO_DEVICE = "no_device", "the participant had no phone"
    CHANNEL_FAILED = "channel_failed", "the channel refused or failed"
    SYSTEM = "system", "the scheduler did not run in time"
    NOT_NEEDED = "not_needed", "it was answered, though nothing was sent for it"


class PromptQuerySet(models.QuerySet["Prompt"]):
    def standing(self) -> "PromptQuerySet":
        """Not cancelled."""
        return self.filter(cancelled_at=None)

    def due(self, now: datetime) -> "PromptQuerySet":
        """Standing, due and not yet expired."""
        return self.standing().filter(due_at__lte=now, expires_at__gt=now)


class Prompt(models.Model):
    id = models.UUIDField(primary_key=True, db_default=RandomUUID(), editable=False)
    participant = models.ForeignKey(Participant, on_delete=models.PROTECT, related_name="prompts")
    phase = models.ForeignKey(
        Phase, on_delete=models.PROTECT, related_name="prompts", db_index=False
    )
    questionnaire = models.ForeignKey(
        QuestionnaireVersion, on_delete=models.PROTECT, related_name="prompts", db_index=False
    )
    study_on = models.DateField(help_text="Local date on which the day's window starts.")
    study_day = models.PositiveSmallIntegerField(help_text="1 is the day of enrolment.")
    ordinal = models.PositiveSmallIntegerField(help_text="1, 2, … within the study day.")
    due_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    zone = models.CharField(max_length=64)
    tzdata = models.CharField(max_length=16, help_text="Version of the zone data used.")
    gap_relaxed = models.BooleanField(default=False)
    inclusion_probability = models.FloatField(
        null=True, blank=True, help_text="Prompts expected in any minute of the day's windows."
    )
    planned_at = models.DateTimeField()
    released_at = models.DateTimeField(null=True, blank=True)
    armed_at = models.DateTimeField(null=True, blank=True)
    sent_at = models.DateTimeField(null=True, blank=True)
    shown_at = models.DateTimeField(null=True, blank=True)
    opened_at = models.DateTimeField(null=True, blank=True)
    answered_at = models.DateTimeField(null=True, blank=True)
    cancelled_at = models.DateTimeField(null=True, blank=True)
    cancel_reason = models.CharField(max_length=20, choices=CancelReason, blank=True)
    undelivered = models.CharField(max_length=20, choices=Undelivered, blank=True)

    objects = PromptQuerySet.as_manager()

    class Meta:
        ordering = ["participant", "due_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["participant", "phase", "study_on", "ordinal"],
                condition=~Q(cancel_reason="superseded"),
                name="a_prompt_is_planned_once",
            ),
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("due_at")), name="prompt_expires_after_it_is_due"
            ),
            models.CheckConstraint(
                condition=Q(cancelled_at__isnull=True, cancel_reason="")
                | (Q(cancelled_at__isnull=False) & ~Q(cancel_reason="")),
                name="a_cancelled_prompt_has_a_reason",
            ),
            models.CheckConstraint(
                condition=Q(ordinal__gte=1, study_day__gte=1), name="prompt_is_numbered_from_one"
            ),
        ]
        # No index names answered_at, shown_at and the like, and pages are left half empty
        # (migration 0011): then what a phone reports moves no row and touches no index.
        indexes = [
            models.Index(fields=["due_at"], name="prompts_by_time"),
            models.Index(
                fields=["due_at"],
                condition=Q(cancelled_at=None, armed_at=None, sent_at=None, undelivered=""),
                name="prompts_waiting_for_delivery",
            ),
            models.Index(
                fields=["expires_at"],
                condition=Q(cancelled_at=None, armed_at=None, sent_at__isnull=False),
                name="prompts_that_may_be_reminded",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.study_on} #{self.ordinal}"
