"""Which version of the consent form a participant agreed to, and when."""

from django.conf import settings
from django.db import models
from django.db.models import Q

from ema.models.participant import Participant


class Consent(models.Model):
    """Consent to one version of the form; a later version is one more."""

    participant = models.ForeignKey(Participant, on_delete=models.PROTECT, related_name="consents")
    version = models.CharField(max_length=40, help_text="Of the consent form: 2.0, 2026-03.")
    given_on = models.DateField(help_text="In the participant's zone.")
    recorded_at = models.DateTimeField()
    recorded_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        ordering = ["participant", "given_on"]
        constraints = [
            models.UniqueConstraint(
                fields=["participant", "version"],
                name="consent_to_a_version_is_given_once",
                violation_error_message="Consent to this version is recorded already.",
            ),
            models.CheckConstraint(condition=~Q(version=""), name="consent_names_its_version"),
        ]

    def __str__(self) -> str:
        return f"{self.version} on {self.given_on}"
