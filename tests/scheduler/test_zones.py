"""Local days into instants, on the days when clocks change and in zones that jump."""

import zoneinfo
from datetime import UTC, date, datetime, time, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.zones import (
    EVERY_DAY,
    TZDATA_VERSION,
    Window,
    canonical_zone,
    elapsed_seconds,
    place,
    refuse_overlap,
    resolve,
    shortest_day,
    study_day_windows,
    zone_named,
    zone_names,
)

HOUR = 3600
MONDAYS, TUESDAYS, SUNDAYS = 0b000_0001, 0b000_0010, 0b100_0000
BRUSSELS = ZoneInfo("Europe/Brussels")
NEW_YORK = ZoneInfo("America/New_York")
LORD_HOWE = ZoneInfo("Australia/Lord_Howe")
APIA = ZoneInfo("Pacific/Apia")

WAKING = Window(EVERY_DAY, time(8), time(22))
NIGHT = Window(EVERY_DAY, time(22), time(6))
ALL_DAY = Window(EVERY_DAY, time(0), time(0))
MIDNIGHT_MINUTES = Window(EVERY_DAY, time(23, 59), time(0, 1))


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def seconds(study_on: date, window: Window, zone: ZoneInfo) -> int:
    return elapsed_seconds(study_day_windows(study_on, (window,), zone))


def resolved_by_search(local: datetime, zone: ZoneInfo) -> datetime:
    """The compatible rule from UTC-to-local conversions only, without PEP 495's fold."""
    guess = local.replace(tzinfo=UTC)
    before, after = (
        (guess + timedelta(days=days)).astimezone(zone).utcoffset() or timedelta(0)
        for days in (-2, 2)
    )
    fits = [
        guess - offset
        for offset in (before, after)
        if (guess - offset).astimezone(zone).replace(tzinfo=None) == local
    ]
    return min(fits, default=guess - before)


# Resolving


@pytest.mark.parametrize(
    ("zone", "local", "instant"),
    [
        (BRUSSELS, "2026-03-29T01:59:59", "2026-03-29T00:59:59"),
        (BRUSSELS, "2026-03-29T02:30:00", "2026-03-29T01:30:00"),  # skipped: shown as 03:30
        (BRUSSELS, "2026-10-25T02:30:00", "2026-10-25T00:30:00"),  # twice: the summer one
        (BRUSSELS, "2026-10-25T03:00:00", "2026-10-25T02:00:00"),
        (NEW_YORK, "2026-03-08T02:30:00", "2026-03-08T07:30:00"),
        (NEW_YORK, "2026-11-01T01:30:00", "2026-11-01T05:30:00"),
        (LORD_HOWE, "2026-10-04T02:15:00", "2026-10-03T15:45:00"),  # half an hour is skipped
        (LORD_HOWE, "2026-04-05T01:45:00", "2026-04-04T14:45:00"),  # half an hour comes twice
        (APIA, "2011-12-30T08:00:00", "2011-12-30T18:00:00"),  # a day is skipped
    ],
)
def test_skipped_times_move_forward_and_repeated_times_are_the_first(
    zone: ZoneInfo, local: str, instant: str
) -> None:
    when = datetime.fromisoformat(local)
    assert resolve(when.date(), when.time(), zone) == utc(instant)
    assert resolve(when.date(), when.time().replace(fold=1), zone) == utc(instant)


@given(
    st.sampled_from([BRUSSELS, NEW_YORK, LORD_HOWE, ZoneInfo("Africa/Cairo")]),
    st.dates(date(2020, 1, 1), date(2030, 12, 31)),
    st.times(),
)
def test_resolving_agrees_with_a_search_that_does_not_know_folds(
    zone: ZoneInfo, local_on: date, local_time: time
) -> None:
    local = datetime.combine(local_on, local_time)
    assert resolve(local_on, local_time, zone) == resolved_by_search(local, zone)


@pytest.mark.parametrize("zone", [BRUSSELS, NEW_YORK, LORD_HOWE])
def test_resolving_agrees_with_the_search_through_every_change_of_a_year(zone: ZoneInfo) -> None:
    midnight = datetime.combine(date(2026, 1, 1), time(0))
    for quarter in range(366 * 24 * 4):
        local = midnight + timedelta(minutes=15 * quarter)
        assert resolve(local.date(), local.time(), zone) == resolved_by_search(local, zone)


