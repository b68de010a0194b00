"""An open urine test is missed once its days of grace are over, and a late result corrects it."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError
from django.utils import timezone

from ema import audit, studies, tasks, urine
from ema.models import AuditEvent, Participant, Study, UrineTest
from tests import trial

pytestmark = pytest.mark.django_db

DUE = date(2026, 6, 1)


def open_test(zone: str = "UTC") -> UrineTest:
    study = Study.objects.first() or trial.make_study()
    code = f"S{Participant.objects.count()}"
    person = trial.enrol(study, code, zone, datetime(2026, 5, 1, tzinfo=UTC))
    return UrineTest.objects.create(participant=person, due_on=DUE)


def at(day: int, hour: int = 12) -> datetime:
    return datetime(2026, 6, day, hour, tzinfo=UTC)


def result_of(test: UrineTest) -> str:
    test.refresh_from_db()
    return test.result


def test_a_test_is_missed_once_its_days_of_grace_are_over() -> None:
    test = open_test()
    assert urine.mark_missed(at(3, 23)) == 0
    assert result_of(test) == ""
    assert urine.mark_missed(at(4, 0)) == 1
    assert result_of(test) == "missed"
    assert test.recorded_at == at(4, 0)
    assert urine.mark_missed(at(5)) == 0


def test_days_end_where_the_participant_lives() -> None:
    east, west = open_test("Pacific/Kiritimati"), open_test("Pacific/Pago_Pago")
    assert urine.mark_missed(at(3, 10)) == 1
    assert (result_of(east), result_of(west)) == ("missed", "")
    assert urine.mark_missed(at(4, 10)) == 0
    assert urine.mark_missed(at(4, 11)) == 1


def test_a_study_names_its_days_of_grace() -> None:
    test = open_test()
    Study.objects.update(urine_grace_days=0)
    assert urine.mark_missed(at(1)) == 0
    Study.objects.update(urine_grace_days=None)
    assert urine.mark_missed(at(30)) == 0
    Study.objects.update(urine_grace_days=0)
    assert urine.mark_missed(at(2)) == 1
    assert result_of(test) == "missed"
    with pytest.raises(ValidationError, match="less than or equal to 7"):
        Study(slug="a", title="a", urine_grace_days=8).full_clean()
    with pytest.raises(IntegrityError, match="a_urine_test_is_missed_within_a_week"):
        Study.objects.update(urine_grace_days=8)


def test_a_result_and_a_locked_study_stay_as_they_are() -> None:
    test, other = open_test(), open_test()
    said: Any = {"result": "negative", "collected_on": DUE, "now": at(2), "actor": audit.COMMAND}
    urine.record_result(test=test, **said)
    studies.lock(study=test.participant.study, now=at(3), actor=audit.COMMAND, reason="over")
    assert urine.mark_missed(at(9)) == 0
    assert (result_of(test), result_of(other)) == ("negative", "")


def test_who_missed_it_is_nobody_and_the_trail_says_why() -> None:
    test = open_test()
    urine.mark_missed(at(9))
    event = AuditEvent.objects.get(action="urine.missed")
    assert (event.actor, event.door, event.site) == (None, "task", test.participant.site)
    assert event.subject == f"participant {test.participant.code} 2026-06-01"
    assert event.before == {"result": "", "collected_on": None}
    assert event.after == {"result": "missed", "collected_on": None}
    assert event.reason == "No result within 2 days after it was due."


def test_a_result_that_was_entered_late_corrects_it_with_a_reason() -> None:
    test = open_test()
    urine.mark_missed(at(9))
    test.refresh_from_db()
    late: Any = {"result": "negative", "collected_on": DUE, "now": at(9), "actor": audit.COMMAND}
    with pytest.raises(urine.UrineRefused, match="recorded as missed: say why"):
        urine.record_result(test=test, **late)
    assert urine.record_result(test=test, **late, reason="Collected in time, entered late.")
    assert result_of(test) == "negative"
    event = AuditEvent.objects.get(action="urine.corrected")
    assert event.before == {"result": "missed", "collected_on": None}
    assert urine.mark_missed(at(10)) == 0


def test_the_worker_marks_by_itself() -> None:
    test = open_test()
    UrineTest.objects.update(due_on=timezone.now().date() - timedelta(days=4))
    tasks.schedule_urine_tests()
    assert result_of(test) == "missed"
