"""Seal allocation lists: drawn here or uploaded, committed to in the audit trail, never changed.

The commitment is SHA-256 of the nonce followed by the canonical JSON of metadata and slots. The
audit trail's open events have the commitment alone: whoever holds list and nonce can show later
that nothing was altered, and nobody can learn the list from it.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from random import Random
from typing import Any, NamedTuple

from django.db import transaction
from django.db.models import Count, Exists, Max, OuterRef, Q

from ema import audit
from ema.allocation_files import Known, read
from ema.allocation_lists import Blocks, Factors, ListRefused, Slot, draw, parts_of, usual_sizes
from ema.audit import Actor
from ema.models import Allocation, AllocationList, Arm, AuditEvent, Site, Study
from ema.models.allocation import Source, new_nonce
from ema.models.questionnaire import canonical

SEALED = "allocation_list.sealed"


class Stratum(NamedTuple):
    """How many slots there are, and how many are spent; never which arms."""

    name: str
    slots: int
    spent: int
    in_error: int

    @property
    def free(self) -> int:
        return self.slots - self.spent


def commitment_of(nonce: bytes, metadata: Mapping[str, Any], slots: Iterable[Slot]) -> str:
    content = {"metadata": dict(metadata), "slots": [list(slot) for slot in sorted(slots)]}
    return hashlib.sha256(nonce + canonical(content).encode()).hexdigest()


@transaction.atomic
def generate(
    *,
    study: Study,
    ratio: Mapping[str, int],
    per_stratum: int,
    now: datetime,
    actor: Actor,
    sizes: Sequence[int] = (),
    factors: Factors | None = None,
    sites: Sequence[str] = (),
    goes_on: bool = False,
    source: Random | None = None,
) -> AllocationList:
    """Draw a list for all sites, or those named, and seal it. Raises ListRefused.

    `goes_on` adds to strata that have slots already. `source` is for simulated trials: a list
    that can be drawn again is no secret.
    """
    _lock(study)
    blocks = Blocks(
        ratio=ratio,
        sites=sites or _site_codes(study),
        per_stratum=per_stratum,
        sizes=sizes or usual_sizes(ratio),
        factors=factors,
    )
    if faults := _contradictions(study, blocks, goes_on):
        raise ListRefused(*faults)
    slots = draw(blocks, after=last_positions(study), taken_kits=_kits(study), source=source)
    return _seal(study, slots, Source.GENERATED, blocks.metadata(), now, actor)


@transaction.atomic
def upload(
    *, study: Study, text: str, file_name: str, now: datetime, actor: Actor
) -> AllocationList:
    """Seal the list of a CSV file; nothing of it when a row is wrong. Raises ListRefused."""
    _lock(study)
    known = Known(
        arms=_arm_keys(study),
        sites=_site_codes(study),
        last=last_positions(study),
        kits=_kits(study),
        factors=factors_of(study) if study.allocation_lists.exists() else None,
    )
    slots = read(text, known)
    metadata = {
        "method": "uploaded",
        "file": file_name,
        "file_sha256": hashlib.sha256(text.encode()).hexdigest(),
    }
    return _seal(study, slots, Source.UPLOADED, metadata, now, actor)


def _lock(study: Study) -> None:
    """Lists of a study are sealed one after the other; of a locked study none."""
    if Study.objects.select_for_update(no_key=True).get(pk=study.pk).locked_at:
        raise ListRefused(f"Study {study} is locked: nobody is allocated any more.")


def _contradictions(study: Study, blocks: Blocks, goes_on: bool) -> list[str]:
    """Where a wish does not fit the study's arms, sites and the lists that it has."""
    arms, sites = _arm_keys(study), _site_codes(study)
    found = [
        f"Study {study} has no arm {arm!r}. It has: {', '.join(arms) or 'none yet'}."
        for arm in blocks.ratio
        if arm not in arms
    ]
    found += [
        f"Study {study} has no site {site!r}. It has: {', '.join(sites) or 'none yet'}."
        for site in blocks.sites
        if site not in sites
    ]
    if study.allocation_lists.exists():
        before, asked = factors_of(study), {k: set(v) for k, v in (blocks.factors or {}).items()}
        if list(before) != list(asked) or any(set(before[name]) != asked[name] for name in before):
            said = " ".join(f"--factor {k}={','.join(v)}" for k, v in before.items())
            found.append(f"Study {study} is stratified already: repeat {said or 'no factor'}.")
    taken = sorted(set(blocks.strata) & set(last_positions(study)))
    if taken and not goes_on:
        found.append(
            f"These strata have a list already: {', '.join(taken)}. Name other sites, or ask to "
            "go on (--more) to add slots behind those that are there."
        )
    return found