# The windows of a day


def test_waking_hours_are_the_same_length_on_both_sides_of_a_clock_change() -> None:
    for study_on in (date(2026, 3, 28), date(2026, 3, 29), date(2026, 10, 25)):
        assert seconds(study_on, WAKING, BRUSSELS) == 14 * HOUR
    assert study_day_windows(date(2026, 3, 28), (WAKING,), BRUSSELS)[0][0].hour == 7
    assert study_day_windows(date(2026, 3, 29), (WAKING,), BRUSSELS)[0][0].hour == 6


@pytest.mark.parametrize(
    ("zone", "study_on", "window", "length"),
    [
        (BRUSSELS, date(2026, 3, 28), NIGHT, 7 * HOUR),
        (BRUSSELS, date(2026, 3, 29), NIGHT, 8 * HOUR),
        (BRUSSELS, date(2026, 10, 24), NIGHT, 9 * HOUR),
        (BRUSSELS, date(2026, 3, 29), ALL_DAY, 23 * HOUR),
        (BRUSSELS, date(2026, 10, 25), ALL_DAY, 25 * HOUR),
        (NEW_YORK, date(2026, 3, 7), NIGHT, 7 * HOUR),
        (NEW_YORK, date(2026, 3, 8), ALL_DAY, 23 * HOUR),
        (NEW_YORK, date(2026, 11, 1), ALL_DAY, 25 * HOUR),
        (LORD_HOWE, date(2026, 10, 4), ALL_DAY, 23 * HOUR + 1800),
        (LORD_HOWE, date(2026, 4, 5), ALL_DAY, 24 * HOUR + 1800),
        (BRUSSELS, date(2026, 6, 1), MIDNIGHT_MINUTES, 120),
        (ZoneInfo("Africa/Cairo"), date(2026, 4, 23), MIDNIGHT_MINUTES, 120),  # 00:00 skipped
    ],
)
def test_a_day_lasts_as_long_as_the_clocks_make_it(
    zone: ZoneInfo, study_on: date, window: Window, length: int
) -> None:
    assert seconds(study_on, window, zone) == length


def test_a_window_across_midnight_ends_on_the_next_calendar_day() -> None:
    spans = study_day_windows(date(2026, 6, 1), (NIGHT,), BRUSSELS)
    assert spans == ((utc("2026-06-01T20:00"), utc("2026-06-02T04:00")),)


def test_a_date_that_does_not_exist_has_no_windows() -> None:
    for window in (WAKING, NIGHT, ALL_DAY):
        assert study_day_windows(date(2011, 12, 30), (window,), APIA) == ()
    assert seconds(date(2011, 12, 29), NIGHT, APIA) == 8 * HOUR
    assert seconds(date(2011, 12, 31), WAKING, APIA) == 14 * HOUR


def test_a_window_that_the_clocks_skip_is_left_out() -> None:
    skipped = Window(EVERY_DAY, time(2), time(3))
    assert study_day_windows(date(2026, 3, 29), (skipped,), BRUSSELS) == ()
    assert seconds(date(2026, 3, 30), skipped, BRUSSELS) == HOUR


def test_a_window_whose_start_is_skipped_past_midnight_is_left_out() -> None:
    """In Nuuk 2026-03-28 ends at 23:00: half past eleven would be on the 29th."""
    late = Window(EVERY_DAY, time(23, 30), time(7))
    assert study_day_windows(date(2026, 3, 28), (late,), ZoneInfo("America/Nuuk")) == ()
    earlier = Window(EVERY_DAY, time(22, 59), time(7))
    assert seconds(date(2026, 3, 28), earlier, ZoneInfo("America/Nuuk")) == 7 * HOUR + 60


def test_windows_around_a_skipped_hour_never_share_a_second() -> None:
    early = Window(EVERY_DAY, time(1), time(2, 30))
    late = Window(EVERY_DAY, time(3), time(5))
    first, second = study_day_windows(date(2026, 3, 29), (late, early), BRUSSELS)
    assert first == (utc("2026-03-29T00:00"), utc("2026-03-29T01:30"))
    assert second == (utc("2026-03-29T01:30"), utc("2026-03-29T03:00"))


