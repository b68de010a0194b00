"""Changes of a participant's zone or waking hours, and from which study day they hold."""

from django.db import models
from django.db.models import F, Q

from ema.models.participant import Participant


class ScheduleChange(models.Model):
    """What holds from `effective_on`, and what held before. The planner writes the last two."""

    participant = models.ForeignKey(
        Participant, on_delete=models.PROTECT, related_name="schedule_changes"
    )
    zone_before = models.CharField(max_length=64, editable=False)
    zone = models.CharField(max_length=64, help_text="IANA zone, such as Europe/Brussels.")
    windows_before = models.JSONField(null=True, blank=True, editable=False)
    windows = models.JSONField(null=True, blank=True, help_text="Own waking hours, if any.")
    reported_at = models.DateTimeField()
    effective_on = models.DateField(help_text="The first study day that had not begun.")
    holds_from = models.DateField(
        null=True, blank=True, help_text="The first day that no phone had yet."
    )
    quiet_until = models.DateTimeField(
        null=True, blank=True, help_text="Prompts due before this would come too soon."
    )

    class Meta:
        ordering = ["participant", "reported_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(holds_from__isnull=True) | Q(holds_from__gte=F("effective_on")),
                name="a_change_holds_from_its_effective_date_or_later",
            ),
        ]
        indexes = [
            models.Index(
                fields=["participant"],
                condition=Q(holds_from=None),
                name="changes_to_take_up",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.zone} from {self.effective_on}"
