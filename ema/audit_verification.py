"""Recompute the checkpoints of the audit trail, and name every row that does not fit them."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

from django.db.models import QuerySet

from ema.audit_checkpoints import ENTRY, FORM, TRAILS, Trail, chain_digest, entries, row_digest
from ema.models import AuditCheckpoint

ALTERED, MISSING, ADDED, BROKEN = "altered", "missing", "added", "broken"
Progress = Callable[[int], None]


class Finding(NamedTuple):
    """What is wrong, of which row or checkpoint; the study of a row that is there."""

    what: str
    trail: str
    row_id: int
    study_id: int | None
    detail: str

    def __str__(self) -> str:
        return f"{self.trail} {self.row_id} {self.what}: {self.detail}"


class Verified(NamedTuple):
    """What was looked at and found. `unsealed` rows came after the last checkpoint."""

    findings: list[Finding]
    checkpoints: int
    rows: int
    unsealed: int
    head: str


def verify(*, expected: str = "", progress: Progress = lambda rows: None) -> Verified:
    """Walk the chain from its beginning; `progress` is told after each checkpoint.

    `expected` is a head that was published earlier: it must be a link of the chain.
    """
    findings: list[Finding] = []
    before: AuditCheckpoint | None = None
    count = rows = 0
    is_there = not expected
    for checkpoint in AuditCheckpoint.objects.order_by("pk").iterator(chunk_size=1):
        findings += _broken(checkpoint, before)
        for trail in TRAILS:
            findings += _rows_that_do_not_fit(trail, checkpoint, before)
            rows += len(bytes(getattr(checkpoint, trail.manifest))) // ENTRY.size
        is_there = is_there or checkpoint.digest == expected
        before, count = checkpoint, count + 1
        progress(rows)
    if not is_there:
        what = f"no checkpoint has the digest {expected}, which was published"
        findings.append(Finding(BROKEN, "chain", count, None, what))
    left = sum(_after(trail, before).count() for trail in TRAILS)
    return Verified(findings, count, rows, left, before.digest if before else "")


def _broken(checkpoint: AuditCheckpoint, before: AuditCheckpoint | None) -> Iterator[Finding]:
    """Whether the checkpoint itself was altered, or the one before it is not there."""
    if checkpoint.form != FORM:
        what = f"this version reads form {FORM}, not {checkpoint.form}"
        yield Finding(BROKEN, "checkpoint", checkpoint.pk, None, what)
    if checkpoint.previous_id != (before.pk if before else None):
        what = "the checkpoint before it is not the one it was chained to"
        yield Finding(BROKEN, "checkpoint", checkpoint.pk, None, what)
    if chain_digest(checkpoint, before) != checkpoint.digest:
        what = "its digest is not that of what it holds"
        yield Finding(BROKEN, "checkpoint", checkpoint.pk, None, what)


def _rows_that_do_not_fit(
    trail: Trail, checkpoint: AuditCheckpoint, before: AuditCheckpoint | None
) -> Iterator[Finding]:
    sealed = dict(entries(getattr(checkpoint, trail.manifest)))
    study_at = trail.columns.index("study_id")
    there = _after(trail, before).filter(pk__lte=getattr(checkpoint, trail.through))
    for values in there.values_list(*trail.columns).iterator(chunk_size=2000):
        digest, study_id = sealed.pop(values[0], None), values[study_at]
        if digest is None:
            what = f"it was written after checkpoint {checkpoint.pk} had sealed its place"
            yield Finding(ADDED, trail.name, values[0], study_id, f"{what}. {_said(trail, values)}")
        elif digest != row_digest(values):
            what = f"it is not what checkpoint {checkpoint.pk} sealed"
            found = _said(trail, values)
            yield Finding(ALTERED, trail.name, values[0], study_id, f"{what}. {found}")
    for row_id in sorted(sealed):
        what = f"checkpoint {checkpoint.pk} sealed it, and it is gone"
        yield Finding(MISSING, trail.name, row_id, None, what)


def _after(trail: Trail, before: AuditCheckpoint | None) -> QuerySet[Any]:
    rows = trail.model._default_manager.order_by("pk")
    return rows.filter(pk__gt=getattr(before, trail.through)) if before else rows


def _said(trail: Trail, values: tuple[Any, ...]) -> str:
    """What the row says now, in short."""
    row = dict(zip(trail.columns, values, strict=True))
    told = ("action", "subject") if trail.name == "event" else ("operation", "table_name", "row_id")
    return f"It says: {row['at']:%Y-%m-%d %H:%M} " + " ".join(str(row[name]) for name in told)
