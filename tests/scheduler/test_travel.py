"""Another zone, other waking hours: same draws, other instants, and nothing a phone has moves."""

from datetime import UTC, date, datetime, timedelta
from io import StringIO
from itertools import pairwise
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from ema import audit, pauses, travel
from ema.models import AuditEvent, Participant, Prompt, ScheduleChange, Study
from ema.models.prompt import PromptQuerySet
from scheduler.day import Protocol, draw_day
from scheduler.ledger import ledger
from scheduler.planning import plan_prompts
from scheduler.protocols import windows_of
from scheduler.verification import verify_schedule
from tests import trial

pytestmark = pytest.mark.django_db

MIDNIGHT = datetime(2026, 6, 15, tzinfo=UTC)
NOON = MIDNIGHT + timedelta(hours=12)
DAY = timedelta(days=1)
TODAY = date(2026, 6, 15)
NIGHTS = [{"weekdays": [1, 2, 3, 4, 5, 6, 7], "start": "20:00", "end": "06:00"}]


@pytest.fixture
def someone() -> Participant:
    someone = trial.enrol(trial.make_study(), "S1", "Europe/Brussels", MIDNIGHT - 2 * DAY)
    plan_prompts(NOON)
    return someone


def move(someone: Participant, zone: str, now: datetime = NOON) -> ScheduleChange | None:
    return travel.move(participant=someone, zone=zone, now=now, actor=audit.COMMAND)


def current() -> PromptQuerySet:
    return Prompt.objects.exclude(cancel_reason="superseded")


def instants(study_on: date) -> tuple[datetime, ...]:
    day = current().filter(study_on=study_on).order_by("due_at")
    return tuple(day.values_list("due_at", flat=True))


def drawn(someone: Participant, on: date, zone: str, windows: Any = None) -> tuple[datetime, ...]:
    protocol = Protocol(windows=windows_of(windows)) if windows else Protocol()
    seed = bytes(someone.study.seed)
    return draw_day(seed, "treatment", someone.uuid, on, protocol, ZoneInfo(zone)).due_at


def test_a_new_zone_holds_from_the_next_study_day_with_the_same_draws(someone: Participant) -> None:
    before = list(Prompt.objects.filter(study_on__lte=TODAY).order_by("pk").values())
    move(someone, "Asia/Tokyo")
    plan_prompts(NOON)
    assert list(Prompt.objects.filter(study_on__lte=TODAY).order_by("pk").values()) == before
    for number in range(1, 15):
        study_on = TODAY + number * DAY
        assert instants(study_on) == drawn(someone, study_on, "Asia/Tokyo")
        old = Prompt.objects.filter(study_on=study_on, cancel_reason="superseded")
        assert {prompt.zone for prompt in old} == {"Europe/Brussels"}
        assert old.count() == 4
    assert plan_prompts(NOON).prompts == 0
    assert ledger(someone.study, NOON).balances


def test_days_that_a_phone_has_keep_their_instants(someone: Participant) -> None:
    released = Prompt.objects.filter(study_on__lt=TODAY + 7 * DAY)
    released.update(released_at=NOON)
    before = list(released.order_by("pk").values())
    move(someone, "America/New_York")
    plan_prompts(NOON)
    assert list(released.order_by("pk").values()) == before
    change = ScheduleChange.objects.get()
    assert change.effective_on == TODAY + DAY
    assert change.holds_from == TODAY + 7 * DAY
    assert instants(TODAY + 7 * DAY) == drawn(someone, TODAY + 7 * DAY, "America/New_York")


def test_an_answered_prompt_survives_a_new_schedule(someone: Participant) -> None:
    answered = Prompt.objects.filter(study_on=TODAY + 2 * DAY, ordinal=2)
    at = answered.get().due_at + timedelta(minutes=1)
    answered.update(released_at=NOON, answered_at=at)
    before = answered.values().get()
    move(someone, "Asia/Tokyo")
    plan_prompts(NOON)
    assert answered.values().get() == before
    assert ledger(someone.study, NOON + 3 * DAY).balances


