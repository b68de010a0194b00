"""Many urine results at once: all of them, or none and what is wrong with each."""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import transaction

from ema import double_entry, hard_lock, urine
from ema.audit import Actor
from ema.double_entry import EntryRefused, Standing
from ema.entry_pairs import waiting_for
from ema.models import AuditEvent, DoubleEntry, UrineTest
from ema.urine import Entry, UrineRefused


class BatchRefused(ValueError):
    """Nothing was recorded; `problems` has a sentence for each test that is wrong."""

    def __init__(self, problems: dict[int, str]) -> None:
        super().__init__(f"Nothing was recorded: {len(problems)} results need another look.")
        self.problems = problems


class Recorded(NamedTuple):
    """How many results are new or corrected, and how many were there already.

    Where two people enter each: how many were entered once, and how many second entries differ.
    Nobody compares second entries before they are saved: of a rehearsal they are `second`.
    """

    new: int
    known: int
    once: int = 0
    differ: int = 0
    second: int = 0


@transaction.atomic
def record_results(
    *, entries: Sequence[Entry], now: datetime, actor: Actor, is_rehearsal: bool = False
) -> Recorded:
    """Enter results, one for each test; who sends the same again changes nothing.

    A recorded result is corrected only with a reason. Where two people enter each, these are first
    or second entries. A rehearsal says what would be, and saves nothing. Raises BatchRefused.
    """
    wanted = UrineTest.objects.filter(pk__in=[entry.test for entry in entries])
    locked = wanted.select_for_update(of=("self",)).order_by("pk")
    tests = {
        test.pk: test for test in locked.select_related("participant__study", "participant__site")
    }
    _refuse_locked(tests)
    pairs = waiting_for(tests.values())
    problems = {
        entry.test: problem(tests[entry.test], pairs.get(entry.test), entry, now, actor)
        for entry in entries
    }
    if wrong := {test: why for test, why in problems.items() if why}:
        raise BatchRefused(wrong)
    told = Counter(
        _enter(tests[entry.test], pairs.get(entry.test), entry, now, actor) for entry in entries
    )
    transaction.set_rollback(is_rehearsal)
    return _recorded(told, is_rehearsal)


def _refuse_locked(tests: Mapping[int, UrineTest]) -> None:
    """BatchRefused where a study of these tests was locked, once for each study."""
    studies = {test.participant.study for test in tests.values()}
    locked = {study.pk: why for study in studies if (why := hard_lock.refusal(study))}
    of_study = {pk: locked.get(test.participant.study_id) for pk, test in tests.items()}
    if wrong := {pk: why for pk, why in of_study.items() if why}:
        raise BatchRefused(wrong)


def _enter(
    test: UrineTest, pair: DoubleEntry | None, entry: Entry, now: datetime, actor: Actor
) -> tuple[Standing, bool]:
    """What became of it, and whether it was a second entry."""
    if urine.takes_two(test, pair is not None):
        told = double_entry.enter_result(test=test, pair=pair, entry=entry, now=now, actor=actor)
        return told, pair is not None and told in (Standing.SETTLED, Standing.DIFFERS)
    is_new = urine.write(test=test, entry=entry, now=now, actor=actor)
    return (Standing.SETTLED if is_new else Standing.KNOWN), False


def _recorded(told: Counter[tuple[Standing, bool]], is_rehearsal: bool) -> Recorded:
    """A rehearsal does not tell whether second entries agree: one could try until they do."""
    second = told[Standing.SETTLED, True], told[Standing.DIFFERS, True]
    return Recorded(
        new=told[Standing.SETTLED, False] + (0 if is_rehearsal else second[0]),
        known=told[Standing.KNOWN, False],
        once=told[Standing.ONCE, False],
        differ=0 if is_rehearsal else second[1],
        second=sum(second) if is_rehearsal else 0,
    )


def problem(
    test: UrineTest, pair: DoubleEntry | None, entry: Entry, now: datetime, actor: Actor
) -> str:
    """Why this cannot be recorded, in words; empty where it can."""
    try:
        urine.refuse_wrong_result(
            test=test, result=entry.result, collected_on=entry.collected_on, now=now
        )
        if urine.takes_two(test, pair is not None):
            double_entry.refuse_result(pair=pair, entry=entry, actor=actor)
    except (UrineRefused, EntryRefused) as error:
        return str(error)
    is_same = (test.result, test.collected_on) == (entry.result, entry.collected_on)
    if not test.result or is_same or entry.reason.strip():
        return ""
    return f"{_who(test)} {urine.in_words(test)}: to correct it, give a reason."


def _who(test: UrineTest) -> str:
    """Who recorded a result, and when."""
    events = AuditEvent.objects.filter(
        study=test.participant.study, subject=urine.subject_of(test), action__startswith="urine."
    )
    last = events.select_related("actor").order_by("pk").last()
    if last is None:
        return "It is recorded as"
    by = last.actor.get_username() if last.actor else f"a {last.door}"
    return f"Recorded by {by} at {last.at:%Y-%m-%d %H:%M} UTC as"
