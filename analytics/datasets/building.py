"""Build snapshots: claim one, write its files, say how far it is, note what became of it."""

import errno
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Self

from celery.exceptions import SoftTimeLimitExceeded
from django.db import connection
from django.db.models import Q
from django.db.models.functions import Now

from analytics.datasets.columns import Scope
from analytics.datasets.draft import Say, silent
from analytics.datasets.giving_way import giving_way
from analytics.datasets.ledger import LedgerUnbalanced
from analytics.datasets.package import Job, Package, write_package
from analytics.datasets.snapshots import SnapshotRefused, directory_of, refuse
from analytics.models import Snapshot

LEASE = timedelta(minutes=5)  # renewed as files grow
EVERY_S = 1.0
LONGEST_S = 6 * 3600  # that a worker may build; a command takes as long as it takes
TOO_LONG = (
    f"A worker builds a snapshot for at most {LONGEST_S // 3600} hours, and this "
    "one took longer: ask for fewer formats, or build it by manage.py snapshot, which has no limit."
)


class SnapshotFailed(Exception):
    """The files could not be written; the message says why."""


class SnapshotBusy(Exception):
    """Another process builds this snapshot."""


def build_next(now: datetime, say: Say = silent) -> Snapshot | None:
    """Claim the longest waiting snapshot that nobody builds, and build it; None: nothing to do."""
    free = Q(lease_until=None) | Q(lease_until__lt=now)
    waiting = Snapshot.objects.filter(free, built_at=None, failed_at=None)
    for snapshot in waiting.select_related("study").order_by("requested_at", "pk"):
        if waiting.filter(pk=snapshot.pk).update(lease_until=now + LEASE):
            # Refused and failed are recorded with the snapshot.
            with suppress(SnapshotRefused, SnapshotFailed, SnapshotBusy):
                build_snapshot(snapshot, say, wait=False)
            return snapshot
    return None


def build_snapshot(snapshot: Snapshot, say: Say = silent, *, wait: bool = True) -> Package:
    """Write the snapshot's files and note their hashes. Building again finds the same files.

    One process at a time: another waits, or with `wait` false raises SnapshotBusy. Raises
    SnapshotRefused when arms are hidden by now, SnapshotFailed when the disk refuses,
    prompts are lost or a worker may not go on. Whatever goes wrong is recorded with the snapshot.
    """
    with _alone(snapshot, wait=wait):
        try:
            refuse(snapshot.study, snapshot.masking)
            package = _write(snapshot, say)
        except OSError as error:
            _note_failure(snapshot, _in_words(error))
            raise SnapshotFailed(_in_words(error)) from error
        except (LedgerUnbalanced, SoftTimeLimitExceeded) as error:
            why = TOO_LONG if isinstance(error, SoftTimeLimitExceeded) else str(error)
            _note_failure(snapshot, why)
            raise SnapshotFailed(why) from error
        except Exception as error:
            said = str(error) if isinstance(error, SnapshotRefused) else _broke(error)
            _note_failure(snapshot, said)
            raise
    Snapshot.objects.filter(pk=snapshot.pk, built_at=None).update(
        built_at=Now(),
        failed_at=None,
        failure="",
        lease_until=None,
        progress="",
        row_counts=package.row_counts,
        files={name: file._asdict() for name, file in package.files.items()},
        sha256=package.sha256,
        warnings=list(package.warnings),
    )
    return package


def _write(snapshot: Snapshot, say: Say) -> Package:
    scope = Scope(
        snapshot.study,
        snapshot.masking,
        snapshot.requested_at,
        snapshot.deidentify,
        bytes(snapshot.release_key),
    )
    job = Job(scope, str(snapshot.pk), snapshot.formats, _before(snapshot))
    with _Reporter(snapshot, say) as reporter, giving_way():
        return write_package(job, directory_of(snapshot), say=reporter.say)


def _before(snapshot: Snapshot) -> Path | None:
    """Where the snapshot of the same kind before this one is, if it still is."""
    earlier = Snapshot.objects.filter(
        study=snapshot.study,
        masking=snapshot.masking,
        deidentify=snapshot.deidentify,
        recipient=snapshot.recipient,
        requested_at__lt=snapshot.requested_at,
        built_at__isnull=False,
    )
    for one in earlier.select_related("study").order_by("-requested_at"):
        if (directory_of(one) / "SHA256SUMS").is_file():
            return directory_of(one)
    return None


@contextmanager
def _alone(snapshot: Snapshot, *, wait: bool) -> Iterator[None]:
    """Hold the snapshot's lock, which goes with the connection of a process that dies."""
    take = "pg_advisory_lock" if wait else "pg_try_advisory_lock"
    key = "(hashtext('fourbeat.snapshot'), hashtext(%s))"
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT {take}{key}", [str(snapshot.pk)])
        if cursor.fetchone()[0] is False:
            raise SnapshotBusy(f"{snapshot} is being built by another process.")
        try:
            yield
        finally:
            cursor.execute(f"SELECT pg_advisory_unlock{key}", [str(snapshot.pk)])


class _Reporter:
    """Writes down what is being written, and so keeps the claim; by a connection of its own, as
    the tables are read in one transaction."""

    UPDATE = """UPDATE analytics_snapshot SET progress = %s,
        lease_until = now() + make_interval(secs => %s)
        WHERE id = %s AND built_at IS NULL"""

    def __init__(self, snapshot: Snapshot, also: Say) -> None:
        self.snapshot, self.also = snapshot, also
        self.connection, self.said = connection.copy(), time.monotonic()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def say(self, name: str, size: int) -> None:
        self.also(name, size)
        if time.monotonic() - self.said > EVERY_S:
            self.said = time.monotonic()
            with self.connection.cursor() as cursor:
                told = f"{name}: {size / 1e6:.0f} MB"
                cursor.execute(self.UPDATE, [told[:100], LEASE.total_seconds(), self.snapshot.pk])


def _note_failure(snapshot: Snapshot, failure: str) -> None:
    Snapshot.objects.filter(pk=snapshot.pk, built_at=None).update(
        failed_at=Now(), failure=failure[:300], lease_until=None, progress=""
    )


def _in_words(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk is full: make room where snapshots are kept and request it again."
    why = error.strerror or type(error).__name__
    return f"The files could not be written where snapshots are kept ({why})."


def _broke(error: Exception) -> str:
    """What it says may repeat what somebody wrote: the log tells where it arose."""
    return f"Building broke ({type(error).__name__}): an administrator finds where in the log."
