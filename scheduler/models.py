"""Attempts to reach a phone: an outbox that is claimed by lease."""

from datetime import datetime

from django.db import models
from django.db.models import F, Q

from ema.models import Prompt


class DeliveryKind(models.TextChoices):
    PROMPT = "prompt", "the prompt itself"
    REMINDER = "reminder", "a reminder"


class DeliveryQuerySet(models.QuerySet["Delivery"]):
    def open(self) -> "DeliveryQuerySet":
        return self.filter(sent_at=None, failed_at=None)

    def claimable(self, now: datetime) -> "DeliveryQuerySet":
        """Open, due, not expired, and leased to nobody."""
        return self.open().filter(
            Q(lease_until=None) | Q(lease_until__lt=now),
            next_attempt_at__lte=now,
            expires_at__gt=now,
        )


class Delivery(models.Model):
    """One prompt on one channel. `lease_until` belongs to whoever is sending it now."""

    prompt = models.ForeignKey(Prompt, on_delete=models.PROTECT, related_name="deliveries")
    channel = models.CharField(max_length=20)
    kind = models.CharField(max_length=10, choices=DeliveryKind, default=DeliveryKind.PROMPT)
    due_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    next_attempt_at = models.DateTimeField()
    lease_until = models.DateTimeField(null=True, blank=True)
    attempts = models.PositiveSmallIntegerField(default=0)
    sent_at = models.DateTimeField(null=True, blank=True)
    failed_at = models.DateTimeField(null=True, blank=True)
    failure = models.CharField(max_length=300, blank=True)

    objects = DeliveryQuerySet.as_manager()

    class Meta:
        verbose_name_plural = "deliveries"
        ordering = ["due_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["prompt", "kind", "channel", "due_at"],
                name="a_prompt_is_sent_once_on_a_channel",
            ),
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("due_at")), name="delivery_expires_after_it_is_due"
            ),
            models.CheckConstraint(
                condition=Q(sent_at__isnull=True) | Q(failed_at__isnull=True),
                name="a_delivery_is_sent_or_failed_not_both",
            ),
            models.CheckConstraint(
                condition=Q(sent_at__isnull=True) | Q(sent_at__lt=F("expires_at")),
                name="nothing_is_sent_after_it_expired",
            ),
            models.CheckConstraint(
                condition=Q(failed_at__isnull=True, failure="")
                | (Q(failed_at__isnull=False) & ~Q(failure="")),
                name="a_failed_delivery_says_why",
            ),
        ]
        indexes = [
            models.Index(
                fields=["next_attempt_at"],
                condition=Q(sent_at=None, failed_at=None),
                name="deliveries_waiting",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} by {self.channel}"
