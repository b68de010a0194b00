"""A participant, the codes that let a phone in, and the phones."""

import uuid
from datetime import datetime

from django.conf import settings
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from ema.models.study import Site, Study, refuse_unknown_zone

valid_code = RegexValidator(
    r"\A[^\W_][\w.-]*\Z",
    "Use letters, digits, dots, dashes and underscores; begin with a letter or digit.",
)


class ParticipantQuerySet(models.QuerySet["Participant"]):
    def active(self) -> "ParticipantQuerySet":
        return self.filter(withdrawn_at=None)


class Participant(models.Model):
    uuid = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="participants")
    site = models.ForeignKey(Site, on_delete=models.PROTECT, related_name="participants")
    code = models.CharField(
        max_length=40, validators=[valid_code], help_text="The pseudonym used in lists and tables."
    )
    zone = models.CharField(
        max_length=64,
        validators=[refuse_unknown_zone],
        help_text="IANA zone the participant lives in.",
    )
    windows = models.JSONField(
        null=True, blank=True, help_text="Own waking hours; empty means the phase's."
    )
    language = models.CharField(max_length=20, default="en")
    enrolled_at = models.DateTimeField()
    enrolled_on = models.DateField(help_text="Study day 1, in the participant's zone.")
    withdrawn_at = models.DateTimeField(null=True, blank=True)
    withdrawal_reason = models.CharField(max_length=200, blank=True)
    keep_data = models.BooleanField(
        null=True,
        blank=True,
        help_text="Whether the data may be kept, as said on withdrawing; empty: not said.",
    )

    objects = ParticipantQuerySet.as_manager()

    class Meta:
        ordering = ["study", "code"]
        constraints = [
            models.UniqueConstraint(
                fields=["study", "code"],
                name="participant_code_is_unique_in_its_study",
                violation_error_message="This study already has a participant with this code.",
            ),
            models.CheckConstraint(
                condition=Q(withdrawn_at__isnull=True) | Q(withdrawn_at__gte=F("enrolled_at")),
                name="participant_withdraws_after_enrolling",
            ),
            models.CheckConstraint(
                condition=Q(keep_data__isnull=True) | Q(withdrawn_at__isnull=False),
                name="who_says_whether_data_are_kept_has_withdrawn",
            ),
            models.CheckConstraint(condition=~Q(zone=""), name="participant_has_a_zone"),
        ]

    def __str__(self) -> str:
        return self.code


class EnrolmentCode(models.Model):
    """A single-use code; only its keyed hash is kept."""

    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="codes")
    code_hash = models.CharField(max_length=64, unique=True, editable=False)
    issued_at = models.DateTimeField()
    issued_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+"
    )
    expires_at = models.DateTimeField()
    redeemed_at = models.DateTimeField(null=True, blank=True)
    redeemed_by = models.UUIDField(null=True, blank=True, help_text="The app installation.")

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(expires_at__gt=F("issued_at")), name="code_expires_after_it_is_issued"
            ),
            models.CheckConstraint(
                condition=Q(redeemed_at__isnull=True) | Q(redeemed_at__lte=F("expires_at")),
                name="code_is_redeemed_before_it_expires",
            ),
            models.CheckConstraint(
                condition=Q(redeemed_at__isnull=True, redeemed_by__isnull=True)
                | Q(redeemed_at__isnull=False, redeemed_by__isnull=False),
                name="a_redeemed_code_names_its_installation",
            ),
        ]

    def __str__(self) -> str:
        return f"code for {self.participant}"


class DeviceQuerySet(models.QuerySet["Device"]):
    def active(self) -> "DeviceQuerySet":
        return self.filter(revoked_at=None, replaced_at=None)


class Device(models.Model):
    """A participant's phone. Tokens are kept as SHA-256 only; a replaced phone may still upload."""

    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="devices")
    installation = models.UUIDField(help_text="Made by the app when it is installed.")
    access_hash = models.CharField(max_length=64, unique=True, editable=False)
    access_expires_at = models.DateTimeField()
    enrolled_at = models.DateTimeField()
    replaced_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)
    app = models.CharField(max_length=60, blank=True)
    app_version = models.CharField(max_length=40, blank=True)
    platform = models.CharField(max_length=40, blank=True)
    schedule_rev = models.CharField(max_length=64, blank=True, help_text="Last schedule it loaded.")
    schedule_at = models.DateTimeField(null=True, blank=True)

    objects = DeviceQuerySet.as_manager()

    class Meta:
        constraints = [
            models.UniqueConstraint(
                fields=["participant"],
                condition=Q(replaced_at=None, revoked_at=None),
                name="a_participant_has_one_active_device",
            ),
            models.UniqueConstraint(
                fields=["id", "participant"], name="a_phone_is_of_one_participant"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.platform or 'phone'} of {self.participant}"


class RefreshToken(models.Model):
    """One link of a phone's chain of refresh tokens; `parent` is the one it was given for."""

    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="refresh_tokens")
    parent = models.ForeignKey(
        "self", null=True, on_delete=models.CASCADE, related_name="successors"
    )
    token_hash = models.CharField(max_length=64, unique=True, editable=False)
    expires_at = models.DateTimeField()
    spent_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"refresh token of {self.device}"

    def spend(self, now: datetime) -> None:
        """Use it up, and its siblings: of several replies to one request, one was received."""
        family = Q(pk=self.pk)
        if self.parent_id is not None:
            family |= Q(parent_id=self.parent_id)
        RefreshToken.objects.filter(family, spent_at=None).update(spent_at=now)


class PhoneEvent(models.Model):
    """What a phone reported of a prompt or of itself. Its id makes a retry harmless."""

    id = models.UUIDField(primary_key=True)
    device = models.ForeignKey(Device, on_delete=models.CASCADE, related_name="events")
    prompt = models.ForeignKey(
        "ema.Prompt", null=True, on_delete=models.CASCADE, related_name="events"
    )
    kind = models.CharField(max_length=30)
    detail = models.CharField(
        max_length=64, blank=True, db_default="", help_text="The new zone; allowed or denied."
    )
    at = models.DateTimeField()
    seq = models.BigIntegerField(null=True, help_text="The phone's running number.")
    received_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(prompt__isnull=False) | Q(kind__endswith="_changed"),
                name="an_event_of_a_prompt_names_it",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.detail or self.prompt_id or ''}"
