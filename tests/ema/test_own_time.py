"""What no prompt asked for just then: stored, and flagged by the hours and the limit of its day."""

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from ema.models import Participant, Phase, PhaseStart, Response
from ema.own_time import is_within
from ema.tokens import Admission
from tests import trial
from tests.ema.uploading import item, make_prompt, statuses, submit

pytestmark = pytest.mark.django_db
BRUSSELS = ZoneInfo("Europe/Brussels")
EVERY_DAY = [1, 2, 3, 4, 5, 6, 7]


@pytest.fixture
def phone() -> Admission:
    """A phone whose participant began the phase a week ago; yesterday is a whole day of it."""
    week_ago = timezone.now() - timedelta(days=7)
    person = trial.enrol(trial.make_study(), "S1-001", "Europe/Brussels", week_ago)
    PhaseStart.objects.create(
        participant=person,
        phase=Phase.objects.get(),
        begins_on=week_ago.astimezone(BRUSSELS).date(),
        known_at=week_ago,
    )
    return trial.redeem(person)


def yesterday(hour: int, minute: int = 0) -> datetime:
    day = timezone.now().astimezone(BRUSSELS) - timedelta(days=1)
    return day.replace(hour=hour, minute=minute, second=0, microsecond=0)


def own_report(at: datetime, **changes: Any) -> dict[str, Any]:
    return item(None, completed_at=at.isoformat(), **changes)


def flags_of(phone: Admission, *sent: dict[str, Any]) -> list[list[str]]:
    assert set(statuses(submit(phone, list(sent)))) == {"created"}
    stored = {str(each.pk): each.flags for each in Response.objects.all()}
    return [stored[each["id"]] for each in sent]


def test_an_own_report_at_night_is_kept_and_flagged(phone: Admission) -> None:
    night, day = own_report(yesterday(3)), own_report(yesterday(12))
    assert flags_of(phone, night, day) == [["outside_window"], []]


def test_the_hours_are_those_of_the_place_the_phone_is_in(phone: Admission) -> None:
    at_noon = own_report(
        yesterday(3), tz="Asia/Tokyo", utc_offset_min=540
    )  # 03:00 in Brussels is 10:00 or 11:00 in Tokyo
    assert flags_of(phone, at_noon) == [[]]


def test_own_waking_hours_stand_before_the_phases(phone: Admission) -> None:
    night_shift = [{"weekdays": EVERY_DAY, "start": "20:00", "end": "06:00"}]
    Participant.objects.update(windows=night_shift)
    night, day = own_report(yesterday(3)), own_report(yesterday(12))
    assert flags_of(phone, night, day) == [[], ["outside_window"]]


def test_an_answer_long_after_its_prompt_is_judged_by_its_hour(phone: Admission) -> None:
    prompt = make_prompt(phone.device.participant, yesterday(21, 50).astimezone(UTC))
    late = item(prompt, completed_at=yesterday(23).isoformat())
    assert flags_of(phone, late) == [["after_expiry", "outside_window"]]


def test_an_answer_within_its_prompts_time_is_never_outside(phone: Admission) -> None:
    prompt = make_prompt(phone.device.participant, yesterday(21, 50).astimezone(UTC))
    assert flags_of(phone, item(prompt, completed_at=yesterday(22, 10).isoformat())) == [[]]


def test_own_reports_beyond_the_days_limit_are_flagged(phone: Admission) -> None:
    Phase.objects.update(self_initiated_daily_cap=2)
    first, second, third = (own_report(yesterday(hour)) for hour in (10, 11, 12))
    assert flags_of(phone, third, first) == [[], []]  # two so far, in whatever order
    assert flags_of(phone, second) == [["over_daily_cap"]]
    the_day_before = own_report(yesterday(10) - timedelta(days=1))
    assert flags_of(phone, the_day_before) == [[]]


def test_without_a_limit_no_own_report_is_too_many(phone: Admission) -> None:
    many = [own_report(yesterday(12, minute)) for minute in range(30)]
    assert flags_of(phone, *many) == [[]] * 30


def test_where_no_own_report_is_wanted_each_is_flagged(phone: Admission) -> None:
    Phase.objects.update(self_initiated_daily_cap=0)
    assert flags_of(phone, own_report(yesterday(12))) == [["over_daily_cap"]]


def test_a_day_without_a_phase_has_neither_hours_nor_a_limit(phone: Admission) -> None:
    Phase.objects.update(self_initiated_daily_cap=0)
    PhaseStart.objects.all().delete()
    assert flags_of(phone, own_report(yesterday(3))) == [[]]


@pytest.mark.parametrize(
    ("local", "inside"),
    [
        ("2026-07-31T23:30", True),  # Friday, the window's own evening
        ("2026-08-01T01:30", True),  # Saturday morning, of Friday's window
        ("2026-08-01T02:30", False),
        ("2026-08-01T23:30", False),  # no window begins on a Saturday
        ("2026-07-31T01:30", False),  # nor did one on Thursday
    ],
)
def test_a_window_over_midnight_belongs_to_the_day_it_begins_on(local: str, inside: bool) -> None:
    fridays = [{"weekdays": [5], "start": "22:00", "end": "02:00"}]
    assert is_within(datetime.fromisoformat(local), fridays) is inside


def test_the_database_refuses_a_response_from_another_participants_phone(phone: Admission) -> None:
    flags_of(phone, own_report(yesterday(12)))
    other = trial.enrol_at(phone.device.participant.site, "S1-002")
    Response.objects.update(participant=other)
    with (
        pytest.raises(IntegrityError, match="from_its_participants_phone"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    Response.objects.update(participant=phone.device.participant)
