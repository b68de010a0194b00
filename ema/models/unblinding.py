"""Who learned an arm before the end, and how the blind of a study is broken by two persons."""

from django.conf import settings
from django.db import models
from django.db.models import F, Q

from ema.models.participant import Participant
from ema.models.study import Study

USER = settings.AUTH_USER_MODEL


class EmergencyUnblinding(models.Model):
    """One participant's arm was told to one person. The arm stands in the closed audit event."""

    participant = models.ForeignKey(
        Participant, on_delete=models.PROTECT, related_name="unblindings"
    )
    by = models.ForeignKey(USER, on_delete=models.PROTECT, related_name="+")
    at = models.DateTimeField()
    reason = models.CharField(max_length=500)

    class Meta:
        ordering = ["-at"]
        constraints = [
            models.CheckConstraint(condition=~Q(reason=""), name="an_unblinding_has_a_reason"),
        ]

    def __str__(self) -> str:
        return f"unblinding of {self.participant}"


class TrialUnblindingQuerySet(models.QuerySet["TrialUnblinding"]):
    def standing(self) -> "TrialUnblindingQuerySet":
        """Proposed and neither withdrawn nor confirmed."""
        return self.filter(withdrawn_at=None, confirmed_at=None)


class TrialUnblinding(models.Model):
    """One person proposes to break the blind of a locked study, another one confirms."""

    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="unblindings")
    proposed_by = models.ForeignKey(USER, on_delete=models.PROTECT, related_name="+")
    proposed_at = models.DateTimeField()
    proposal_reason = models.CharField(max_length=500)
    confirmed_by = models.ForeignKey(USER, null=True, on_delete=models.PROTECT, related_name="+")
    confirmed_at = models.DateTimeField(null=True)
    confirmation_reason = models.CharField(max_length=500, blank=True)
    withdrawn_at = models.DateTimeField(null=True)

    objects = TrialUnblindingQuerySet.as_manager()

    class Meta:
        ordering = ["-proposed_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(confirmed_by__isnull=True) | ~Q(confirmed_by=F("proposed_by")),
                name="two_different_persons_unblind_a_study",
                violation_error_message="Somebody else than who proposed it must confirm.",
            ),
            models.CheckConstraint(
                condition=Q(
                    confirmed_by__isnull=True, confirmed_at__isnull=True, confirmation_reason=""
                )
                | (
                    Q(confirmed_by__isnull=False, confirmed_at__isnull=False)
                    & ~Q(confirmation_reason="")
                ),
                name="an_unblinding_is_confirmed_with_a_reason",
            ),
            models.CheckConstraint(
                condition=~Q(proposal_reason=""), name="an_unblinding_is_proposed_with_a_reason"
            ),
            models.CheckConstraint(
                condition=Q(confirmed_at__isnull=True) | Q(withdrawn_at__isnull=True),
                name="an_unblinding_is_confirmed_or_withdrawn",
            ),
            models.UniqueConstraint(
                fields=["study"],
                condition=Q(withdrawn_at=None),
                name="a_study_has_one_proposal_to_unblind_it",
                violation_error_message="The unblinding of this study is proposed already.",
            ),
        ]

    def __str__(self) -> str:
        return f"unblinding of study {self.study}"
