"""A sealed allocation list: each slot is spent once. Read only through `ema.access`."""

from django.db import models
from django.db.models import Q

from ema.models.participant import Participant
from ema.models.study import Arm, Study


class Allocation(models.Model):
    """One slot of a stratum's list; `participant` is set when the slot is spent."""

    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="allocations")
    stratum = models.CharField(max_length=100, blank=True, help_text="Usually the site's code.")
    position = models.PositiveIntegerField()
    arm = models.ForeignKey(Arm, on_delete=models.PROTECT, related_name="allocations")
    participant = models.OneToOneField(
        Participant, null=True, blank=True, on_delete=models.PROTECT, related_name="allocation"
    )
    allocated_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["study", "stratum", "position"], name="an_allocation_slot_has_its_own_place"
            ),
            models.CheckConstraint(
                condition=Q(participant__isnull=True, allocated_at__isnull=True)
                | Q(participant__isnull=False, allocated_at__isnull=False),
                name="a_spent_slot_says_when_it_was_spent",
            ),
        ]

    def __str__(self) -> str:
        return f"slot {self.position} of {self.stratum or self.study}"
