"""Results that two people enter: the first entry, the second, and a decision where they differ.

Nobody may learn what the first entry says before there is a second one: what is written down until
then says that somebody entered something, and no more.
"""

from collections.abc import Mapping
from datetime import datetime
from enum import StrEnum
from typing import Any
from uuid import UUID, uuid4

from django.contrib.auth.models import AbstractBaseUser
from django.db import transaction

from ema import adverse_events, audit, hard_lock, urine
from ema.audit import Actor
from ema.entry_pairs import Said, agreed, both, name_of, read, said_of, subject_of
from ema.models import AdverseEvent, DoubleEntry, Participant, UrineTest
from ema.urine import Entry

LONGEST_REASON = 500


class EntryRefused(ValueError):
    """This entry cannot be made like this; the message says why."""


class Standing(StrEnum):
    """What has become of an entry."""

    ONCE = "entered once"
    SETTLED = "settled"
    DIFFERS = "differs"
    KNOWN = "known"


def person(actor: Actor) -> AbstractBaseUser:
    """Who enters; EntryRefused where that is not known, as two entries are of two people."""
    if actor.user is None:
        raise EntryRefused(
            "Results are entered twice here, by two people: say who enters this (--by USER)."
        )
    return actor.user


def refuse_result(*, pair: DoubleEntry | None, entry: Entry, actor: Actor) -> None:
    """EntryRefused for a test that two people entered already, but for who says the same again."""
    person(actor)
    if pair and pair.second_by_id and not _is_repeated(pair, said_of(entry), actor):
        raise EntryRefused(
            "Two people entered it and their entries differ: decide on the page of double entry."
        )


def enter_result(
    *, test: UrineTest, pair: DoubleEntry | None, entry: Entry, now: datetime, actor: Actor
) -> Standing:
    """Enter a result that was found right, the test being locked: first, anew, or second."""
    said = said_of(entry)
    if pair and _is_repeated(pair, said, actor):
        return Standing.KNOWN
    if pair and not _is_first(pair, actor):
        pair.urine_test, pair.participant = test, test.participant
        return _enter_second(pair, said, now, actor)
    if pair:
        _withdraw(pair, now, actor, "Entered anew.")
    _enter_first(
        DoubleEntry(participant=test.participant, urine_test=test), said=said, now=now, actor=actor
    )
    return Standing.ONCE


@transaction.atomic
def report_event(
    *, participant: Participant, key: UUID, said: Mapping[str, Any], now: datetime, actor: Actor
) -> AdverseEvent | DoubleEntry:
    """Keep an adverse event, or its first entry where two people enter it.

    The same key again is what is there. Raises EventRefused and EntryRefused.
    """
    if not participant.study.double_entry:
        return adverse_events.report(
            participant=participant, key=key, said=said, now=now, actor=actor
        )
    person(actor)
    Participant.objects.select_for_update(no_key=True).get(pk=participant.pk)
    if there := DoubleEntry.objects.filter(key=key, participant=participant).first():
        return there
    told = adverse_events.told_of(participant=participant, said=said, now=now)
    return _enter_first(
        DoubleEntry(participant=participant, key=key), said=told, now=now, actor=actor
    )


@transaction.atomic
def enter_event(
    *, pair: DoubleEntry, said: Mapping[str, Any], now: datetime, actor: Actor
) -> Standing:
    """The second entry of an event; of whoever made the first one, that one anew.

    Raises EventRefused and EntryRefused.
    """
    person(actor)
    locked = _locked(pair)
    told = adverse_events.told_of(participant=locked.participant, said=said, now=now)
    if _is_repeated(locked, told, actor):
        return Standing.KNOWN
    if locked.withdrawn_at:
        raise EntryRefused("This first entry was withdrawn: report the event anew.")
    if locked.second_by_id:
        raise EntryRefused("Two people entered this event already.")
    if not _is_first(locked, actor):
        return _enter_second(locked, told, now, actor)
    _withdraw(locked, now, actor, "Entered anew.")
    anew = DoubleEntry(participant=locked.participant, key=uuid4())
    _enter_first(anew, said=told, now=now, actor=actor)
    return Standing.ONCE


@transaction.atomic
def withdraw(*, pair: DoubleEntry, reason: str, now: datetime, actor: Actor) -> bool:
    """Take a first entry back, by whoever made it; False when it is withdrawn already."""
    locked = _locked(pair)
    if not _is_first(locked, actor):
        raise EntryRefused(f"{name_of(locked.first_by)} made this entry, and may withdraw it.")
    if locked.withdrawn_at:
        return False
    if locked.second_by_id:
        raise EntryRefused("Two people entered this already: what stands is corrected instead.")
    if not reason.strip():
        raise EntryRefused("Say why the entry is withdrawn.")
    _withdraw(locked, now, actor, reason)
    return True


