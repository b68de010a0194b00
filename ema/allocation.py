"""Allocate: eligibility and consent first, then the next slot of the stratum, once and for good.

Slots of a stratum are spent in their order: of two coordinators who press at once, the second
waits until the first one's transaction ends, and gets the slot behind it or, had the first failed,
that one. No arm is read here but to write it into the closed event.
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime
from typing import Any, NamedTuple

from django.db import transaction

from ema import audit, hard_lock
from ema.allocation_lists import stratum_of
from ema.arm_labels import names_shown
from ema.audit import Actor
from ema.consents import Agreed, ConsentRefused, refuse_wrong_consent
from ema.models import Allocation, Eligibility, Participant, Study
from ema.sealing import factors_of


class AllocationRefused(ValueError):
    """This participant is not allocated like this; the message says what to do."""


class Told(NamedTuple):
    """What may be told of an allocation; the arm is None while arms are hidden.

    Allocations that came without a list, from elsewhere, have no slot to tell.
    """

    stratum: str
    position: int | None
    kit_code: str
    allocated_at: datetime
    in_error_at: datetime | None
    in_error_reason: str
    arm: str | None


class Confirmed(NamedTuple):
    """What a coordinator confirms before the slot is opened."""

    is_eligible: bool
    consent_version: str
    consented_on: date
    factors: Mapping[str, str]


@transaction.atomic
def allocate(
    *, participant: Participant, confirmed: Confirmed, now: datetime, actor: Actor
) -> Told:
    """Spend the next slot of the participant's stratum. Asking again tells the same.

    Raises AllocationRefused.
    """
    person = _locked(participant)
    if told := told_of(person):
        return told
    refuse_wrong_allocation(participant=person, confirmed=confirmed, now=now)
    factors = _refuse_wrong_factors(person.study, confirmed.factors)
    slot = _next_slot(person.study, stratum_of(person.site.code, factors))
    Eligibility.objects.create(
        participant=person,
        factors=dict(confirmed.factors),
        consent_version=confirmed.consent_version.strip(),
        consented_on=confirmed.consented_on,
        confirmed_at=now,
        confirmed_by_id=actor.user.pk if actor.user else None,
    )
    _spend(slot, person, now)
    _write_down(slot, person, confirmed, actor)
    return _told(slot)


def refuse_wrong_allocation(
    *, participant: Participant, confirmed: Confirmed, now: datetime
) -> None:
    """Raise AllocationRefused in words while something is missing."""
    study = participant.study
    if study.started_at is None:
        raise AllocationRefused(f"Study {study} has not started: allocate once it has.")
    if why := hard_lock.refusal(study):
        raise AllocationRefused(why)
    if participant.withdrawn_at is not None:
        raise AllocationRefused(f"{participant} has withdrawn and is not allocated any more.")
    if not confirmed.is_eligible:
        raise AllocationRefused(
            f"Confirm first that {participant} meets every criterion of the protocol: nobody "
            "else is allocated."
        )
    agreed = Agreed(confirmed.consent_version, confirmed.consented_on)
    try:
        refuse_wrong_consent(agreed=agreed, zone=participant.zone, now=now)
    except ConsentRefused as error:
        raise AllocationRefused(str(error)) from error


def _refuse_wrong_factors(study: Study, said: Mapping[str, str]) -> dict[str, str]:
    """What was said, in the order of the lists' strata."""
    if not study.allocation_lists.exists():
        raise AllocationRefused(
            f"Study {study} has no allocation list yet: ask an administrator to make one "
            f"(manage.py allocation_list {study} generate or upload)."
        )
    factors = factors_of(study)
    for name, values in factors.items():
        if said.get(name) not in values:
            raise AllocationRefused(f"Say of {name} whether it is {' or '.join(values)}.")
    for name in said:
        if name not in factors:
            known = ", ".join(factors) or "none"
            raise AllocationRefused(f"Study {study} is not stratified by {name}; by: {known}.")
    return {name: said[name] for name in factors}


