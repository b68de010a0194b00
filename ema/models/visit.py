"""Visits, and the dates on which phases begin for a participant."""

from django.db import models
from django.db.models import Q

from ema.models.participant import Participant
from ema.models.study import Phase


class Visit(models.Model):
    """A visit that took place, under a key that phases may start at: `discharge`, `week-12`."""

    participant = models.ForeignKey(Participant, on_delete=models.PROTECT, related_name="visits")
    key = models.SlugField(max_length=40)
    on_date = models.DateField(help_text="In the participant's zone.")
    recorded_at = models.DateTimeField()

    class Meta:
        ordering = ["participant", "on_date"]
        constraints = [
            models.UniqueConstraint(
                fields=["participant", "key"],
                name="a_visit_takes_place_once",
                violation_error_message="This visit of the participant is recorded already.",
            ),
            models.CheckConstraint(condition=~Q(key=""), name="a_visit_has_a_key"),
        ]

    def __str__(self) -> str:
        return f"{self.key} on {self.on_date}"


class PhaseStart(models.Model):
    """The date on which a phase begins for a participant; written when it comes into sight.

    From then on it stands, whatever becomes of other phases.
    """

    participant = models.ForeignKey(
        Participant, on_delete=models.PROTECT, related_name="phase_starts"
    )
    phase = models.ForeignKey(Phase, on_delete=models.PROTECT, related_name="starts_of")
    begins_on = models.DateField(help_text="In the participant's zone.")
    known_at = models.DateTimeField(help_text="Prompts due before this are not sent.")

    class Meta:
        ordering = ["participant", "begins_on"]
        constraints = [
            models.UniqueConstraint(
                fields=["participant", "phase"], name="a_phase_begins_once_for_a_participant"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.phase} from {self.begins_on}"