@transaction.atomic
def decide(
    *, pair: DoubleEntry, said: Mapping[str, Any], reason: str, now: datetime, actor: Actor
) -> bool:
    """Settle two entries that differ, with a reason; False when it was decided like this already.

    `said` is what either says, or something else. Raises EntryRefused, EventRefused, UrineRefused.
    """
    locked = _locked(pair)
    told = checked(pair=locked, said=said, now=now)
    if locked.settled_at and locked.settled_said == told:
        return False
    if locked.settled_at:
        raise EntryRefused("This is settled already: correct what stands, with a reason.")
    if not locked.second_by_id:
        raise EntryRefused("There is nothing to decide before a second entry.")
    if not reason.strip():
        raise EntryRefused("Say why this is right: both entries are kept beside the reason.")
    locked.decided_by_id = person(actor).pk
    locked.reason = reason.strip()[:LONGEST_REASON]
    between = f"{name_of(locked.first_by)} and {name_of(locked.second_by)}"
    why = f"Entered by {between}, who differed; decided: {locked.reason}"
    _settle(locked, told, now, actor, why[:LONGEST_REASON])
    _write_down("entry.decided", locked, actor, before=both(locked), after=told, reason=reason)
    return True


def checked(*, pair: DoubleEntry, said: Mapping[str, Any], now: datetime) -> Said:
    """What is said, as entries keep it. Raises EventRefused, UrineRefused."""
    if pair.urine_test is None:
        return adverse_events.told_of(participant=pair.participant, said=said, now=now)
    urine.refuse_wrong_result(test=pair.urine_test, now=now, **said)
    return said_of(Entry(pair.urine_test.pk, said["result"], said["collected_on"]))


def _is_first(pair: DoubleEntry, actor: Actor) -> bool:
    return actor.user is not None and pair.first_by_id == actor.user.pk


def _is_repeated(pair: DoubleEntry, said: Said, actor: Actor) -> bool:
    """Whether the same person says the same again."""
    by = actor.user.pk if actor.user else None
    is_first = pair.first_by_id == by and pair.first_said == said
    return (is_first and not pair.withdrawn_at) or (
        pair.second_by_id == by and pair.second_said == said
    )


def _locked(pair: DoubleEntry) -> DoubleEntry:
    """The pair as it is now; the test before the pair, as those who enter results do.

    EntryRefused in a study that was locked: first entries that wait are left as they are.
    """
    if why := hard_lock.refusal(pair.participant.study):
        raise EntryRefused(why)
    if pair.urine_test_id:
        UrineTest.objects.select_for_update().get(pk=pair.urine_test_id)
    found = DoubleEntry.objects.select_for_update(of=("self",)).select_related(
        "participant__study", "participant__site", "urine_test", "first_by", "second_by"
    )
    return found.get(pk=pair.pk)


def _enter_first(pair: DoubleEntry, *, said: Said, now: datetime, actor: Actor) -> DoubleEntry:
    pair.first_said, pair.first_at = said, now
    pair.first_by_id = person(actor).pk
    pair.save()
    _write_down("entry.first", pair, actor)
    return pair


def _enter_second(pair: DoubleEntry, said: Said, now: datetime, actor: Actor) -> Standing:
    """Settled where both say the same."""
    pair.second_said, pair.second_at = said, now
    pair.second_by_id = person(actor).pk
    both_say = agreed(pair)
    if both_say is None:
        pair.save()
        _write_down("entry.differs", pair, actor)
        return Standing.DIFFERS
    names = f"{name_of(pair.first_by)} and {name_of(actor.user)}"
    _settle(pair, both_say, now, actor, f"Entered by {names}, who agreed.")
    return Standing.SETTLED


def _settle(pair: DoubleEntry, said: Said, now: datetime, actor: Actor, reason: str) -> None:
    """Record what stands, by the step that records it in every study."""
    if pair.urine_test:
        entry = Entry(pair.urine_test.pk, **read(pair, said), reason=reason)
        urine.write(test=pair.urine_test, entry=entry, now=now, actor=actor)
    else:
        pair.adverse_event = adverse_events.report(
            participant=pair.participant,
            key=pair.key,
            said=adverse_events.said_by(said),
            now=now,
            actor=actor,
            reason=reason,
        )
    pair.settled_said, pair.settled_at = said, now
    pair.save()


def _withdraw(pair: DoubleEntry, now: datetime, actor: Actor, reason: str) -> None:
    pair.withdrawn_at = now
    pair.save(update_fields=["withdrawn_at"])
    _write_down("entry.withdrawn", pair, actor, reason=reason)


def _write_down(
    action: str,
    pair: DoubleEntry,
    actor: Actor,
    *,
    before: Any = None,
    after: Any = None,
    reason: str = "",
) -> None:
    audit.record_about(
        participant=pair.participant,
        actor=actor,
        action=action,
        subject=subject_of(pair),
        before=before,
        after=after,
        reason=reason.strip()[:LONGEST_REASON],
    )