def _locked(participant: Participant) -> Participant:
    """Whoever presses twice waits here for themselves."""
    mine = Participant.objects.select_for_update(no_key=True, of=("self",))
    return mine.select_related("study", "site").get(pk=participant.pk)


def _next_slot(study: Study, stratum: str) -> Allocation:
    slots = Allocation.objects.filter(study=study, stratum=stratum).sealed()
    slot = slots.free().order_by("position").select_for_update(of=("self",)).first()
    if slot is None:
        there = slots.count()
        said = f"All {there} slots of {stratum} are spent" if there else f"{stratum} has no slots"
        raise AllocationRefused(
            f"{said}: nobody is allocated there until an administrator adds some (manage.py "
            f"allocation_list {study} generate --more, or upload)."
        )
    return slot


def _spend(slot: Allocation, person: Participant, now: datetime) -> None:
    free = Allocation.objects.filter(pk=slot.pk, participant=None)
    if not free.update(participant=person, allocated_at=now):
        raise AllocationRefused(f"{slot} was spent meanwhile: press again.")
    slot.participant, slot.allocated_at = person, now


def _write_down(slot: Allocation, person: Participant, said: Confirmed, actor: Actor) -> None:
    """Openly which slot, and for the closed role which arm."""
    about: dict[str, Any] = {
        "actor": actor,
        "subject": f"participant {person.code}",
        "study": person.study,
        "site": person.site,
    }
    audit.record(
        **about,
        action="participant.allocated",
        after={
            "stratum": slot.stratum,
            "slot": slot.position,
            "kit": slot.kit_code,
            "consent_version": said.consent_version.strip(),
            "consented_on": said.consented_on.isoformat(),
        },
    )
    audit.record(
        **about,
        action="participant.arm_allocated",
        is_closed=True,
        after={"slot": slot.position, "arm": names_shown(person.study)[slot.arm.key]},
    )


@transaction.atomic
def mark_randomised_in_error(
    *, participant: Participant, reason: str, now: datetime, actor: Actor
) -> Told:
    """Flag an allocation that should not have been. The slot stays spent, the arm is analysed."""
    person, why = _locked(participant), reason.strip()
    mine = Allocation.objects.filter(participant=person)
    if not mine.exists():
        raise AllocationRefused(f"{person} is not allocated, so not in error either.")
    if refused := hard_lock.refusal(person.study):
        raise AllocationRefused(refused)
    if not why or len(why) > 500:
        raise AllocationRefused("Say in words why, in at most 500 characters.")
    if not mine.filter(in_error_at=None).update(in_error_at=now, in_error_reason=why):
        raise AllocationRefused(f"{person} is marked as randomised in error already.")
    slot = mine.get()
    audit.record_about(
        participant=person,
        actor=actor,
        action="participant.randomised_in_error",
        after={"stratum": slot.stratum, "slot": slot.position, "in_error_at": now.isoformat()},
        reason=why,
    )
    return _told(slot)


def told_of(participant: Participant) -> Told | None:
    """What may be told of somebody's allocation; None while there is none."""
    return tell_all(participant.study, [participant]).get(participant.pk)


def tell_all(study: Study, participants: Iterable[Participant]) -> dict[int, Told]:
    """What may be told of these participants' allocations, by their keys."""
    slots = Allocation.objects.filter(study=study, participant__in=participants)
    named = slots.select_related("study", *([] if study.arms_are_hidden else ["arm"]))
    return {slot.participant_id: _told(slot) for slot in named if slot.participant_id}


def _told(slot: Allocation) -> Told:
    assert slot.allocated_at is not None  # noqa: S101 - a spent slot says when it was spent
    return Told(
        stratum=slot.stratum,
        position=slot.position if slot.allocation_list_id else None,
        kit_code=slot.kit_code,
        allocated_at=slot.allocated_at,
        in_error_at=slot.in_error_at,
        in_error_reason=slot.in_error_reason,
        arm=None if slot.study.arms_are_hidden else slot.arm.key,
    )
