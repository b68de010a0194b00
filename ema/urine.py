"""Urine tests: the schedule, entering results, and correcting them with a reason."""

from collections.abc import Iterator
from datetime import date, datetime, timedelta

from django.db import transaction

from ema import audit
from ema.audit import Actor
from ema.models import Participant, PhaseStart, UrineTest
from ema.zone_names import zone_named

DAY = timedelta(days=1)
AHEAD = 14  # days that are scheduled, today included
MOST_DAYS_OFF = 7  # between the day a test is due and the day of the sample


class UrineRefused(ValueError):
    """The result cannot be recorded like this; the message says why."""


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
    first = max(_today(participant, now), start.begins_on, participant.enrolled_on + DAY)
    ends = min(_today(participant, now) + AHEAD * DAY, start.begins_on + start.phase.days * DAY)
    for number in range((ends - first).days):
        on = first + number * DAY
        if on.isoweekday() in participant.study.urine_weekdays:
            yield on


def refuse_wrong_date(*, test: UrineTest, collected_on: date | None, now: datetime) -> None:
    """UrineRefused when a sample of this day cannot be this test."""
    if collected_on is None:
        return
    today = _today(test.participant, now)
    if collected_on > today:
        raise UrineRefused(f"{collected_on} is in the future: today is {today}.")
    if abs(collected_on - test.due_on) > MOST_DAYS_OFF * DAY:
        raise UrineRefused(
            f"{collected_on} is more than {MOST_DAYS_OFF} days from {test.due_on}, when the test "
            "was due: choose the test that was due then."
        )


def refuse_wrong_correction(
    *, test: UrineTest, result: str, collected_on: date | None, reason: str
) -> None:
    """UrineRefused when a recorded result would change without a reason."""
    if _is_correction(test, result, collected_on) and not reason.strip():
        raise UrineRefused(
            f"{test.due_on} is recorded as {_in_words(test)}: say why it is corrected. The old "
            "result is kept."
        )


def _is_correction(test: UrineTest, result: str, collected_on: date | None) -> bool:
    return bool(test.result) and (test.result, test.collected_on) != (result, collected_on)


def _in_words(test: UrineTest) -> str:
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

    The audit trail keeps what it was before. Raises UrineRefused.
    """
    refuse_wrong_date(test=test, collected_on=collected_on, now=now)
    old = UrineTest.objects.select_for_update(of=("self",)).get(pk=test.pk)
    refuse_wrong_correction(test=old, result=result, collected_on=collected_on, reason=reason)
    if (old.result, old.collected_on) == (result, collected_on):
        return False
    test.result, test.collected_on = result, collected_on
    test.recorded_at = now if result else None
    test.save(update_fields=["result", "collected_on", "recorded_at"])
    audit.record(
        actor=actor,
        action="urine.corrected" if old.result else "urine.recorded",
        subject=f"participant {old.participant.code} {old.due_on}",
        study=old.participant.study,
        site=old.participant.site,
        before={"result": old.result, "collected_on": _iso(old.collected_on)},
        after={"result": result, "collected_on": _iso(collected_on)},
        reason=reason.strip(),
    )
    return True


def _today(participant: Participant, now: datetime) -> date:
    return now.astimezone(zone_named(participant.zone)).date()


def _iso(on: date | None) -> str | None:
    return on.isoformat() if on else None
