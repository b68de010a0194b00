"""Who did what, when, to what, and why. Append-only: the database refuses UPDATE and DELETE."""

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from ema.models.study import Site, Study


class AuditEvent(models.Model):
    at = models.DateTimeField(db_default=Now())
    study = models.ForeignKey(Study, null=True, on_delete=models.PROTECT, related_name="audit")
    site = models.ForeignKey(
        Site, null=True, on_delete=models.PROTECT, related_name="+", help_text="A participant's."
    )
    is_closed = models.BooleanField(default=False, help_text="Says something that depends on arms.")
    actor = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    door = models.CharField(max_length=60, help_text="Where it came from: admin, command, api …")
    action = models.CharField(max_length=60, help_text="E.g. participant.enrolled.")
    subject = models.CharField(max_length=100, help_text="E.g. participant S1-004.")
    before = models.JSONField(null=True)
    after = models.JSONField(null=True)
    reason = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering = ["-id"]
        indexes = [models.Index(fields=["study", "at"], name="audit_by_study_and_time")]

    def __str__(self) -> str:
        return f"{self.action} {self.subject}"
