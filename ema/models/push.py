"""Where a phone takes messages: at its push service, by e-mail or by SMS."""

from django.db import models
from django.db.models import F, Q

from ema.models.participant import Device


class PushKind(models.TextChoices):
    WEBPUSH = "webpush", "Web Push"
    FCM = "fcm", "Firebase Cloud Messaging"
    APNS = "apns", "Apple Push Notification service"
    EMAIL = "email", "e-mail with a link"
    SMS = "sms", "SMS with a link"


class PushRegistrationQuerySet(models.QuerySet["PushRegistration"]):
    def live(self) -> "PushRegistrationQuerySet":
        """Not dead, of a phone that is neither replaced nor revoked."""
        return self.filter(died_at=None, device__replaced_at=None, device__revoked_at=None)


class PushRegistration(models.Model):
    """A phone has one. It is dead from `died_at` on: the push service no longer knows it."""

    device = models.OneToOneField(Device, on_delete=models.CASCADE, related_name="push")
    kind = models.CharField(max_length=10, choices=PushKind)
    address = models.CharField(
        max_length=2000, help_text="An endpoint, a token, an e-mail address or a number."
    )
    keys = models.JSONField(default=dict, blank=True, help_text="Web Push: p256dh and auth.")
    registered_at = models.DateTimeField()
    died_at = models.DateTimeField(null=True, blank=True)
    death = models.CharField(max_length=300, blank=True, help_text="What the push service said.")

    objects = PushRegistrationQuerySet.as_manager()

    class Meta:
        ordering = ["-registered_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=PushKind.values),
                name="a_push_registration_is_of_a_known_kind",
            ),
            models.CheckConstraint(
                condition=~Q(address=""), name="a_push_registration_has_an_address"
            ),
            models.CheckConstraint(
                condition=~Q(kind="webpush") | Q(keys__has_keys=["p256dh", "auth"]),
                name="a_web_push_registration_has_its_keys",
            ),
            models.CheckConstraint(
                condition=Q(died_at__isnull=True, death="")
                | (Q(died_at__isnull=False) & ~Q(death="")),
                name="a_dead_push_registration_says_why",
            ),
            models.CheckConstraint(
                condition=Q(died_at__isnull=True) | Q(died_at__gte=F("registered_at")),
                name="a_push_registration_dies_after_it_was_made",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} of {self.device}"
