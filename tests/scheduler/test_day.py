"""A participant's day as instants: clock changes, night shifts, and every zone there is."""

import dataclasses
import inspect
import json
from collections import Counter
from datetime import UTC, date, datetime, time, timedelta
from functools import cache
from itertools import pairwise
from operator import itemgetter
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from scheduler.day import DayPlan, Protocol, draw_day, why_unworkable
from scheduler.zones import (
    EVERY_DAY,
    Window,
    canonical_zone,
    resolve,
    study_day_windows,
    zone_named,
    zone_names,
)

SEED = bytes(range(32))
SOMEONE = UUID("6f1c2b1e-0c57-4d0e-9a75-2f4f0c8a9b11")
BRUSSELS = ZoneInfo("Europe/Brussels")
NEW_YORK = ZoneInfo("America/New_York")
APIA = ZoneInfo("Pacific/Apia")
WORKDAYS = 0b001_1111
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)

WAKING = (Window(EVERY_DAY, time(8), time(22)),)
NIGHT = (Window(EVERY_DAY, time(22), time(6)),)
ALL_DAY = (Window(EVERY_DAY, time(0), time(0)),)
TWO_WINDOWS = (
    Window(EVERY_DAY, time(7), time(11, 30)),
    Window(EVERY_DAY, time(17), time(1)),
)
VECTORS = json.loads((Path(__file__).parents[1] / "golden/schedule_vectors.json").read_text())


def planned(
    study_on: date,
    protocol: Protocol | None = None,
    zone: ZoneInfo = BRUSSELS,
    participant: UUID = SOMEONE,
    stream: str = "treatment/1",
) -> DayPlan:
    return draw_day(SEED, stream, participant, study_on, protocol or Protocol(), zone)


def diary(*times: time, **others: Any) -> Protocol:
    return Protocol(design="fixed", prompts_per_day=len(times), fixed_times=times, **others)


# The whole day


@given(
    st.dates(date(2020, 1, 1), date(2030, 12, 31)),
    st.sampled_from([WAKING, NIGHT, ALL_DAY, TWO_WINDOWS]),
    st.sampled_from(["circle", "stratified_rotated"]),
    st.integers(1, 8),
    st.integers(0, 180),
    st.sampled_from([BRUSSELS, NEW_YORK, ZoneInfo("Australia/Lord_Howe")]),
    st.uuids(),
)
def test_prompts_are_in_their_windows_in_order_and_apart(
    study_on: date,
    windows: tuple[Window, ...],
    design: str,
    prompts: int,
    gap: int,
    zone: ZoneInfo,
    participant: UUID,
) -> None:
    protocol = Protocol(
        prompts_per_day=prompts, design=design, minimum_gap=gap * MINUTE, windows=windows
    )
    plan = planned(study_on, protocol, zone, participant)
    spans = study_day_windows(study_on, windows, zone)
    assert len(plan.due_at) == len(plan.expires_at) == prompts
    assert all(due.tzinfo is UTC and due.microsecond == 0 for due in plan.due_at)
    assert all(any(start <= due < end for start, end in spans) for due in plan.due_at)
    if not plan.gap_relaxed:
        assert all(b - a >= gap * MINUTE for a, b in pairwise(plan.due_at))


def test_a_day_is_drawn_the_same_every_time() -> None:
    assert planned(date(2026, 3, 29)) == planned(date(2026, 3, 29))
    assert planned(date(2026, 3, 29)) != planned(date(2026, 3, 30))
    assert planned(date(2026, 3, 29)) != planned(date(2026, 3, 29), stream="treatment/2")


def test_the_arm_has_no_way_into_the_schedule() -> None:
    assert list(inspect.signature(draw_day).parameters) == [
        "seed",
        "stream",
        "participant_uuid",
        "study_on",
        "protocol",
        "zone",
    ]
    assert not any("arm" in field.name for field in dataclasses.fields(Protocol))


