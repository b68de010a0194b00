"""Another release of zone data: what it moves and no phone has is planned anew, and checks tell."""

import zoneinfo
from collections.abc import Iterator
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.checks import CheckMessage, run_checks
from django.core.management import call_command
from django.db.models import F
from django.utils import timezone

from ema.audit import COMMAND
from ema.models import AuditEvent, Prompt, Study
from scheduler.planning import plan_prompts
from scheduler.renewal import Renewed, renew_zones
from scheduler.verification import verify_schedule
from scheduler.zones import TZDATA_VERSION
from tests import trial

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
OLD = "2019b"


@pytest.fixture
def now() -> datetime:
    return timezone.now()


@pytest.fixture
def study(now: datetime) -> Study:
    """One participant, planned by an older release whose rules were the same."""
    study = trial.make_study()
    trial.enrol(study, "S1-001", "Europe/Brussels", now)
    plan_prompts(now)
    Prompt.objects.update(tzdata=OLD)
    return study


def day(number: int) -> Any:
    return Prompt.objects.filter(study_day=number).exclude(cancel_reason="superseded")


def move(number: int) -> None:
    """The older release had the clocks an hour apart on that day."""
    day(number).update(due_at=F("due_at") + HOUR, expires_at=F("expires_at") + HOUR)


def told() -> list[CheckMessage]:
    found = run_checks(tags=["database"], databases=["default"])
    return [message for message in found if str(message.id).startswith("scheduler.")]


def test_days_that_the_new_rules_leave_are_only_noted(study: Study, now: datetime) -> None:
    before = list(Prompt.objects.order_by("pk").values_list("pk", "due_at"))
    coming = Prompt.objects.filter(study_day__gt=1).count()
    assert renew_zones(now, COMMAND) == Renewed(same=coming, superseded=0)
    assert list(Prompt.objects.order_by("pk").values_list("pk", "due_at")) == before
    assert set(day(2).values_list("tzdata", flat=True)) == {TZDATA_VERSION}
    assert set(day(1).values_list("tzdata", flat=True)) == {OLD}
    assert renew_zones(now, COMMAND) == Renewed(same=0, superseded=0)
    assert not AuditEvent.objects.filter(action="prompts.zones_renewed").exists()


def test_from_the_first_day_that_moved_on_all_is_planned_anew(study: Study, now: datetime) -> None:
    move(5)
    later = Prompt.objects.filter(study_day__gte=5).count()
    assert renew_zones(now, COMMAND).superseded == later
    assert plan_prompts(now).prompts == later
    assert verify_schedule(study).all_equal
    assert set(day(4).values_list("tzdata", flat=True)) == {TZDATA_VERSION}
    assert Prompt.objects.filter(cancel_reason="superseded").count() == later
    event = AuditEvent.objects.get(action="prompts.zones_renewed")
    assert event.subject == "participant S1-001"
    assert event.after["prompts"] == later  # type: ignore[index]
    assert "scheduler.W001" not in [message.id for message in told()]


def test_what_a_phone_has_keeps_its_times(study: Study, now: datetime) -> None:
    move(5)
    Prompt.objects.filter(study_day=7, ordinal=1).update(released_at=now)
    kept = set(Prompt.objects.filter(study_day__lte=7).values_list("pk", "due_at", "tzdata"))
    assert renew_zones(now, COMMAND).superseded == 0
    assert (
        set(Prompt.objects.filter(study_day__lte=7).values_list("pk", "due_at", "tzdata")) == kept
    )
    assert set(day(8).values_list("tzdata", flat=True)) == {TZDATA_VERSION}


@pytest.mark.parametrize("state", ["withdrawn", "locked"])
def test_whoever_is_not_asked_any_more_is_left_alone(
    study: Study, now: datetime, state: str
) -> None:
    if state == "withdrawn":
        study.participants.update(withdrawn_at=now)
    else:
        Study.objects.update(locked_at=now)
    assert renew_zones(now, COMMAND) == Renewed(same=0, superseded=0)
    assert told() == []


def test_the_check_warns_of_older_zone_data_until_it_is_renewed(study: Study) -> None:
    Prompt.objects.filter(study_day=3, ordinal=1).update(released_at=timezone.now())
    warning, note = told()
    assert (warning.id, note.id) == ("scheduler.W001", "scheduler.I001")
    assert f"drawn by tzdata {OLD}; installed is {TZDATA_VERSION}" in warning.msg
    assert "plan --renew-zones" in str(warning.hint)
    assert "They keep their times" in note.msg
    out = StringIO()
    call_command("plan", renew_zones=True, stdout=out, stderr=StringIO())
    assert f"tzdata {TZDATA_VERSION} leaves" in out.getvalue()
    assert [message.id for message in told()] == ["scheduler.I001"]


def test_a_zone_that_the_release_does_not_have_stays_as_it_is(study: Study, now: datetime) -> None:
    Prompt.objects.update(zone="Mars/Olympus")
    assert renew_zones(now, COMMAND) == Renewed(same=0, superseded=0)
    assert [message.id for message in told()] == ["scheduler.I001"]


def test_prompts_of_the_installed_release_are_nothing_to_tell(study: Study) -> None:
    Prompt.objects.update(tzdata=TZDATA_VERSION)
    assert told() == []


@pytest.fixture
def machines_zones() -> Iterator[str]:
    path = "/usr/share/zoneinfo"
    zoneinfo.reset_tzpath(to=[path])
    yield path
    zoneinfo.reset_tzpath(to=())


def test_zones_come_from_the_package() -> None:
    assert [message.id for message in run_checks() if message.id == "scheduler.E001"] == []


def test_zones_of_the_machine_are_an_error(machines_zones: str) -> None:
    [error] = [message for message in run_checks() if message.id == "scheduler.E001"]
    assert machines_zones in error.msg
