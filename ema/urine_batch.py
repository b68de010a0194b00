"""Many urine results at once: all of them, or none and what is wrong with each."""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from django.db import transaction

from ema import urine
from ema.audit import Actor
from ema.models import AuditEvent, UrineTest
from ema.models.urine import UrineResult
from ema.urine import Entry, UrineRefused


class BatchRefused(ValueError):
    """Nothing was recorded; `problems` has a sentence for each test that is wrong."""

    def __init__(self, problems: dict[int, str]) -> None:
        super().__init__(f"Nothing was recorded: {len(problems)} results need another look.")
        self.problems = problems


class Recorded(NamedTuple):
    """How many results are new or corrected, and how many were there already."""

    new: int
    known: int


@transaction.atomic
def record_results(
    *, entries: Sequence[Entry], now: datetime, actor: Actor, is_rehearsal: bool = False
) -> Recorded:
    """Enter results, one for each test; who sends the same again changes nothing.

    A recorded result is corrected only with a reason. A rehearsal says what would be, and saves
    nothing. Raises BatchRefused.
    """
    wanted = UrineTest.objects.filter(pk__in=[entry.test for entry in entries])
    locked = wanted.select_for_update(of=("self",)).order_by("pk")
    tests = {
        test.pk: test for test in locked.select_related("participant__study", "participant__site")
    }
    problems = {entry.test: problem(tests[entry.test], entry, now) for entry in entries}
    if wrong := {test: why for test, why in problems.items() if why}:
        raise BatchRefused(wrong)
    new = sum(
        urine.write(test=tests[entry.test], entry=entry, now=now, actor=actor) for entry in entries
    )
    transaction.set_rollback(is_rehearsal)
    return Recorded(new, len(entries) - new)


def problem(test: UrineTest, entry: Entry, now: datetime) -> str:
    """Why this cannot be recorded, in words; empty where it can."""
    if entry.result == UrineResult.MISSED and entry.collected_on:
        return "A missed test has no sample: leave its date empty."
    if entry.result != UrineResult.MISSED and not entry.collected_on:
        return "Say on which day the sample was collected."
    try:
        urine.refuse_wrong_date(test=test, collected_on=entry.collected_on, now=now)
    except UrineRefused as error:
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