def test_a_changed_window_keeps_the_draws_and_moves_the_hours() -> None:
    later = Protocol(windows=(Window(EVERY_DAY, time(10), time(0)),))
    before, after = planned(date(2026, 6, 1)), planned(date(2026, 6, 1), later)
    assert [due + 2 * HOUR for due in before.due_at] == list(after.due_at)


def test_prompts_expire_after_the_protocol_says() -> None:
    plan = planned(date(2026, 6, 1), Protocol(expires_after=45 * MINUTE))
    assert plan.expires_at == tuple(due + 45 * MINUTE for due in plan.due_at)


def test_prompts_can_expire_with_their_window() -> None:
    protocol = Protocol(windows=TWO_WINDOWS, expires_after=5 * HOUR, expires_by_window_end=True)
    plan = planned(date(2026, 6, 1), protocol)
    spans = study_day_windows(date(2026, 6, 1), TWO_WINDOWS, BRUSSELS)
    for due, expiry in zip(plan.due_at, plan.expires_at, strict=True):
        (end,) = (end for start, end in spans if start <= due < end)
        assert expiry == min(due + 5 * HOUR, end)


def test_the_inclusion_probability_counts_the_minutes_of_that_day() -> None:
    protocol = Protocol(windows=ALL_DAY)
    assert planned(date(2026, 3, 28), protocol).inclusion_probability == 4 / (24 * 60)
    assert planned(date(2026, 3, 29), protocol).inclusion_probability == 4 / (23 * 60)
    assert planned(date(2026, 10, 25), protocol).inclusion_probability == 4 / (25 * 60)


# Clocks that change


@pytest.mark.parametrize(
    ("zone", "saturday"),
    [
        (BRUSSELS, date(2026, 3, 28)),
        (BRUSSELS, date(2026, 10, 24)),
        (NEW_YORK, date(2026, 3, 7)),
        (NEW_YORK, date(2026, 10, 31)),
    ],
)
def test_waking_hours_hold_across_a_clock_change(zone: ZoneInfo, saturday: date) -> None:
    for day in range(3):
        for person in range(50):
            plan = planned(saturday + timedelta(days=day), zone=zone, participant=UUID(int=person))
            local = [due.astimezone(zone) for due in plan.due_at]
            assert all(8 <= when.hour < 22 for when in local)
            assert {when.date() for when in local} == {saturday + timedelta(days=day)}


def test_a_25_hour_day_is_uniform_and_its_repeated_hour_has_twice_the_prompts() -> None:
    protocol = Protocol(windows=ALL_DAY)
    opens_at = datetime(2026, 10, 24, 22, tzinfo=UTC)
    plans = [planned(date(2026, 10, 25), protocol, participant=UUID(int=n)) for n in range(4000)]
    one_each = [(plan.due_at[n % 4] - opens_at) / HOUR for n, plan in enumerate(plans)]
    assert stats.kstest(one_each, stats.uniform(0, 25).cdf).pvalue > 0.01
    hours = Counter(due.astimezone(BRUSSELS).hour for plan in plans for due in plan.due_at)
    assert hours[2] == pytest.approx(2 * 640, rel=0.1)
    assert hours[3] == pytest.approx(640, rel=0.13)


def test_a_day_too_short_for_its_gap_relaxes_it_and_says_so() -> None:
    protocol = Protocol(windows=NIGHT, minimum_gap=120 * MINUTE)
    assert not planned(date(2026, 3, 27), protocol).gap_relaxed
    short = planned(date(2026, 3, 28), protocol)  # 7 hours for 4 prompts: 105 minutes
    assert short.gap_relaxed
    assert len(short.due_at) == 4
    assert all(b - a >= 105 * MINUTE for a, b in pairwise(short.due_at))


def test_a_night_shift_is_one_study_day_named_after_its_evening() -> None:
    plan = planned(date(2026, 6, 1), Protocol(windows=NIGHT))
    opens_at = datetime(2026, 6, 1, 20, tzinfo=UTC)
    assert all(opens_at <= due < opens_at + 8 * HOUR for due in plan.due_at)


