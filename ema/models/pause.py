"""Pauses: stretches of time in which a participant is not asked."""

from datetime import datetime

from django.db import models
from django.db.models import F, Q

from ema.models.participant import Participant


class PauseKind(models.TextChoices):
    PAUSE = "pause", "pause"
    HOSPITAL = "hospital", "hospital stay"


class PauseQuerySet(models.QuerySet["Pause"]):
    def open(self, now: datetime) -> "PauseQuerySet":
        """Begun or announced, and not ended."""
        return self.filter(Q(ends_at=None) | Q(ends_at__gt=now))


class Pause(models.Model):
    """`ends_at` is empty until it is known."""

    participant = models.ForeignKey(Participant, on_delete=models.PROTECT, related_name="pauses")
    kind = models.CharField(max_length=10, choices=PauseKind, default=PauseKind.PAUSE)
    begins_at = models.DateTimeField()
    ends_at = models.DateTimeField(null=True, blank=True, help_text="Empty: until resumed.")
    reason = models.CharField(max_length=200, blank=True)

    objects = PauseQuerySet.as_manager()

    class Meta:
        ordering = ["participant", "begins_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=PauseKind.values), name="pause_is_of_a_known_kind"
            ),
            models.CheckConstraint(
                condition=Q(ends_at__isnull=True) | Q(ends_at__gte=F("begins_at")),
                name="a_pause_ends_after_it_begins",
                violation_error_message="A pause ends after it begins.",
            ),
            models.UniqueConstraint(
                fields=["participant"],
                condition=Q(ends_at=None),
                name="a_participant_has_one_open_pause",
                violation_error_message="This participant is paused already: resume first.",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()} from {self.begins_at:%Y-%m-%d %H:%M}"
