"""Urine tests for the trials of tests, written straight into the database."""

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta

from django.utils import timezone

from ema.models import Allocation, Participant, Study, UrineTest
from tests.analytics.answers import START, add_participant, make_study

SIGNS = {"-": "negative", "+": "positive", "o": "missed", "?": ""}
DAY_0 = START.date()


def give_tests(participant: Participant, days: Iterable[int], signs: str) -> None:
    """A test on each of these days after `START`; a question mark is an open one."""
    tests = [
        a_test(participant, DAY_0 + timedelta(days=day), SIGNS[sign])
        for day, sign in zip(days, signs, strict=True)
    ]
    UrineTest.objects.bulk_create(tests)


def a_test(participant: Participant, due_on: date, result: str) -> UrineTest:
    return UrineTest(
        participant=participant,
        due_on=due_on,
        result=result,
        collected_on=due_on if result in ("negative", "positive") else None,
        recorded_at=timezone.now() if result else None,
    )


def allocate_on(study: Study, at: datetime = START) -> None:
    """Everybody was allocated then: day 0."""
    Allocation.objects.filter(study=study, participant__isnull=False).update(allocated_at=at)


def make_urine_trial(
    by_arm: Sequence[tuple[str | None, Sequence[str]]], slug: str = "relief", **study: object
) -> Study:
    """One participant per string of signs, one test a week; the first arm is the reference."""
    arms = tuple(arm for arm, _ in by_arm if arm is not None)
    made = make_study(slug, arms=arms, **study)  # type: ignore[arg-type]
    for number, (arm, calendars) in enumerate(by_arm):
        for place, signs in enumerate(calendars):
            person = add_participant(made, f"P{number}{place:02}", arm)
            give_tests(person, range(7, 7 * len(signs) + 7, 7), signs)
    allocate_on(made)
    return made
