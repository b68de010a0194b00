"""Who did what, when, to what, and why. Append-only: the database refuses UPDATE and DELETE.

Events say what was meant. Row changes, written by triggers, prove what was done to the rows, also
by whoever passes by the steps. Both name their transaction: that is what belongs together.
"""

from django.conf import settings
from django.db import models
from django.db.models.functions import Now

from ema.models.study import Site, Study
from ema.row_change_trigger import TRANSACTION


class CurrentTransaction(models.Func):
    """The name of the transaction that writes the row."""

    template = f"({TRANSACTION})"
    output_field = models.CharField()


class AuditEvent(models.Model):
    at = models.DateTimeField(db_default=Now())
    transaction = models.CharField(max_length=60, db_default=CurrentTransaction(), editable=False)
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
        indexes = [
            models.Index(fields=["study", "at"], name="audit_by_study_and_time"),
            models.Index(fields=["transaction"], name="events_by_transaction"),
        ]

    def __str__(self) -> str:
        return f"{self.action} {self.subject}"


class RowChange(models.Model):
    """What a statement did to one row. Rows are written by triggers (`ema/row_change_trigger.py`).

    Study and site are no foreign keys: what is deleted was there.
    """

    at = models.DateTimeField(help_text="When its transaction began.")
    transaction = models.CharField(max_length=60)
    table_name = models.CharField(max_length=63)
    row_id = models.CharField(max_length=40)
    operation = models.CharField(max_length=10, help_text="insert, update or delete.")
    before = models.JSONField(null=True, help_text="Of an update: the columns that changed.")
    after = models.JSONField(null=True)
    actor = models.CharField(max_length=200, help_text="As its session said; else database.")
    database_user = models.CharField(max_length=63)
    study = models.ForeignKey(
        Study,
        null=True,
        on_delete=models.DO_NOTHING,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    site = models.ForeignKey(
        Site,
        null=True,
        on_delete=models.DO_NOTHING,
        related_name="+",
        db_constraint=False,
        db_index=False,
    )
    is_closed = models.BooleanField(help_text="Says something that depends on arms.")

    class Meta:
        ordering = ["-id"]
        indexes = [
            models.Index(fields=["study", "at"], name="changes_by_study_and_time"),
            models.Index(fields=["transaction"], name="changes_by_transaction"),
        ]

    def __str__(self) -> str:
        return f"{self.operation} {self.table_name} {self.row_id}"


class AuditCheckpoint(models.Model):
    """A seal over what came since the one before: its digest is chained to that one's.

    A manifest holds, for every row in the order of ids, its id (8 bytes) and digest (16 bytes).
    """

    made_at = models.DateTimeField(db_default=Now())
    previous = models.OneToOneField(
        "self", null=True, on_delete=models.PROTECT, related_name="following"
    )
    form = models.PositiveSmallIntegerField(help_text="Which columns a digest covers, and how.")
    events_through = models.BigIntegerField(help_text="The last event under this seal.")
    changes_through = models.BigIntegerField(help_text="The last row change under this seal.")
    events_manifest = models.BinaryField()
    changes_manifest = models.BinaryField()
    digest = models.CharField(max_length=64, unique=True)

    class Meta:
        ordering = ["id"]
        constraints = [
            models.UniqueConstraint(
                fields=["previous"],
                nulls_distinct=False,
                name="checkpoints_form_one_chain",
            ),
        ]

    def __str__(self) -> str:
        return f"checkpoint {self.pk}"