def test_a_window_waits_for_the_one_of_the_day_before_when_midnight_is_skipped() -> None:
    evening = Window(EVERY_DAY, time(18), time(0, 30))
    night = Window(EVERY_DAY, time(0, 45), time(3))
    cairo = ZoneInfo("Africa/Cairo")
    (_, evening_end) = study_day_windows(date(2026, 4, 23), (evening, night), cairo)[-1]
    (night_start, _) = study_day_windows(date(2026, 4, 24), (evening, night), cairo)[0]
    assert evening_end == utc("2026-04-23T22:30")
    assert night_start == utc("2026-04-23T22:45")
    early = Window(EVERY_DAY, time(1), time(3))
    (start, _) = study_day_windows(date(2026, 4, 24), (evening, early), cairo)[0]
    assert start == evening_end


def test_windows_begin_only_on_their_weekdays() -> None:
    windows = (Window(MONDAYS, time(8), time(12)), Window(EVERY_DAY, time(13), time(22)))
    assert len(study_day_windows(date(2026, 6, 1), windows, BRUSSELS)) == 2  # a Monday
    assert len(study_day_windows(date(2026, 6, 2), windows, BRUSSELS)) == 1
    only_sundays = (Window(SUNDAYS, time(8), time(12)),)
    assert study_day_windows(date(2026, 6, 1), only_sundays, BRUSSELS) == ()


# Placing


def test_offsets_run_through_the_windows_end_to_end() -> None:
    windows = (Window(EVERY_DAY, time(8), time(9)), Window(EVERY_DAY, time(20), time(21)))
    spans = study_day_windows(date(2026, 6, 1), windows, BRUSSELS)
    assert place(0, spans) == utc("2026-06-01T06:00:00")
    assert place(3599, spans) == utc("2026-06-01T06:59:59")
    assert place(3600, spans) == utc("2026-06-01T18:00:00")
    assert place(7199, spans) == utc("2026-06-01T18:59:59")


@pytest.mark.parametrize("offset", [-1, 7200])
def test_an_offset_outside_the_day_is_refused(offset: int) -> None:
    window = Window(EVERY_DAY, time(8), time(10))
    spans = study_day_windows(date(2026, 6, 1), (window,), BRUSSELS)
    with pytest.raises(ValueError, match=f"Second {offset} is outside the day's 7200 seconds"):
        place(offset, spans)


def test_the_shortest_day_is_the_night_the_clocks_go_forward() -> None:
    year = (date(2026, 1, 1), date(2026, 12, 31))
    assert shortest_day((NIGHT,), BRUSSELS, *year) == 7 * HOUR
    assert shortest_day((WAKING,), BRUSSELS, *year) == 14 * HOUR
    assert shortest_day((Window(SUNDAYS, time(8), time(12)),), BRUSSELS, *year) == 4 * HOUR
    tuesday_only = (Window(TUESDAYS, time(8), time(12)),)
    assert shortest_day(tuesday_only, BRUSSELS, date(2026, 6, 1), date(2026, 6, 1)) == 0


# Refusals


@pytest.mark.parametrize(
    ("windows", "words"),
    [
        ((Window(127, time(8), time(12)), Window(127, time(11), time(15))), "08:00–12:00 and 11"),
        ((Window(1, time(22), time(6)), Window(2, time(5), time(9))), "overlap on Tuesday"),
        ((Window(64, time(22), time(6)), Window(1, time(5), time(9))), "overlap on Monday"),
        ((Window(1, time(8), time(9)), Window(1, time(8), time(9))), "overlap on Monday"),
        ((Window(127, time(0), time(0)), Window(4, time(12), time(13))), "overlap on Wednesday"),
    ],
)
def test_windows_that_overlap_are_refused_by_name_and_day(
    windows: tuple[Window, ...], words: str
) -> None:
    with pytest.raises(ValueError, match=words):
        refuse_overlap(windows)
    with pytest.raises(ValueError, match=words):
        study_day_windows(date(2026, 6, 1), windows, BRUSSELS)


