"""Results that two people enter, each by themselves, before they stand."""

import uuid

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from ema.models.adverse_event import AdverseEvent
from ema.models.participant import Participant
from ema.models.urine import UrineTest

USER = settings.AUTH_USER_MODEL


class DoubleEntryQuerySet(models.QuerySet["DoubleEntry"]):
    def waiting(self) -> "DoubleEntryQuerySet":
        """For a second entry, or for a decision."""
        return self.filter(settled_at=None, withdrawn_at=None)

    def entered_once(self) -> "DoubleEntryQuerySet":
        return self.waiting().filter(second_by=None)

    def differing(self) -> "DoubleEntryQuerySet":
        return self.waiting().exclude(second_by=None)


class DoubleEntry(models.Model):
    """A urine result or an adverse event as two people entered it, and what stands since.

    A first entry that was wrong is withdrawn, never changed. Without a urine test it is an event.
    """

    key = models.UUIDField(
        unique=True,
        default=uuid.uuid4,
        editable=False,
        help_text="Who sends a form twice makes one entry; the event that stands has it too.",
    )
    participant = models.ForeignKey(
        Participant, on_delete=models.PROTECT, related_name="double_entries"
    )
    urine_test = models.ForeignKey(
        UrineTest, null=True, on_delete=models.PROTECT, related_name="double_entries"
    )
    adverse_event = models.OneToOneField(
        AdverseEvent, null=True, on_delete=models.PROTECT, related_name="double_entry"
    )
    first_said = models.JSONField()
    first_by = models.ForeignKey(USER, on_delete=models.PROTECT, related_name="+")
    first_at = models.DateTimeField()
    second_said = models.JSONField(null=True)
    second_by = models.ForeignKey(USER, null=True, on_delete=models.PROTECT, related_name="+")
    second_at = models.DateTimeField(null=True)
    settled_said = models.JSONField(null=True)
    settled_at = models.DateTimeField(null=True)
    decided_by = models.ForeignKey(USER, null=True, on_delete=models.PROTECT, related_name="+")
    reason = models.CharField(max_length=500, blank=True, help_text="Of a decision.")
    withdrawn_at = models.DateTimeField(null=True)

    objects = DoubleEntryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "double entries"
        ordering = ["first_at", "pk"]
        indexes = [
            models.Index(
                fields=["participant"],
                condition=Q(settled_at=None, withdrawn_at=None),
                name="double_entries_that_wait",
            )
        ]
        constraints = [
            models.UniqueConstraint(
                fields=["urine_test"],
                condition=Q(settled_at=None, withdrawn_at=None),
                name="one_pair_of_entries_waits_for_a_urine_test",
            ),
            models.CheckConstraint(
                condition=Q(second_by__isnull=True) | ~Q(second_by=F("first_by")),
                name="two_different_persons_enter_a_result",
                violation_error_message="Somebody else than who entered it first enters it again.",
            ),
            models.CheckConstraint(
                condition=Q(
                    second_by__isnull=True, second_at__isnull=True, second_said__isnull=True
                )
                | Q(second_by__isnull=False, second_at__isnull=False, second_said__isnull=False),
                name="a_second_entry_has_its_person_and_time",
            ),
            models.CheckConstraint(
                condition=Q(settled_at__isnull=True, settled_said__isnull=True)
                | Q(settled_at__isnull=False, settled_said__isnull=False, second_by__isnull=False),
                name="a_result_is_settled_after_two_entries",
            ),
            models.CheckConstraint(
                condition=Q(decided_by__isnull=True, reason="")
                | (Q(decided_by__isnull=False, settled_at__isnull=False) & ~Q(reason="")),
                name="a_decision_between_entries_has_a_reason",
            ),
            models.CheckConstraint(
                condition=Q(withdrawn_at__isnull=True) | Q(second_by__isnull=True),
                name="only_a_first_entry_is_withdrawn",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.what} of {self.participant}"

    @property
    def what(self) -> str:
        """What was entered, without what was said of it."""
        return f"urine test of {self.urine_test.due_on}" if self.urine_test else "adverse event"

    @property
    def state(self) -> str:
        if self.withdrawn_at:
            return "withdrawn"
        if self.settled_at:
            return "decided" if self.decided_by_id else "agreed"
        return "entries differ" if self.second_by_id else "entered once"
