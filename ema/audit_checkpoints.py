"""Checkpoints: a digest over the audit trail since the last one, chained to it.

Chaining every row to the one before would let one transaction write at a time. So rows are sealed
afterwards, some minutes late: what is sealed is fixed by the newest digest, the head. Whoever keeps
a head elsewhere can show later that nothing under it was altered, removed or added.
"""

import hashlib
import json
import struct
import time
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Any, NamedTuple

from django.db import connection, models, transaction

from ema.audit_trigger import SETTLED_KEY
from ema.models import AuditCheckpoint, AuditEvent, RowChange

FORM = 1
MANIFESTS = ("events_manifest", "changes_manifest")
MOST_ROWS = 50_000  # of each trail under one checkpoint
PATIENCE_S = 5.0
ENTRY = struct.Struct(">q16s")


class Trail(NamedTuple):
    """One of the two tables, its fields in a checkpoint, and the columns a digest covers."""

    name: str
    model: type[models.Model]
    through: str
    manifest: str
    columns: tuple[str, ...]


TRAILS = (
    Trail(
        "event",
        AuditEvent,
        "events_through",
        "events_manifest",
        (
            *("id", "at", "transaction", "study_id", "site_id", "is_closed", "actor_id", "door"),
            *("action", "subject", "before", "after", "reason"),
        ),
    ),
    Trail(
        "row change",
        RowChange,
        "changes_through",
        "changes_manifest",
        (
            *("id", "at", "transaction", "table_name", "row_id", "operation", "before", "after"),
            *("actor", "database_user", "study_id", "site_id", "is_closed"),
        ),
    ),
)


def row_digest(values: Iterable[Any]) -> bytes:
    """The first 16 bytes of the SHA-256 of a row's columns as JSON, in the order of its trail."""
    text = json.dumps(
        list(values), default=_instant, sort_keys=True, separators=(",", ":"), ensure_ascii=False
    )
    return hashlib.sha256(text.encode()).digest()[:16]


def _instant(value: datetime) -> str:
    return value.astimezone(UTC).isoformat(timespec="microseconds")


def chain_digest(checkpoint: AuditCheckpoint, before: AuditCheckpoint | None) -> str:
    """SHA-256 over the digest before, the form, how far both trails reach, and both manifests."""
    link = before.digest if before else ""
    reach = f"{checkpoint.form}:{checkpoint.events_through}:{checkpoint.changes_through}"
    made = hashlib.sha256(f"fourbeat-audit:{link}:{reach}:".encode())
    for manifest in MANIFESTS:
        made.update(hashlib.sha256(bytes(getattr(checkpoint, manifest))).digest())
    return made.hexdigest()


def entries(manifest: bytes) -> Iterator[tuple[int, bytes]]:
    """What a manifest holds: ids and digests."""
    yield from ENTRY.iter_unpack(bytes(manifest))


def head() -> AuditCheckpoint | None:
    """The newest checkpoint. Its digest stands for the whole trail under it: publish that."""
    return AuditCheckpoint.objects.order_by("-pk").defer(*MANIFESTS).first()


def seal() -> list[AuditCheckpoint]:
    """Seal what came since the last checkpoint; none when nothing did, or while many write."""
    through = settled()
    made: list[AuditCheckpoint] = []
    while through and (checkpoint := _seal_some(through)):
        made.append(checkpoint)
    return made


def settled() -> tuple[int, ...] | None:
    """The last ids of both trails, below which no row can appear any more.

    Ids are given before their rows are committed. Whoever writes shares a lock until then, so that
    having it alone for a moment means that all are. None when that moment does not come in time.
    """
    deadline = time.monotonic() + PATIENCE_S
    with connection.cursor() as cursor:
        while True:
            cursor.execute("SELECT pg_try_advisory_lock(%s)", [SETTLED_KEY])
            if cursor.fetchone()[0]:
                break
            if time.monotonic() > deadline:
                return None
            time.sleep(0.02)
        try:
            last = (
                trail.model._default_manager.aggregate(last=models.Max("pk"))["last"]
                for trail in TRAILS
            )
            return tuple(number or 0 for number in last)
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [SETTLED_KEY])


@transaction.atomic
def _seal_some(through: tuple[int, ...]) -> AuditCheckpoint | None:
    """The next checkpoint; one at a time, also when two seal at once."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtext('fourbeat.audit.seal'))")
    last = head()
    made = AuditCheckpoint(previous=last, form=FORM)
    for trail, end in zip(TRAILS, through, strict=True):
        begin = getattr(last, trail.through) if last else None
        manifest, reached = _manifest_of(trail, begin, end)
        setattr(made, trail.manifest, manifest)
        setattr(made, trail.through, max(reached, begin or 0))
    if not (made.events_manifest or made.changes_manifest):
        return None
    made.digest = chain_digest(made, last)
    made.save(force_insert=True)
    return made


def _manifest_of(trail: Trail, begin: int | None, end: int) -> tuple[bytes, int]:
    """The entries of the next rows, and the id up to which they are all."""
    rows = trail.model._default_manager.filter(pk__lte=end).order_by("pk")
    if begin is not None:
        rows = rows.filter(pk__gt=begin)
    found = bytearray()
    reached = end
    taken = rows.values_list(*trail.columns)[:MOST_ROWS]
    for values in taken.iterator(chunk_size=2000):
        found += ENTRY.pack(values[0], row_digest(values))
        reached = values[0]
    return bytes(found), reached if len(found) == MOST_ROWS * ENTRY.size else end
