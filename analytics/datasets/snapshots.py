"""Request, build and open snapshots: who may have which, and what became of it."""

import errno
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.db.models.functions import Now

from analytics.datasets.columns import Scope
from analytics.datasets.package import FILES, Package, write_package
from analytics.models import Snapshot, SnapshotMasking
from ema import access, audit
from ema.access import NoAccess, User
from ema.audit import Actor
from ema.models import Study
from ema.models.study import Role

LEASE = timedelta(minutes=5)  # longer than a task may run
READERS = frozenset({Role.INVESTIGATOR.value, Role.STATISTICIAN.value})


class SnapshotRefused(ValueError):
    """This snapshot may not be made; the message says why."""


class SnapshotFailed(Exception):
    """The files could not be written; the message says why."""


def request_snapshot(study: Study, actor: Actor, masking: str, now: datetime) -> Snapshot:
    """Ask for a snapshot; one that waits already is the answer to a second request."""
    _refuse_hidden_arms(study, masking)
    with transaction.atomic():
        Study.objects.select_for_update(no_key=True).get(pk=study.pk)
        waiting = Snapshot.objects.filter(
            study=study, masking=masking, built_at=None, failed_at=None
        )
        if already := waiting.first():
            return already
        snapshot = Snapshot.objects.create(
            study=study,
            masking=masking,
            requested_at=now,
            requested_by_id=actor.user.pk if actor.user else None,
        )
        _record(actor, "snapshot.requested", snapshot)
    return snapshot


def build_next(now: datetime) -> Snapshot | None:
    """Claim the longest waiting snapshot that nobody builds, and build it; None: nothing to do."""
    free = Q(lease_until=None) | Q(lease_until__lt=now)
    waiting = Snapshot.objects.filter(free, built_at=None, failed_at=None)
    for snapshot in waiting.select_related("study").order_by("requested_at", "pk"):
        if waiting.filter(pk=snapshot.pk).update(lease_until=now + LEASE):
            with suppress(SnapshotRefused, SnapshotFailed):  # recorded with the snapshot
                build_snapshot(snapshot)
            return snapshot
    return None


def build_snapshot(snapshot: Snapshot) -> Package:
    """Write the snapshot's files and note their hash. Building again finds the same files.

    Raises SnapshotRefused when arms are hidden by now, SnapshotFailed when the disk refuses; both
    are recorded with the snapshot.
    """
    scope = Scope(snapshot.study, snapshot.masking, snapshot.requested_at)
    try:
        _refuse_hidden_arms(snapshot.study, snapshot.masking)
        package = write_package(scope, directory_of(snapshot), identity=str(snapshot.pk))
    except SnapshotRefused as error:
        _note_failure(snapshot, str(error))
        raise
    except OSError as error:
        _note_failure(snapshot, _in_words(error))
        raise SnapshotFailed(_in_words(error)) from error
    Snapshot.objects.filter(pk=snapshot.pk, built_at=None).update(
        built_at=Now(),
        failed_at=None,
        failure="",
        lease_until=None,
        row_counts=package.row_counts,
        sha256=package.sha256,
    )
    return package


def directory_of(snapshot: Snapshot) -> Path:
    """`<study>_<first eight of the id>` below SNAPSHOT_DIR."""
    return Path(settings.SNAPSHOT_DIR) / f"{snapshot.study.slug}_{str(snapshot.pk)[:8]}"


def access_snapshots(*, user: User, slug: str) -> tuple[Study, list[Snapshot]]:
    """The study and the snapshots of it that this user may have; unmasked ones show arms."""
    study = access.access_study(user=user, slug=slug, roles=READERS)
    snapshots = Snapshot.objects.filter(study=study).select_related("study", "requested_by")
    try:
        access.access_comparison(user=user, slug=slug)
    except NoAccess:
        snapshots = snapshots.filter(masking=SnapshotMasking.MASKED)
    return study, list(snapshots)


def open_file(*, user: User, slug: str, snapshot_id: object, name: str, actor: Actor) -> Path:
    """A file of a built snapshot, or NoAccess. Who took it is in the audit trail."""
    _, snapshots = access_snapshots(user=user, slug=slug)
    snapshot = next((one for one in snapshots if one.pk == snapshot_id), None)
    if snapshot is None or snapshot.built_at is None or name not in FILES:
        raise NoAccess("There is no such file in a snapshot you may have.")
    path = directory_of(snapshot) / name
    if not path.is_file():
        raise NoAccess("The files of this snapshot are not on this server any more.")
    _record(actor, "snapshot.downloaded", snapshot, file=name)
    return path


def _refuse_hidden_arms(study: Study, masking: str) -> None:
    if masking not in SnapshotMasking.values:
        raise SnapshotRefused(f"Masking is masked or unmasked, not {masking!r}.")
    if masking == SnapshotMasking.UNMASKED and study.arms_are_hidden:
        raise SnapshotRefused(
            f"Study {study} is double blind and its blind is not broken: only a masked snapshot "
            "can be made."
        )


def _note_failure(snapshot: Snapshot, failure: str) -> None:
    Snapshot.objects.filter(pk=snapshot.pk, built_at=None).update(
        failed_at=Now(), failure=failure[:300], lease_until=None
    )


def _in_words(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk is full: make room where snapshots are kept and request it again."
    return f"The files could not be written where snapshots are kept ({error.strerror or error})."


def _record(actor: Actor, action: str, snapshot: Snapshot, **more: str) -> None:
    audit.record(
        actor=actor,
        action=action,
        subject=f"snapshot {snapshot.pk}",
        study=snapshot.study,
        after={"masking": snapshot.masking, **more},
    )
