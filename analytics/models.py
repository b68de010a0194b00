"""What analysis keeps: blind moments and couplings; plans, frozen comparisons, snapshots."""

import secrets
import uuid

from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from analytics.plan import Plan, read_text
from ema.models import Participant, Phase, Study


class Moments(models.Model):
    """The analysis rows of one participant in one phase, and their sums. No arm here.

    The sums are sufficient for every model. Integers in the items' own decimals, so any order of
    summing gives the same bits. The rows stand in the order of their prompts; `follows` says
    whether the one before is of the prompt before on the same study day.
    """

    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="moments")
    phase = models.ForeignKey(Phase, on_delete=models.CASCADE, related_name="moments")
    n = models.PositiveIntegerField()
    sum_stress = models.BigIntegerField()
    sum_craving = models.BigIntegerField()
    sum_stress_stress = models.BigIntegerField()
    sum_stress_craving = models.BigIntegerField()
    sum_craving_craving = models.BigIntegerField()
    stress = models.BinaryField(help_text="Four bytes a row, the first the highest.")
    craving = models.BinaryField(help_text="Four bytes a row, the first the highest.")
    follows = models.BinaryField(help_text="One byte a row, 1 for yes.")
    computed_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "moments"
        constraints = [
            models.UniqueConstraint(
                fields=["participant", "phase"], name="a_participant_has_one_sum_in_a_phase"
            ),
        ]

    def __str__(self) -> str:
        return f"moments of {self.participant} in {self.phase}"


class LeftOut(models.Model):
    """How many responses of a participant are no analysis rows, by phase and first reason.

    `phase` is empty for responses without a prompt. No arm here.
    """

    participant = models.ForeignKey(Participant, on_delete=models.CASCADE, related_name="left_out")
    phase = models.ForeignKey(Phase, null=True, on_delete=models.CASCADE, related_name="left_out")
    reason = models.CharField(max_length=40)
    n = models.PositiveIntegerField()
    computed_at = models.DateTimeField()

    class Meta:
        verbose_name_plural = "left out"
        constraints = [
            models.UniqueConstraint(
                fields=["participant", "phase", "reason"],
                nulls_distinct=False,
                name="a_reason_is_counted_once_in_a_phase",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.n} of {self.participant}: {self.reason}"


class Coupling(models.Model):
    """One participant's within-person slope of craving on stress, over all phases.

    Slopes are craving points per stress point. `not_estimable` says why there is no slope.
    The shrunken slope leans on the pooled study (never on an arm: this table is blind).
    """

    participant = models.OneToOneField(
        Participant, on_delete=models.CASCADE, related_name="coupling"
    )
    n_pairs = models.PositiveIntegerField()
    slope = models.FloatField(null=True)
    standard_error = models.FloatField(null=True)
    interval_low = models.FloatField(null=True)
    interval_high = models.FloatField(null=True)
    shrunken_slope = models.FloatField(null=True)
    reliability = models.FloatField(null=True, help_text="Share of the slope that is signal, 0–1.")
    not_estimable = models.CharField(max_length=40, blank=True)
    estimated_at = models.DateTimeField()

    class Meta:
        constraints = [
            models.CheckConstraint(
                condition=Q(slope__isnull=False, not_estimable="")
                | (Q(slope__isnull=True) & ~Q(not_estimable="")),
                name="a_coupling_has_a_slope_or_a_reason",
            ),
        ]

    def __str__(self) -> str:
        return f"coupling of {self.participant}"


class CouplingShard(models.Model):
    """Participants of a study to be summed together; gone when their couplings are written.

    Whoever sums them holds a lock on the row meanwhile, so a worker that is killed leaves it to
    the others.
    """

    study = models.ForeignKey(Study, on_delete=models.CASCADE, related_name="+")
    participants = ArrayField(models.BigIntegerField())
    planned_at = models.DateTimeField(help_text="Responses that arrived before are to be summed.")
    summed_at = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{len(self.participants)} participants of {self.study}"


class CouplingProgress(models.Model):
    """One row: every response that arrived before `covered_until` is in moments and couplings, or
    its participant is in a shard."""

    id = models.SmallIntegerField(primary_key=True, default=1, editable=False)
    covered_until = models.DateTimeField()

    class Meta:
        verbose_name_plural = "coupling progress"
        constraints = [
            models.CheckConstraint(condition=Q(id=1), name="coupling_progress_is_one_row"),
        ]

    def __str__(self) -> str:
        return f"covered until {self.covered_until:%Y-%m-%d %H:%M:%S}"


class AnalysisPlanQuerySet(models.QuerySet["AnalysisPlan"]):
    def newest(self) -> "AnalysisPlanQuerySet":
        """The newest version of every key."""
        return self.order_by("study_id", "key", "-version").distinct("study_id", "key")


class AnalysisPlan(models.Model):
    """What is to be compared (`analytics.plan`); once locked, the database refuses to change it.

    `content` is the canonical text, kept as it was hashed.
    """

    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="plans")
    key = models.SlugField(max_length=40)
    version = models.PositiveSmallIntegerField(default=1)
    content = models.TextField()
    sha256 = models.CharField(max_length=64)
    changed_at = models.DateTimeField(db_default=Now())
    changed_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    locked_at = models.DateTimeField(null=True)
    locked_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )

    objects = AnalysisPlanQuerySet.as_manager()

    class Meta:
        ordering = ["study", "key", "-version"]
        constraints = [
            models.UniqueConstraint(
                fields=["study", "key", "version"], name="a_plan_has_one_of_each_version"
            ),
            models.UniqueConstraint(
                fields=["study", "key"],
                condition=Q(locked_at=None),
                name="one_version_of_a_plan_is_a_draft",
            ),
            models.CheckConstraint(condition=~Q(sha256=""), name="a_plan_is_hashed"),
            models.CheckConstraint(
                condition=Q(locked_at__isnull=False) | Q(locked_by=None),
                name="only_a_locked_plan_says_who_locked_it",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.key} v{self.version}"

    @property
    def plan(self) -> Plan:
        return read_text(self.content)


class Comparison(models.Model):
    """A frozen comparison of arms: the report as it was, and its SHA-256."""

    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="comparisons")
    report = models.JSONField()
    sha256 = models.CharField(max_length=64)
    made_at = models.DateTimeField(db_default=Now())
    made_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )

    class Meta:
        ordering = ["-made_at"]
        constraints = [
            models.CheckConstraint(condition=~Q(sha256=""), name="a_comparison_is_hashed"),
        ]

    def __str__(self) -> str:
        return f"comparison of {self.study} {self.sha256[:8]}"


