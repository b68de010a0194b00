"""Arms: what a study compares is settled when it starts, and written down where it changes."""

from typing import Any

from django.db import transaction

from ema import audit
from ema.arm_labels import give_labels
from ema.audit import Actor
from ema.models import Arm, Study


def problems(arm: Arm) -> list[str]:
    """Every reason, in words, why this arm cannot be saved like this."""
    old = Arm.objects.filter(pk=arm.pk).first() if arm.pk else None
    found = []
    if old and old.key != arm.key and old.allocations.exists():
        found.append(f"Arm {old} is on an allocation list: it keeps its key.")
    study = Study.objects.filter(pk=arm.study_id, started_at__isnull=False).first()
    if study is None:
        return found
    if old and old.key != arm.key and not found:
        found.append(f"Study {study} has started: arm {old} keeps its key.")
    if old and old.treatments and old.treatments != arm.treatments:
        found.append(f"Study {study} has started: arm {old} keeps its treatments.")
    reference = Arm.objects.filter(study=study, is_reference=True).first()
    if reference and arm.is_reference != (arm.pk == reference.pk):
        found.append(f"Study {study} has started: {reference} stays its reference arm.")
    return found


@transaction.atomic
def save(*, arm: Arm, actor: Actor) -> None:
    """Save a new or changed arm, and write down what it was before."""
    old = Arm.objects.select_for_update().filter(pk=arm.pk).first()
    arm.save()
    if arm.study.started_at:
        give_labels(arm.study)
    before, after = _content(old) if old else None, _content(arm)
    if before != after:
        audit.record(
            actor=actor,
            action="arm.changed" if old else "arm.added",
            subject=f"arm {arm}",
            study=arm.study,
            before=before,
            after=after,
        )


def _content(arm: Arm) -> dict[str, Any]:
    content = {"key": arm.key, "title": arm.title, "is_reference": arm.is_reference}
    return content | ({"treatments": arm.treatments} if arm.treatments else {})


def treatments_nowhere(study: Study) -> list[str]:
    """Which arms receive something in a phase that the study does not have, in words."""
    known = set(study.phases.values_list("key", flat=True))
    return [
        f"Arm {arm} has a treatment in phase {phase!r}, which the study does not have."
        for arm in study.arms.all()
        for phase in sorted(arm.treatments.keys() - known)
    ]
