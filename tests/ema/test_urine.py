"""Urine tests: scheduled by themselves, recorded with their dates."""

from datetime import UTC, date, datetime, timedelta

import pytest
from django.conf import settings
from django.core.exceptions import ValidationError
from django.utils import timezone

from ema import audit, studies, tasks, urine, withdrawal
from ema.models import Participant, Study, UrineTest
from scheduler.planning import plan_prompts
from tests import trial
from tests.ema.test_admin import page, sign_in

pytestmark = pytest.mark.django_db

MONDAY = datetime(2026, 6, 1, 12, tzinfo=UTC)


def study_with_tests(days: int = 98, weekdays: tuple[int, ...] = (1, 3, 5)) -> Study:
    study = trial.make_study(phase_days=days)
    Study.objects.update(urine_weekdays=list(weekdays), started_at=MONDAY - timedelta(days=30))
    study.refresh_from_db()
    return study


def enrolled(study: Study, at: datetime = MONDAY, zone: str = "Europe/Brussels") -> Participant:
    person = trial.enrol(study, f"S{Participant.objects.count()}", zone, at)
    plan_prompts(at)
    return person


def due(person: Participant) -> list[date]:
    return list(person.urine_tests.values_list("due_on", flat=True))


def test_three_tests_a_week_are_scheduled_for_the_coming_14_days_once() -> None:
    person = enrolled(study_with_tests())
    assert urine.schedule_tests(MONDAY) == 5
    assert due(person) == [date(2026, 6, day) for day in (3, 5, 8, 10, 12)]
    assert urine.schedule_tests(MONDAY) == 0
    assert urine.schedule_tests(MONDAY + timedelta(days=7)) == 3


def test_days_are_the_participants_own() -> None:
    person = enrolled(study_with_tests(weekdays=(3,)), zone="Pacific/Kiritimati")
    urine.schedule_tests(MONDAY)
    assert person.enrolled_on == date(2026, 6, 2)
    assert due(person) == [date(2026, 6, 3), date(2026, 6, 10)]


def test_tests_end_with_the_last_phase() -> None:
    person = enrolled(study_with_tests(days=5))
    urine.schedule_tests(MONDAY)
    assert due(person) == [date(2026, 6, 3), date(2026, 6, 5)]


def test_no_tests_where_none_are_wanted_or_nobody_takes_part_any_more() -> None:
    person = enrolled(study_with_tests(weekdays=()))
    assert urine.schedule_tests(MONDAY) == 0
    Study.objects.update(urine_weekdays=[1])
    withdrawal.withdraw(participant=person, reason="moved", now=MONDAY, actor=audit.COMMAND)
    assert urine.schedule_tests(MONDAY) == 0
    enrolled(person.study)
    studies.lock(study=person.study, now=MONDAY, actor=audit.COMMAND, reason="over")
    assert urine.schedule_tests(MONDAY) == 0


def test_the_worker_schedules_by_itself() -> None:
    person = enrolled(study_with_tests(), at=timezone.now())
    tasks.schedule_urine_tests()
    assert 4 <= person.urine_tests.count() <= 6
    assert "ema.tasks.schedule_urine_tests" in settings.CELERY_BEAT_SCHEDULE


def test_an_administrator_names_the_weekdays_of_a_running_study() -> None:
    study = study_with_tests(weekdays=())
    study.urine_weekdays = [2, 4]
    studies.save(study=study, actor=audit.COMMAND)
    study.refresh_from_db()
    assert study.urine_weekdays == [2, 4]


@pytest.mark.parametrize("weekdays", [[0], [8], ["Monday"], [1, 1], 1, [True], {"1": 1}])
def test_only_weekdays_are_taken(weekdays: object) -> None:
    with pytest.raises(ValidationError, match="weekday"):
        Study(slug="a", title="a", urine_weekdays=weekdays).full_clean()


@pytest.mark.parametrize(
    ("days", "sentence"),
    [(1, "is in the future: today is"), (-30, "is more than 7 days from")],
)
def test_a_collection_date_that_cannot_be_is_refused_beside_its_field(
    days: int, sentence: str
) -> None:
    study = trial.make_study()
    person = trial.enrol(study, "S1-001", "UTC", timezone.now() - timedelta(days=60))
    today = timezone.now().date()
    test = UrineTest.objects.create(participant=person, due_on=today)
    wrong = today + timedelta(days=days)
    with pytest.raises(urine.UrineRefused, match=sentence):
        urine.record_result(
            test=test,
            result="negative",
            collected_on=wrong,
            now=timezone.now(),
            actor=audit.COMMAND,
        )
    client = sign_in("cora", study, "coordinator")
    form = {"result": "negative", "collected_on": wrong.isoformat()}
    said = page(client.post(f"/admin/ema/urinetest/{test.pk}/change/", form))
    assert f"<li>{wrong} {sentence}" in said
    test.refresh_from_db()
    assert test.result == ""
