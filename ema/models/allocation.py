"""Sealed allocation lists: each slot is spent once. Read only through `ema.access`."""

import secrets

from django.conf import settings
from django.db import models
from django.db.models import Q

from ema.models.participant import Participant
from ema.models.study import Arm, Study


def new_nonce() -> bytes:
    """256 random bits, so that a commitment cannot be searched for its list."""
    return secrets.token_bytes(32)


class Source(models.TextChoices):
    GENERATED = "generated", "generated here"
    UPLOADED = "uploaded", "uploaded as a file"


class AllocationList(models.Model):
    """Slots that were sealed at once. Its commitment, in the audit trail, holds it to them."""

    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="allocation_lists")
    made_at = models.DateTimeField()
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    source = models.CharField(max_length=20, choices=Source)
    metadata = models.JSONField(help_text="Closed: block sizes help to guess.")
    nonce = models.BinaryField(default=new_nonce, editable=False, max_length=32)
    commitment = models.CharField(max_length=64, unique=True, help_text="SHA-256, see ema.sealing.")

    class Meta:
        ordering = ["study", "id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(source__in=Source.values),
                name="an_allocation_list_is_generated_or_uploaded",
            ),
        ]

    def __str__(self) -> str:
        return f"allocation list {self.pk} of {self.study}"


class AllocationQuerySet(models.QuerySet["Allocation"]):
    def sealed(self) -> "AllocationQuerySet":
        """Of a list: others were written down with what happened elsewhere."""
        return self.filter(allocation_list__isnull=False)

    def free(self) -> "AllocationQuerySet":
        return self.sealed().filter(participant=None)


class Allocation(models.Model):
    """One slot of a stratum's list; `participant` is set when the slot is spent."""

    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="allocations")
    allocation_list = models.ForeignKey(
        AllocationList, null=True, blank=True, on_delete=models.PROTECT, related_name="slots"
    )
    stratum = models.CharField(
        max_length=100, blank=True, help_text="The site's code, and factors: S1/sex=female."
    )
    position = models.PositiveIntegerField()
    arm = models.ForeignKey(Arm, on_delete=models.PROTECT, related_name="allocations")
    kit_code = models.CharField(
        max_length=40, blank=True, help_text="What the pharmacy hands out; it tells nothing."
    )
    participant = models.OneToOneField(
        Participant, null=True, blank=True, on_delete=models.PROTECT, related_name="allocation"
    )
    allocated_at = models.DateTimeField(null=True, blank=True)
    in_error_at = models.DateTimeField(
        null=True, blank=True, help_text="Randomised in error; analysed as allocated all the same."
    )
    in_error_reason = models.CharField(max_length=500, blank=True)

    objects = AllocationQuerySet.as_manager()

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
            models.UniqueConstraint(
                fields=["study", "kit_code"],
                condition=~Q(kit_code=""),
                name="a_kit_is_handed_out_once",
            ),
            models.CheckConstraint(
                condition=Q(in_error_at__isnull=True, in_error_reason="")
                | (
                    Q(participant__isnull=False, in_error_at__isnull=False) & ~Q(in_error_reason="")
                ),
                name="who_was_randomised_in_error_has_a_slot_and_a_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"slot {self.position} of {self.stratum or self.study}"


class Eligibility(models.Model):
    """What was confirmed of a participant before the slot was opened."""

    participant = models.OneToOneField(
        Participant, on_delete=models.PROTECT, related_name="eligibility"
    )
    factors = models.JSONField(default=dict, blank=True, help_text='{"sex": "female"}')
    consent_version = models.CharField(max_length=40, help_text="Of the consent form.")
    consented_on = models.DateField(help_text="In the participant's zone.")
    confirmed_at = models.DateTimeField(help_text="When eligibility was confirmed.")
    confirmed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        verbose_name_plural = "eligibility"
        constraints = [
            models.CheckConstraint(
                condition=~Q(consent_version=""), name="consent_is_to_a_version_of_the_form"
            ),
        ]

    def __str__(self) -> str:
        return f"eligibility of {self.participant}"