def test_windows_that_touch_are_allowed() -> None:
    refuse_overlap((Window(127, time(8), time(12)), Window(127, time(12), time(8))))
    refuse_overlap((ALL_DAY,))
    refuse_overlap(())


@pytest.mark.parametrize("mask", [0, -1, 128])
def test_a_window_needs_a_weekday(mask: int) -> None:
    with pytest.raises(ValueError, match="at least one weekday"):
        Window(mask, time(8), time(22))


@pytest.mark.parametrize("odd", [time(8, 0, 0, 1), time(8, tzinfo=UTC)])
def test_a_window_is_whole_seconds_of_local_time(odd: time) -> None:
    with pytest.raises(ValueError, match="whole seconds of local time"):
        Window(EVERY_DAY, odd, time(22))


# Names and data


def test_zone_data_come_from_the_pinned_package() -> None:
    assert zoneinfo.TZPATH == ()
    assert TZDATA_VERSION[:4].isdigit()
    assert TZDATA_VERSION[4:].isalpha()


@pytest.mark.parametrize(
    ("old", "present"),
    [
        ("Asia/Katmandu", "Asia/Kathmandu"),
        ("Asia/Calcutta", "Asia/Kolkata"),
        ("Europe/Kiev", "Europe/Kyiv"),
        ("Asia/Saigon", "Asia/Ho_Chi_Minh"),
        ("US/Eastern", "America/New_York"),
        ("America/Buenos_Aires", "America/Argentina/Buenos_Aires"),
        ("Europe/Amsterdam", "Europe/Amsterdam"),
        ("Europe/Brussels", "Europe/Brussels"),
        ("UTC", "Etc/UTC"),
    ],
)
def test_old_names_are_accepted_and_lead_to_the_present_one(old: str, present: str) -> None:
    assert zone_named(old).key == old
    assert canonical_zone(old) == present
    for month in range(1, 13):
        first, noon = date(2026, month, 1), time(12)
        assert resolve(first, noon, zone_named(old)) == resolve(first, noon, zone_named(present))


def test_every_name_leads_to_a_name_that_stays() -> None:
    for name in zone_names():
        assert canonical_zone(canonical_zone(name)) == canonical_zone(name) in zone_names()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("Europe/Brusels", "named 'Europe/Brusels'; did you mean Europe/Brussels"),
        ("europe/brussels", "did you mean Europe/Brussels"),
        ("Brussels", "did you mean Europe/Brussels"),
        ("xyzzy", "named 'xyzzy'.$"),
        ("", "named ''.$"),
        ("../etc/passwd", "no time zone named"),
        ("Europe", "no time zone named"),
        ("Factory", "no time zone named"),
        ("x" * 10_000, "named 'x{64}'"),
    ],
)
def test_an_unknown_zone_is_refused_with_the_nearest_name(name: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        zone_named(name)
    with pytest.raises(ValueError, match=words):
        canonical_zone(name)


# Everywhere


def test_windows_of_a_day_are_in_order_and_never_overlap_in_any_zone() -> None:
    """All zones that have rules of their own, around each change of the clocks in two years."""
    windows = (
        Window(EVERY_DAY, time(0), time(0, 30)),
        Window(EVERY_DAY, time(0, 30), time(2, 30)),
        Window(EVERY_DAY, time(3), time(12)),
        Window(EVERY_DAY, time(18), time(0)),
    )
    for name in sorted({canonical_zone(name) for name in zone_names()}):
        zone = ZoneInfo(name)
        for study_on in days_around_changes(zone, date(2025, 1, 1), 730):
            spans = [
                span
                for days in range(3)
                for span in study_day_windows(study_on + timedelta(days), windows, zone)
            ]
            assert all(start < end for start, end in spans)
            assert all(end <= start for (_, end), (start, _) in pairwise(spans))


def days_around_changes(zone: ZoneInfo, first_on: date, days: int) -> list[date]:
    """The dates from which a change of the clocks is within two days."""
    dates = [first_on + timedelta(days=n) for n in range(days)]
    noon = [datetime.combine(on, time(12), zone).utcoffset() for on in dates]
    changes = [i for i, (a, b) in enumerate(pairwise(noon)) if a != b]
    return [dates[j] for i in changes for j in (i - 1, i) if j >= 0]