def test_a_date_that_does_not_exist_has_no_prompts() -> None:
    for protocol in (Protocol(), Protocol(windows=NIGHT), diary(time(21))):
        assert planned(date(2011, 12, 30), protocol, APIA) == ((), (), False, None)
        assert len(planned(date(2011, 12, 31), protocol, APIA).due_at) == protocol.prompts_per_day


def test_a_day_off_has_no_prompts() -> None:
    protocol = Protocol(windows=(Window(WORKDAYS, time(8), time(22)),))
    assert len(planned(date(2026, 6, 5), protocol).due_at) == 4  # a Friday
    assert planned(date(2026, 6, 6), protocol).due_at == ()


# Diaries


def test_fixed_times_are_local_times_in_summer_and_winter() -> None:
    for study_on in (date(2026, 1, 5), date(2026, 7, 6)):
        plan = planned(study_on, diary(time(21, 30), time(9)))
        local = [due.astimezone(BRUSSELS).replace(tzinfo=None) for due in plan.due_at]
        assert local == [datetime.combine(study_on, t) for t in (time(9), time(21, 30))]
        assert plan.inclusion_probability is None


def test_a_fixed_time_after_midnight_belongs_to_the_night_it_is_in() -> None:
    plan = planned(date(2026, 6, 1), diary(time(5), time(23), windows=NIGHT))
    assert plan.due_at == (
        datetime(2026, 6, 1, 21, tzinfo=UTC),
        datetime(2026, 6, 2, 3, tzinfo=UTC),
    )


def test_a_diary_outside_the_windows_is_kept_and_expires_by_itself() -> None:
    plan = planned(date(2026, 6, 1), diary(time(22, 30), expires_by_window_end=True))
    assert plan.due_at == (datetime(2026, 6, 1, 20, 30, tzinfo=UTC),)
    assert plan.expires_at == (datetime(2026, 6, 1, 21, tzinfo=UTC),)