def _seal(
    study: Study,
    slots: Sequence[Slot],
    source: str,
    metadata: dict[str, Any],
    now: datetime,
    actor: Actor,
) -> AllocationList:
    nonce = new_nonce()
    sealed = AllocationList.objects.create(
        study=study,
        made_at=now,
        made_by_id=actor.user.pk if actor.user else None,
        source=source,
        metadata=metadata,
        nonce=nonce,
        commitment=commitment_of(nonce, metadata, slots),
    )
    arms = {arm.key: arm for arm in Arm.objects.filter(study=study)}
    Allocation.objects.bulk_create(
        Allocation(
            study=study,
            allocation_list=sealed,
            stratum=slot.stratum,
            position=slot.position,
            arm=arms[slot.arm],
            kit_code=slot.kit,
        )
        for slot in slots
    )
    audit.record(
        actor=actor,
        action=SEALED,
        subject=str(sealed),
        study=study,
        after={"commitment": sealed.commitment},
    )
    return sealed


def faults_of(sealed: AllocationList) -> list[str]:
    """What shows that a list is not as it was sealed; nothing when it is."""
    found = []
    slots = [
        Slot(*row)
        for row in sealed.slots.values_list("stratum", "position", "arm__key", "kit_code")
    ]
    if commitment_of(bytes(sealed.nonce), sealed.metadata, slots) != sealed.commitment:
        found.append(f"The slots of {sealed} do not give its commitment: they were altered.")
    written = AuditEvent.objects.filter(action=SEALED, study=sealed.study, subject=str(sealed))
    if [event.after for event in written] != [{"commitment": sealed.commitment}]:
        found.append(f"The audit trail has another commitment of {sealed}, or none.")
    return found


def skipped_slots(study: Study) -> list[str]:
    """Strata in which a slot was passed over: a free one before a spent one."""
    slots = Allocation.objects.filter(study=study)
    later = slots.filter(
        stratum=OuterRef("stratum"), position__gt=OuterRef("position"), participant__isnull=False
    )
    passed = slots.free().filter(Exists(later)).order_by("stratum")
    return [
        f"Stratum {stratum}: a free slot lies before a spent one."
        for stratum in passed.values_list("stratum", flat=True).distinct()
    ]


def strata_of(study: Study) -> list[Stratum]:
    """Slots of every stratum, spent and free, without arms."""
    counted = Allocation.objects.filter(study=study).sealed().values("stratum")
    return [
        Stratum(row["stratum"], row["slots"], row["spent"], row["in_error"])
        for row in counted.annotate(
            slots=Count("pk"), spent=Count("participant"), in_error=Count("in_error_at")
        ).order_by("stratum")
    ]


@transaction.atomic
def kits_of(study: Study, actor: Actor) -> list[tuple[str, str]]:
    """Every kit code with its arm, by code, for whoever packs the kits. It is written down."""
    slots = Allocation.objects.filter(study=study).sealed().exclude(kit_code="")
    kits = list(slots.order_by("kit_code").values_list("kit_code", "arm__key"))
    audit.record(
        actor=actor,
        action="allocation_list.kits_exported",
        subject=f"study {study}",
        study=study,
        after={"kits": len(kits)},
    )
    return kits


def factors_of(study: Study) -> dict[str, list[str]]:
    """The factors of a study's lists beside the site, with the values there are."""
    strata = Allocation.objects.filter(study=study).sealed().order_by("stratum")
    found: dict[str, list[str]] = {}
    for name in strata.values_list("stratum", flat=True).distinct():
        for factor, value in parts_of(name)[1].items():
            if value not in found.setdefault(factor, []):
                found[factor].append(value)
    return found


def has_slots(site: Site) -> bool:
    """Whether a list has strata of this site, which name it by its code."""
    named = Q(stratum=site.code) | Q(stratum__startswith=f"{site.code}/")
    return Allocation.objects.filter(named, study=site.study_id).sealed().exists()


def last_positions(study: Study) -> dict[str, int]:
    """The last position of every stratum, also of slots that came without a list."""
    slots = Allocation.objects.filter(study=study).values("stratum")
    return dict(slots.annotate(last=Max("position")).values_list("stratum", "last"))


def _site_codes(study: Study) -> list[str]:
    return list(Site.objects.filter(study=study).order_by("code").values_list("code", flat=True))


def _arm_keys(study: Study) -> list[str]:
    return list(Arm.objects.filter(study=study).order_by("key").values_list("key", flat=True))


def _kits(study: Study) -> set[str]:
    return set(Allocation.objects.filter(study=study).values_list("kit_code", flat=True))
