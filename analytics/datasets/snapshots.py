"""Request and open snapshots: who may have which."""

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.db import transaction

from analytics.datasets import formats as known_formats
from analytics.datasets.formats import UnknownFormat
from analytics.models import Snapshot, SnapshotMasking
from ema import access, audit
from ema.access import NoAccess, User
from ema.audit import Actor
from ema.models import Prompt, Study
from ema.models.study import Role

READERS = frozenset({Role.INVESTIGATOR.value, Role.STATISTICIAN.value})
ONCE = (  # the files of snapshots that were built before their files were written down
    *(f"data/{name}.csv" for name in ("prompts", "participants", "urine", "coupling")),
    *("data/responses.csv", "data/items.csv", "codebook.csv"),
    *("README.md", "provenance.json", "SHA256SUMS"),
)


class SnapshotRefused(ValueError):
    """This snapshot may not be made; the message says why."""


def request_snapshot(
    study: Study, actor: Actor, masking: str, now: datetime, *, formats: Sequence[str] = ()
) -> Snapshot:
    """Ask for a snapshot; one like it that waits already is the answer to a second request.

    `formats` are those beside CSV. Raises SnapshotRefused.
    """
    refuse(study, masking)
    if not Prompt.objects.filter(participant__study=study).exists():
        raise SnapshotRefused(
            f"Study {study} has no prompts yet, so there is nothing to freeze: enrol participants "
            "and let their prompts be planned."
        )
    try:
        options = {"masking": masking, "formats": known_formats.chosen(formats)}
    except UnknownFormat as error:
        raise SnapshotRefused(str(error)) from error
    with transaction.atomic():
        Study.objects.select_for_update(no_key=True).get(pk=study.pk)
        waiting = Snapshot.objects.filter(study=study, built_at=None, failed_at=None, **options)
        if already := waiting.first():
            return already
        snapshot = Snapshot.objects.create(
            study=study,
            requested_at=now,
            requested_by_id=actor.user.pk if actor.user else None,
            **options,
        )
        _record(actor, "snapshot.requested", snapshot, formats=options["formats"])
    return snapshot


def refuse(study: Study, masking: str) -> None:
    """Raise SnapshotRefused when there is no such masking, or arms are hidden."""
    if masking not in (SnapshotMasking.MASKED, SnapshotMasking.UNMASKED):
        raise SnapshotRefused(f"Masking is masked or unmasked, not {masking!r}.")
    if masking == SnapshotMasking.UNMASKED and study.arms_are_hidden:
        raise SnapshotRefused(
            f"Study {study} is double blind and its blind is not broken: only a masked snapshot "
            "can be made."
        )


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


def names_of_files(snapshot: Snapshot) -> list[str]:
    """The files of a snapshot, tables first; none before it is built."""
    if snapshot.built_at is None:
        return []
    return sorted(snapshot.files or ONCE, key=lambda name: (not name.startswith("data/"), name))


def open_file(*, user: User, slug: str, snapshot_id: object, name: str, actor: Actor) -> Path:
    """A file of a built snapshot, or NoAccess. Who took it is in the audit trail."""
    _, snapshots = access_snapshots(user=user, slug=slug)
    snapshot = next((one for one in snapshots if one.pk == snapshot_id), None)
    if snapshot is None or name not in names_of_files(snapshot):
        raise NoAccess("There is no such file in a snapshot you may have.")
    path = directory_of(snapshot) / name
    if not path.is_file():
        raise NoAccess("The files of this snapshot are not on this server any more.")
    _record(actor, "snapshot.downloaded", snapshot, file=name)
    return path


def _record(actor: Actor, action: str, snapshot: Snapshot, **more: object) -> None:
    audit.record(
        actor=actor,
        action=action,
        subject=f"snapshot {snapshot.pk}",
        study=snapshot.study,
        after={"masking": snapshot.masking, **more},
    )
