"""What a person answered, kept as sent; and what could not be read, kept too."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from ema.models.participant import Device, Participant
from ema.models.prompt import Prompt
from ema.models.questionnaire import QuestionnaireVersion


class Trigger(models.TextChoices):
    RANDOM = "random", "a random prompt"
    SELF_INITIATED = "self_initiated", "the participant's own report"


class Flag(models.TextChoices):
    AFTER_EXPIRY = "after_expiry", "completed after the prompt expired"
    LATE_START = "late_start", "begun after the prompt expired"
    BEFORE_DUE = "before_due", "completed before the prompt was due"
    OUTSIDE_WINDOW = "outside_window", "completed outside the participant's waking hours"
    OVER_DAILY_CAP = "over_daily_cap", "an own report beyond those that the phase has a day"
    CLOCK_SKEW = "clock_skew", "the phone's clock was more than two minutes off"
    FUTURE = "future", "completed in the future even after clock correction"
    CLOCK_JUMP = "clock_jump", "the phone's clock and its uptime disagree by more than two minutes"
    BACKDATED = "backdated", "completed later, by the phone's uptime, than it says"
    DUPLICATE_PROMPT = "duplicate_prompt", "the prompt already had a response"
    UNKNOWN_PROMPT = "unknown_prompt", "no such prompt of this participant"
    OLD_QUESTIONNAIRE = "old_questionnaire", "another version than the prompt's"
    TZ_OFFSET_MISMATCH = "tz_offset_mismatch", "the stated UTC offset does not fit the stated zone"
    AFTER_WITHDRAWAL = "after_withdrawal", "completed after the participant withdrew"
    FROM_REPLACED_DEVICE = "from_replaced_device", "sent by a phone that was replaced"
    OUT_OF_RANGE = "out_of_range", "a value outside its item's range"
    TOO_FAST = "too_fast", "answered in less than a fifth of a second an item"
    RELEASED = "released_from_quarantine", "released from quarantine by a coordinator"


class Response(models.Model):
    """`answers` is complete, as sent; stress, craving and pain repeat the items with those roles.

    They are integers in the item's own decimals (30.4 with one decimal is 304), so sums are exact.
    """

    id = models.UUIDField(primary_key=True, help_text="Made by the phone: the key to exactly once.")
    # One constraint for both, in the migration: the phone is the participant's own.
    participant = models.ForeignKey(
        Participant, on_delete=models.PROTECT, related_name="responses", db_constraint=False
    )
    device = models.ForeignKey(
        Device,
        on_delete=models.PROTECT,
        related_name="responses",
        db_index=False,
        db_constraint=False,
    )
    prompt = models.ForeignKey(
        Prompt, null=True, blank=True, on_delete=models.PROTECT, related_name="responses"
    )
    questionnaire = models.ForeignKey(
        QuestionnaireVersion, on_delete=models.PROTECT, related_name="responses", db_index=False
    )
    trigger = models.CharField(max_length=20, choices=Trigger)
    shown_at = models.DateTimeField(null=True, blank=True)
    started_at = models.DateTimeField(null=True, blank=True)
    completed_at = models.DateTimeField(help_text="By the phone's clock.")
    completed_at_corrected = models.DateTimeField(help_text="By the server's clock.")
    received_at = models.DateTimeField(db_default=Now())
    zone = models.CharField(max_length=64, blank=True, help_text="As the phone sent it.")
    utc_offset_min = models.SmallIntegerField(null=True, blank=True)
    monotonic_ms = models.BigIntegerField(null=True, blank=True)
    seq = models.BigIntegerField(null=True, blank=True, help_text="The phone's running number.")
    language = models.CharField(max_length=20, blank=True)
    schedule_rev = models.CharField(max_length=64, blank=True)
    answers = models.JSONField()
    stress = models.IntegerField(null=True, blank=True)
    craving = models.IntegerField(null=True, blank=True)
    pain = models.IntegerField(null=True, blank=True)
    flags = ArrayField(models.CharField(max_length=30), default=list, blank=True)
    content_sha256 = models.BinaryField(max_length=32, editable=False)

    class Meta:
        ordering = ["participant", "completed_at_corrected"]
        constraints = [
            models.CheckConstraint(
                condition=Q(trigger="random", prompt__isnull=False)
                | Q(trigger="self_initiated")
                | Q(flags__contains=["unknown_prompt"]),
                name="a_random_response_has_its_prompt",
            ),
        ]
        indexes = [
            models.Index(fields=["received_at"], name="responses_by_arrival"),
        ]

    def __str__(self) -> str:
        return f"response {self.id}"


class Quarantine(models.Model):
    """An item that could not be stored as a response: raw, with the reason, for the coordinator."""

    device = models.ForeignKey(Device, on_delete=models.PROTECT, related_name="quarantined")
    participant = models.ForeignKey(
        Participant, on_delete=models.PROTECT, related_name="quarantined"
    )
    raw = models.JSONField(help_text="The item exactly as sent.")
    reason = models.CharField(max_length=20, help_text="broken or conflict")
    errors = models.JSONField(default=list, help_text='[{"pointer": "/answers/0", "detail": "…"}]')
    content_sha256 = models.BinaryField(max_length=32, editable=False)
    received_at = models.DateTimeField(db_default=Now())
    resolved_at = models.DateTimeField(null=True, blank=True)
    resolution = models.CharField(max_length=200, blank=True, help_text="Why, in words.")
    response = models.OneToOneField(
        Response,
        null=True,
        blank=True,
        on_delete=models.PROTECT,
        related_name="released_from",
        help_text="What it was released as; none when it was discarded.",
    )

    class Meta:
        verbose_name_plural = "quarantine"
        ordering = ["-received_at"]
        constraints = [
            models.UniqueConstraint(
                fields=["device", "content_sha256"], name="an_item_is_quarantined_once"
            ),
            models.CheckConstraint(
                condition=Q(resolved_at__isnull=True) | Q(resolved_at__gte=F("received_at")),
                name="quarantine_is_resolved_after_it_arrived",
            ),
            models.CheckConstraint(
                condition=Q(resolved_at__isnull=True, resolution="", response=None)
                | (Q(resolved_at__isnull=False) & ~Q(resolution="")),
                name="quarantine_is_resolved_with_a_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.reason} item from {self.participant}"
