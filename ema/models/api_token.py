"""Keys by which an operator's programs prove themselves; only their hashes are kept."""

from datetime import datetime

from django.conf import settings
from django.db import models
from django.db.models import F, Q


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    def live(self, now: datetime) -> "ApiTokenQuerySet":
        """Neither expired nor revoked, of somebody who may still sign in."""
        return self.filter(expires_at__gt=now, revoked_at=None, user__is_active=True)


class ApiToken(models.Model):
    user = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="api_tokens"
    )
    name = models.CharField(max_length=60, help_text="What it is for: nightly report.")
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    made_at = models.DateTimeField()
    expires_at = models.DateTimeField()
    revoked_at = models.DateTimeField(null=True, blank=True)

    objects = ApiTokenQuerySet.as_manager()

    class Meta:
        ordering = ["-made_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("made_at")),
                name="an_api_token_expires_after_it_was_made",
            ),
            models.CheckConstraint(condition=~Q(name=""), name="an_api_token_has_a_name"),
        ]

    def __str__(self) -> str:
        return self.name