class SnapshotMasking(models.TextChoices):
    MASKED = "masked", "masked: no arm in any table"
    CODED = "coded", "coded: arms by labels that do not say which is which"
    UNMASKED = "unmasked", "unmasked: with arms"


class Deidentified(models.TextChoices):
    NONE = "", "as in the trial: its own pseudonyms, full dates"
    L1 = "L1", "L1: pseudonyms of this release, full dates"
    L2 = "L2", "L2: dates moved by whole weeks, no zones"
    L3 = "L3", "L3: study days and times of day only"


def new_release_key() -> bytes:
    """256 random bits: the source of a release's pseudonyms and of how far dates are moved."""
    return secrets.token_bytes(32)


class Snapshot(models.Model):
    """A frozen package of a study's tables; its files sit in a directory named by the id."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    study = models.ForeignKey(Study, on_delete=models.PROTECT, related_name="snapshots")
    masking = models.CharField(
        max_length=10, choices=SnapshotMasking, default=SnapshotMasking.MASKED
    )
    deidentify = models.CharField(max_length=2, choices=Deidentified, blank=True, default="")
    recipient = models.CharField(
        max_length=100, blank=True, help_text="For whom; the same has the same pseudonyms again."
    )
    formats = models.JSONField(default=list, help_text="Beside CSV.")
    release_key = models.BinaryField(default=new_release_key, editable=False, max_length=32)
    requested_at = models.DateTimeField(db_default=Now())
    requested_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.PROTECT, related_name="+"
    )
    lease_until = models.DateTimeField(null=True, blank=True)
    progress = models.CharField(max_length=100, blank=True, help_text="What is being written.")
    built_at = models.DateTimeField(null=True, blank=True)
    failed_at = models.DateTimeField(null=True, blank=True)
    failure = models.CharField(max_length=300, blank=True)
    row_counts = models.JSONField(default=dict)
    files = models.JSONField(default=dict, help_text="Bytes and SHA-256 by name.")
    warnings = models.JSONField(default=list, help_text="Sentences.")
    sha256 = models.CharField(max_length=64, blank=True, help_text="Of its SHA256SUMS file.")

    class Meta:
        ordering = ["-requested_at"]
        constraints = [
            models.CheckConstraint(
                condition=Q(built_at__isnull=True) | ~Q(sha256=""),
                name="a_built_snapshot_is_hashed",
            ),
            models.CheckConstraint(
                condition=Q(built_at__isnull=True) | Q(failed_at__isnull=True),
                name="a_snapshot_is_built_or_failed_not_both",
            ),
            models.CheckConstraint(
                condition=Q(masking__in=SnapshotMasking.values),
                name="snapshot_masking_is_a_known_one",
            ),
            models.CheckConstraint(
                condition=Q(deidentify__in=Deidentified.values),
                name="snapshot_is_deidentified_to_a_known_level",
            ),
        ]

    def __str__(self) -> str:
        return f"snapshot {str(self.id)[:8]} of {self.study}"
