"""Urine tests: the schedule, and entering results with an audit trail."""

from datetime import date, datetime, timedelta

from django.db import transaction

from ema import audit
from ema.audit import Actor
from ema.models import Participant, UrineTest

TEST_WEEKDAYS = (0, 2, 4)  # Monday, Wednesday, Friday


def schedule_tests(*, participant: Participant, days: int) -> int:
    """Three tests a week from the day after enrolment; how many are new. Harmless to repeat."""
    first = participant.enrolled_on
    dates = (first + timedelta(days=n) for n in range(1, days))
    due = [UrineTest(participant=participant, due_on=on) for on in dates if is_test_day(on)]
    before = participant.urine_tests.count()
    UrineTest.objects.bulk_create(due, ignore_conflicts=True)
    return participant.urine_tests.count() - before


def is_test_day(on: date) -> bool:
    return on.weekday() in TEST_WEEKDAYS


@transaction.atomic
def record_result(
    *, test: UrineTest, result: str, collected_on: date | None, now: datetime, actor: Actor
) -> None:
    """Enter or correct a result; the audit trail keeps what it was before."""
    old = UrineTest.objects.select_for_update().get(pk=test.pk)
    test.result, test.collected_on = result, collected_on
    test.recorded_at = now if result else None
    test.save(update_fields=["result", "collected_on", "recorded_at"])
    audit.record(
        actor=actor,
        action="urine.recorded",
        subject=f"participant {old.participant.code} {old.due_on}",
        study=old.participant.study,
        site=old.participant.site,
        before={"result": old.result, "collected_on": _iso(old.collected_on)},
        after={"result": result, "collected_on": _iso(collected_on)},
    )


def _iso(on: date | None) -> str | None:
    return on.isoformat() if on else None
