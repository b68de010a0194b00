"""Urine tests: the schedule, entering results, and correcting them with a reason."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import NamedTuple

from django.db import transaction

from ema import audit, hard_lock
from ema.audit import Actor
from ema.models import DoubleEntry, Participant, PhaseStart, Study, UrineTest
from ema.models.urine import UrineResult
from ema.zone_names import zone_named

DAY = timedelta(days=1)
FARTHEST_EAST = timedelta(hours=14)  # no zone's clock is further ahead of UTC
AHEAD = 14  # days that are scheduled, today included
MOST_DAYS_OFF = 7  # between the day a test is due and the day of the sample


class UrineRefused(ValueError):
    """The result cannot be recorded like this; the message says why."""


class Entry(NamedTuple):
    """What somebody says of a test; a reason where it corrects what is recorded."""

    test: int
    result: str
    collected_on: date | None
    reason: str = ""


def schedule_tests(now: datetime) -> int:
    """Add the tests of the coming 14 days, on the study's weekdays; how many are new.

    From the day after enrolment, on days of phases that have begun or are about to. Harmless to
    repeat, and to run twice at once.
    """
    phases = PhaseStart.objects.filter(
        participant__withdrawn_at=None,
        participant__study__started_at__lte=now,
        participant__study__locked_at=None,
    ).exclude(participant__study__urine_weekdays=[])
    due = {
        (start.participant_id, on)
        for start in phases.select_related("participant__study", "phase")
        for on in _test_days(start, now)
    }
    dates = [on for _, on in due]
    if not dates:
        return 0
    there = UrineTest.objects.filter(due_on__range=(min(dates), max(dates)))
    fresh = sorted(due - set(there.values_list("participant_id", "due_on")))
    UrineTest.objects.bulk_create(
        [UrineTest(participant_id=participant, due_on=on) for participant, on in fresh],
        ignore_conflicts=True,
        batch_size=5000,
    )
    return len(fresh)


def _test_days(start: PhaseStart, now: datetime) -> Iterator[date]:
    """The days, from today on, on which a phase asks its participant for a test."""
    participant = start.participant
    first = max(today_of(participant, now), start.begins_on, participant.enrolled_on + DAY)
    ends = min(today_of(participant, now) + AHEAD * DAY, start.begins_on + start.phase.days * DAY)
    for number in range((ends - first).days):
        on = first + number * DAY
        if on.isoweekday() in participant.study.urine_weekdays:
            yield on


def mark_missed(now: datetime) -> int:
    """Enter `missed` for open tests whose days of grace are over; how many.

    A study names its days of grace; one that names none enters missed tests by hand, and a locked
    one stays as it is. Harmless to repeat, and to run twice at once.
    """
    studies = Study.objects.filter(locked_at=None, started_at__lte=now)
    waiting = studies.exclude(urine_grace_days=None)
    return sum(_mark_missed(study, now) for study in waiting)


@transaction.atomic
def _mark_missed(study: Study, now: datetime) -> int:
    """Of one study; tests that somebody is entering, now or by a first entry, are left to them."""
    if hard_lock.refusal(study):  # locked since the studies were listed
        return 0
    over = timedelta(days=study.urine_grace_days or 0)
    anywhere = (now + FARTHEST_EAST).date()
    open_tests = UrineTest.objects.open().filter(
        participant__study=study, due_on__lt=anywhere - over
    )
    locked = open_tests.select_for_update(of=("self",), skip_locked=True).order_by("pk")
    found = list(locked.select_related("participant__site"))
    begun = set(  # asked once the tests are locked: from then on nobody begins
        DoubleEntry.objects.waiting()
        .filter(urine_test__in=[test.pk for test in found])
        .values_list("urine_test", flat=True)
    )
    missed = [
        test
        for test in found
        if test.due_on + over < today_of(test.participant, now) and test.pk not in begun
    ]
    for test in missed:
        test.result, test.recorded_at = UrineResult.MISSED, now
    UrineTest.objects.bulk_update(missed, ["result", "recorded_at"], batch_size=1000)
    for test in missed:
        audit.record(
            actor=audit.SYSTEM,
            action="urine.missed",
            subject=subject_of(test),
            study=study,
            site=test.participant.site,
            before={"result": "", "collected_on": None},
            after={"result": UrineResult.MISSED.value, "collected_on": None},
            reason=f"No result within {over.days} days after it was due.",
        )
    return len(missed)


def refuse_wrong_date(*, test: UrineTest, collected_on: date | None, now: datetime) -> None:
    """UrineRefused when a sample of this day cannot be this test."""
    if collected_on is None:
        return
    today = today_of(test.participant, now)
    if collected_on > today:
        raise UrineRefused(f"{collected_on} is in the future: today is {today}.")
    if abs(collected_on - test.due_on) > MOST_DAYS_OFF * DAY:
        raise UrineRefused(
            f"{collected_on} is more than {MOST_DAYS_OFF} days from {test.due_on}, when the test "
            "was due: choose the test that was due then."
        )


def refuse_wrong_result(
    *, test: UrineTest, result: str, collected_on: date | None, now: datetime
) -> None:
    """UrineRefused when a result and its date do not go together, or not with this test."""
    if result == UrineResult.MISSED and collected_on:
        raise UrineRefused("A missed test has no sample: leave its date empty.")
    if result != UrineResult.MISSED and not collected_on:
        raise UrineRefused("Say on which day the sample was collected.")
    refuse_wrong_date(test=test, collected_on=collected_on, now=now)


def refuse_locked(study: Study) -> None:
    """UrineRefused for a study that was locked."""
    if why := hard_lock.refusal(study):
        raise UrineRefused(why)


def refuse_one_entry(test: UrineTest) -> None:
    """UrineRefused for a test whose result two people enter: one is not enough."""
    if takes_two(test, test.double_entries.waiting().exists()):
        raise UrineRefused(
            f"The result of {test.due_on} is entered twice, by two people: enter it on the urine "
            "calendar."
        )


def takes_two(test: UrineTest, is_begun: bool) -> bool:
    """Whether two people enter this result; `is_begun` where a first entry waits."""
    return not test.result and (is_begun or test.participant.study.double_entry)


def refuse_wrong_correction(
    *, test: UrineTest, result: str, collected_on: date | None, reason: str
) -> None:
    """UrineRefused when a recorded result would change without a reason."""
    if _is_correction(test, result, collected_on) and not reason.strip():
        raise UrineRefused(
            f"{test.due_on} is recorded as {in_words(test)}: say why it is corrected. The old "
            "result is kept."
        )


def _is_correction(test: UrineTest, result: str, collected_on: date | None) -> bool:
    return bool(test.result) and (test.result, test.collected_on) != (result, collected_on)


def in_words(test: UrineTest) -> str:
    """A result as sentences have it."""
    return f"{test.result} on {test.collected_on}" if test.collected_on else test.result


@transaction.atomic
def record_result(
    *,
    test: UrineTest,
    result: str,
    collected_on: date | None,
    now: datetime,
    actor: Actor,
    reason: str = "",
) -> bool:
    """Enter a result, or correct one with a reason; False when it says so already.

    The audit trail keeps what it was before. A result that two people enter is not recorded here.
    Raises UrineRefused.
    """
    refuse_locked(test.participant.study)
    locked = UrineTest.objects.select_for_update(of=("self",)).get(pk=test.pk)
    entry = Entry(test.pk, result, collected_on, reason)
    if result:
        refuse_one_entry(locked)
    refuse_wrong_date(test=test, collected_on=collected_on, now=now)
    refuse_wrong_correction(test=locked, result=result, collected_on=collected_on, reason=reason)
    is_new = write(test=locked, entry=entry, now=now, actor=actor)
    test.result, test.collected_on, test.recorded_at = result, collected_on, locked.recorded_at
    return is_new


def write(*, test: UrineTest, entry: Entry, now: datetime, actor: Actor) -> bool:
    """Put an entry that was found right into its locked test; False when it says so already."""
    if (test.result, test.collected_on) == (entry.result, entry.collected_on):
        return False
    before = _said(test)
    test.result, test.collected_on = entry.result, entry.collected_on
    test.recorded_at = now if entry.result else None
    test.save(update_fields=["result", "collected_on", "recorded_at"])
    audit.record_about(
        participant=test.participant,
        actor=actor,
        action="urine.corrected" if before["result"] else "urine.recorded",
        subject=subject_of(test),
        before=before,
        after=_said(test),
        reason=entry.reason.strip(),
    )
    return True


def today_of(participant: Participant, now: datetime) -> date:
    """The date where a participant lives."""
    return now.astimezone(zone_named(participant.zone)).date()


def subject_of(test: UrineTest) -> str:
    """What the audit trail calls a test."""
    return f"participant {test.participant.code} {test.due_on}"


def _said(test: UrineTest) -> dict[str, str | None]:
    return {"result": test.result, "collected_on": _iso(test.collected_on)}


def _iso(on: date | None) -> str | None:
    return on.isoformat() if on else None
