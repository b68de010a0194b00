"""Request and open snapshots: who may have which."""

import hashlib
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from django.conf import settings
from django.db import transaction

from analytics.datasets import formats as known_formats
from analytics.datasets.formats import UnknownFormat
from analytics.models import Deidentified, Snapshot, SnapshotMasking, new_release_key
from ema import access, audit
from ema.access import NoAccess, User
from ema.arm_labels import give_labels
from ema.audit import Actor
from ema.models import Prompt, Study
from ema.models.study import Role

READERS = frozenset({Role.INVESTIGATOR.value, Role.STATISTICIAN.value})
LONGEST_RECIPIENT = 100
ONCE = (  # the files of snapshots that were built before their files were written down
    *(f"data/{name}.csv" for name in ("prompts", "participants", "urine", "coupling")),
    *("data/responses.csv", "data/items.csv", "codebook.csv"),
    *("README.md", "provenance.json", "SHA256SUMS"),
)


class SnapshotRefused(ValueError):
    """This snapshot may not be made; the message says why."""


def request_snapshot(
    study: Study,
    actor: Actor,
    masking: str,
    now: datetime,
    *,
    formats: Sequence[str] = (),
    deidentify: str = "",
    recipient: str = "",
) -> Snapshot:
    """Ask for a snapshot; one like it that waits already is the answer to a second request.

    `formats` are those beside CSV. A release for the same recipient, of the same kind, has the same
    pseudonyms again; every other release has its own. Raises SnapshotRefused.
    """
    refuse(study, masking)
    _refuse_release(deidentify, recipient)
    if not Prompt.objects.filter(participant__study=study).exists():
        raise SnapshotRefused(
            f"Study {study} has no prompts yet, so there is nothing to freeze: enrol participants "
            "and let their prompts be planned."
        )
    try:
        others = known_formats.chosen(formats)
    except UnknownFormat as error:
        raise SnapshotRefused(str(error)) from error
    kind = {"masking": masking, "deidentify": deidentify, "recipient": recipient.strip()}
    with transaction.atomic():
        Study.objects.select_for_update(no_key=True).get(pk=study.pk)
        alike = Snapshot.objects.filter(study=study, **kind)
        waiting = alike.filter(built_at=None, failed_at=None, formats=others)
        if already := waiting.first():
            return already
        if masking == SnapshotMasking.CODED:
            give_labels(study)  # to arms that have none: usually they have since the study's start
        before = alike.order_by("requested_at").first() if kind["recipient"] else None
        snapshot = Snapshot.objects.create(
            study=study,
            formats=others,
            release_key=before.release_key if before else new_release_key(),
            requested_at=now,
            requested_by_id=actor.user.pk if actor.user else None,
            **kind,
        )
        chosen = {"deidentify": deidentify, "recipient": kind["recipient"]}
        told = {name: value for name, value in chosen.items() if value}
        _record(actor, "snapshot.requested", snapshot, formats=others, **told)
    return snapshot


def refuse(study: Study, masking: str) -> None:
    """Raise SnapshotRefused when there is no such masking, or arms are hidden."""
    if masking not in SnapshotMasking.values:
        raise SnapshotRefused(f"Masking is masked, coded or unmasked, not {masking!r}.")
    if masking == SnapshotMasking.UNMASKED and study.arms_are_hidden:
        raise SnapshotRefused(
            f"Study {study} is double blind and its blind is not broken: only a masked or coded "
            "snapshot can be made."
        )


def _refuse_release(deidentify: str, recipient: str) -> None:
    if deidentify not in Deidentified.values:
        raise SnapshotRefused(f"De-identify to L1, L2 or L3, or not at all; not {deidentify!r}.")
    if recipient.strip() and not deidentify:
        raise SnapshotRefused(
            "A recipient has pseudonyms of their own only in a de-identified snapshot: choose L1, "
            "L2 or L3."
        )
    if len(recipient) > LONGEST_RECIPIENT:
        raise SnapshotRefused(f"Name the recipient in at most {LONGEST_RECIPIENT} characters.")


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


def access_request(*, user: User, slug: str, masking: str) -> Study:
    """The study whose snapshots this user may ask for; those that tell of arms as arms may be
    compared."""
    study = access.access_study(user=user, slug=slug, roles=READERS)
    if masking != SnapshotMasking.MASKED:
        access.access_comparison(user=user, slug=slug)
    return study


def open_file(
    *, user: User, slug: str, snapshot_id: object, name: str, actor: Actor
) -> tuple[Path, str]:
    """A file of a built snapshot and its SHA-256, or NoAccess; who took it is written down."""
    _, snapshots = access_snapshots(user=user, slug=slug)
    snapshot = next((one for one in snapshots if one.pk == snapshot_id), None)
    if snapshot is None or name not in names_of_files(snapshot):
        raise NoAccess("There is no such file in a snapshot you may have.")
    path = directory_of(snapshot) / name
    if not path.is_file():
        raise NoAccess("The files of this snapshot are not on this server any more.")
    _record(actor, "snapshot.downloaded", snapshot, file=name)
    known = snapshot.files.get(name)
    return path, known["sha256"] if known else hashlib.sha256(path.read_bytes()).hexdigest()


def _record(actor: Actor, action: str, snapshot: Snapshot, **more: object) -> None:
    audit.record(
        actor=actor,
        action=action,
        subject=f"snapshot {snapshot.pk}",
        study=snapshot.study,
        after={"masking": snapshot.masking, **more},
    )