# Refusals


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"prompts_per_day": 0}, "at least 1 prompt, not 0"),
        ({"design": "cricle"}, "choose one of circle"),
        ({"minimum_gap": -MINUTE}, "0 or more whole seconds"),
        ({"minimum_gap": timedelta(microseconds=1)}, "0 or more whole seconds"),
        ({"expires_after": timedelta(0)}, "stays open at least 1 second"),
        ({"windows": ()}, "at least one window"),
        ({"windows": WAKING + NIGHT + NIGHT}, "overlap"),
        ({"fixed_times": (time(9),)}, "a circle design draws its own"),
        ({"design": "fixed"}, "4 prompts a day needs as many different local times; there are 0"),
        ({"design": "fixed", "prompts_per_day": 2, "fixed_times": (time(9),) * 2}, "there are 1"),
        (
            {"design": "fixed", "prompts_per_day": 1, "fixed_times": (time(9, tzinfo=UTC),)},
            "without a zone",
        ),
    ],
)
def test_a_protocol_that_does_not_fit_together_is_refused(
    fields: dict[str, Any], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        Protocol(**fields)


def test_a_protocol_is_checked_against_the_shortest_day_of_its_phase() -> None:
    protocol = Protocol(windows=NIGHT, minimum_gap=120 * MINUTE)
    spring = {"first_on": date(2026, 3, 1), "last_on": date(2026, 3, 31)}
    summer = {"first_on": date(2026, 6, 1), "last_on": date(2026, 6, 30)}
    assert why_unworkable(protocol, zone=BRUSSELS, **summer) is None
    reason = why_unworkable(protocol, zone=BRUSSELS, **spring)
    assert reason is not None
    assert "need 8 h, but the windows last only 7 h" in reason
    assert why_unworkable(Protocol(), zone=BRUSSELS, **spring) is None
    assert why_unworkable(diary(time(9), time(9, 1)), zone=BRUSSELS, **spring) is None


def test_a_phase_without_a_day_of_prompts_is_unworkable() -> None:
    protocol = Protocol(windows=(Window(WORKDAYS, time(8), time(22)),))
    saturday = date(2026, 6, 6)
    reason = why_unworkable(protocol, zone=BRUSSELS, first_on=saturday, last_on=saturday)
    assert reason == "No window begins on any date from 2026-06-06 to 2026-06-06; add a weekday."


# Golden vectors and everywhere


@pytest.mark.parametrize("v", VECTORS["days"], ids=itemgetter("name"))
def test_golden_vectors_give_the_instants(v: dict[str, Any]) -> None:
    windows = tuple(
        Window(w["weekdays"], time.fromisoformat(w["start"]), time.fromisoformat(w["end"]))
        for w in v["windows"]
    )
    protocol = Protocol(
        prompts_per_day=v["prompts"],
        design=v["design"],
        minimum_gap=timedelta(seconds=v["minimum_gap"]),
        windows=windows,
        expires_after=timedelta(seconds=v["expires_after"]),
        expires_by_window_end=v["expires_by_window_end"],
        fixed_times=tuple(time.fromisoformat(t) for t in v["fixed_times"]),
    )
    plan = draw_day(
        bytes.fromhex(v["seed"]),
        v["stream"],
        UUID(v["participant"]),
        date.fromisoformat(v["study_on"]),
        protocol,
        zone_named(v["zone"]),
    )
    spans = study_day_windows(date.fromisoformat(v["study_on"]), windows, zone_named(v["zone"]))
    assert [list(map(datetime.fromisoformat, span)) for span in v["window_instants"]] == [
        list(span) for span in spans
    ]
    assert plan.due_at == tuple(datetime.fromisoformat(t) for t in v["due_at"])
    assert plan.expires_at == tuple(datetime.fromisoformat(t) for t in v["expires_at"])
    assert plan.gap_relaxed == v["gap_relaxed"]


@pytest.mark.parametrize(
    "windows",
    [WAKING, NIGHT, ALL_DAY, TWO_WINDOWS, (Window(EVERY_DAY, time(23, 59), time(0, 1)),)],
    ids=["waking", "night", "all day", "two windows", "23:59–00:01"],
)
def test_every_zone_keeps_count_bounds_and_gap_for_a_year(windows: tuple[Window, ...]) -> None:
    """Every zone with a present name, every tenth date of 2026 and each one near a change."""
    protocol = Protocol(windows=windows)
    for name in sorted({canonical_zone(name) for name in zone_names()}):
        zone = ZoneInfo(name)
        for study_on in telling_dates(zone):
            plan = planned(study_on, protocol, zone)
            spans = study_day_windows(study_on, windows, zone)
            length = sum(((end - start) for start, end in spans), timedelta(0))
            gap = length // 4 - timedelta(seconds=1) if plan.gap_relaxed else HOUR
            if not spans:  # 23:59 is skipped past midnight, in Greenland
                assert resolve(study_on, windows[0].start, zone).astimezone(zone).date() > study_on
                assert plan.due_at == ()
                continue
            assert len(plan.due_at) == 4
            assert plan.gap_relaxed == (length < 4 * HOUR)
            assert all(any(start <= due < end for start, end in spans) for due in plan.due_at)
            assert all(b - a >= gap for a, b in pairwise(plan.due_at))


@cache
def telling_dates(zone: ZoneInfo) -> list[date]:
    """Every tenth date of 2026, and those within a day of a change of the clocks."""
    year = [date(2026, 1, 1) + timedelta(days=n) for n in range(365)]
    noon = [datetime.combine(on, time(12), zone).utcoffset() for on in year]
    near = {j for i in range(364) if noon[i] != noon[i + 1] for j in (i - 1, i, i + 1)}
    return [on for i, on in enumerate(year) if i % 10 == 0 or i in near]