def test_going_east_the_new_day_waits_until_the_old_one_has_ended(someone: Participant) -> None:
    move(someone, "Pacific/Auckland")  # 8:00 there is 22:00 the day before in Brussels
    plan_prompts(NOON)
    quiet_until = datetime(2026, 6, 15, 21, tzinfo=UTC)  # 22:00 in Brussels, and an hour
    assert ScheduleChange.objects.get().quiet_until == quiet_until
    for prompt in current().filter(study_on=TODAY + DAY):
        too_early = prompt.due_at < quiet_until
        assert (prompt.cancel_reason == "overlap_after_travel") is too_early
    later = current().filter(study_on__gt=TODAY + DAY)
    assert not later.exclude(cancelled_at=None)
    standing = Prompt.objects.standing().order_by("due_at").values_list("due_at", flat=True)
    gaps = [b - a for a, b in pairwise(standing)]
    assert min(gaps) >= timedelta(hours=1)


def test_moving_twice_and_back_leaves_one_standing_set(someone: Participant) -> None:
    for zone in ("Asia/Tokyo", "America/New_York"):
        move(someone, zone)
        plan_prompts(NOON)
    move(Participant.objects.get(), "Europe/Brussels")
    plan_prompts(NOON)
    for number in range(1, 15):
        study_on = TODAY + number * DAY
        assert instants(study_on) == drawn(someone, study_on, "Europe/Brussels")
    assert Prompt.objects.filter(study_on=TODAY + DAY).count() == 4 * 4
    assert not verify_schedule(someone.study).kinds
    assert ScheduleChange.objects.filter(holds_from=None).count() == 0


def test_other_waking_hours_hold_likewise(someone: Participant) -> None:
    change = {"participant": someone, "now": NOON, "actor": audit.COMMAND}
    with pytest.raises(travel.ChangeRefused, match="Windows are written like"):
        travel.change_hours(windows="nights", **change)  # type: ignore[arg-type]
    travel.change_hours(windows=NIGHTS, **change)  # type: ignore[arg-type]
    plan_prompts(NOON)
    study_on = TODAY + DAY
    assert instants(study_on) == drawn(someone, study_on, "Europe/Brussels", NIGHTS)
    travel.change_hours(windows=None, **change)  # type: ignore[arg-type]
    plan_prompts(NOON)
    assert instants(study_on) == drawn(someone, study_on, "Europe/Brussels")


def test_a_pause_lies_on_the_new_days_too(someone: Participant) -> None:
    ends_at = NOON + 5 * DAY
    pauses.pause(participant=someone, now=NOON, ends_at=ends_at, actor=audit.COMMAND)
    move(someone, "Asia/Tokyo")
    plan_prompts(NOON)
    standing = Prompt.objects.standing()
    assert not standing.filter(due_at__gte=NOON, due_at__lt=ends_at)
    assert standing.filter(zone="Asia/Tokyo", due_at__gte=ends_at).count() >= 9 * 4


def test_a_study_that_keeps_to_the_home_zone_follows_no_phone(someone: Participant) -> None:
    reported: Any = {"zone": "Asia/Tokyo", "now": NOON, "actor": audit.PHONE}
    Study.objects.update(travel="home_zone")
    assert travel.report_zone(participant=Participant.objects.get(), **reported) is None
    Study.objects.update(travel="follow_phone")
    change = travel.report_zone(participant=Participant.objects.get(), **reported)
    assert change
    assert (change.zone_before, change.zone) == ("Europe/Brussels", "Asia/Tokyo")
    assert travel.report_zone(participant=Participant.objects.get(), **reported) is None


def test_the_command_moves_and_says_what_is_wrong(someone: Participant) -> None:
    out = StringIO()
    call_command("move_zone", "demo", "S1", "Asia/Tokyo", "--reason", "moved", stdout=out)
    tomorrow = timezone.now().astimezone(ZoneInfo("Europe/Brussels")).date() + DAY
    assert out.getvalue() == f"Participant S1 moves to Asia/Tokyo from {tomorrow}.\n"
    event = AuditEvent.objects.get(action="participant.schedule_changed")
    assert event.before == {"zone": "Europe/Brussels"}
    call_command("move_zone", "demo", "S1", "Asia/Tokyo", "--reason", "moved", stdout=out)
    assert "is there already" in out.getvalue()
    with pytest.raises(CommandError, match="write an IANA name"):
        call_command("move_zone", "demo", "S1", "Mars/Olympus", "--reason", "moved")
    with pytest.raises(CommandError, match="no participant 'S9'"):
        call_command("move_zone", "demo", "S9", "UTC", "--reason", "moved")
