"""What a study wrote down, a phase's sampling protocol, as the pure `scheduler.day` needs it."""

from collections.abc import Mapping
from datetime import datetime, time, timedelta
from typing import Any

from ema.models import Participant, Phase
from ema.models.study import Design
from scheduler.day import Protocol, why_unworkable
from scheduler.zones import Window, zone_named

A_YEAR = timedelta(days=366)  # of enrolling: whoever starts last still meets the clock change
EXAMPLE = '[{"weekdays": [1, 2, 3, 4, 5, 6, 7], "start": "08:00", "end": "22:00"}]'


def protocol_of(phase: Phase, windows: object = None) -> Protocol:
    """The phase's protocol, in a participant's own waking hours if they have any.

    Raises ValueError in words when what is stored does not make a protocol.
    """
    times = tuple(_local_time(text) for text in phase.fixed_times)
    is_fixed = phase.design == Design.FIXED
    return Protocol(
        prompts_per_day=len(times) if is_fixed else phase.prompts_per_day,
        design=phase.design,
        minimum_gap=phase.minimum_gap,
        windows=windows_of(phase.windows if windows is None else windows),
        expires_after=phase.expires_after,
        expires_by_window_end=phase.expires_by_window_end,
        fixed_times=times,
    )


def windows_of(content: object) -> tuple[Window, ...]:
    """Waking hours as stored: a list of weekdays (1 is Monday), start and end."""
    if not isinstance(content, list) or not all(isinstance(each, Mapping) for each in content):
        raise ValueError(f"Windows are written like {EXAMPLE}, not {content!r}.")
    return tuple(_window(each) for each in content)


def validate_hours(content: object) -> list[str]:
    """Say in words what is wrong with waking hours as stored; nothing when they can be used."""
    try:
        windows = windows_of(content)
        _refuse_no_length(windows)
        Protocol(windows=windows)
    except ValueError as error:
        return [str(error)]
    return []


def validate_protocol(phase: Phase, now: datetime) -> list[str]:
    """Say in words what is wrong with a phase's protocol; nothing when it works.

    The minimum gap must fit the shortest day that anyone may meet: in the zones of the study's
    sites and participants, from the study's first day (today, before it starts) until a phase begun
    a year later ends. A study that is not saved yet has its own zone only.
    """
    if phase.design == Design.IMPORTED:
        return []
    try:
        protocol = protocol_of(phase)
        _refuse_no_length(protocol.windows)
    except ValueError as error:
        return [str(error)]
    first_on = (phase.study.started_at or now).date()
    last_on = first_on + A_YEAR + timedelta(days=phase.days)
    problems: dict[str, None] = {}  # a set that keeps its order
    for name in _zones_of(phase):
        try:
            zone = zone_named(name)
        except ValueError as error:
            problems[str(error)] = None
            continue
        why = why_unworkable(protocol, zone=zone, first_on=first_on, last_on=last_on)
        if why:
            problems[why] = None
    return list(problems)


def _refuse_no_length(windows: tuple[Window, ...]) -> None:
    """From a time to itself is a slip of the pen; from midnight to midnight, a whole day."""
    for window in windows:
        if window.start == window.end != time(0):
            raise ValueError(
                f"The window {window} has no length: let it end after it starts, or write "
                "00:00 and 00:00 for the whole day."
            )


def _zones_of(phase: Phase) -> list[str]:
    if phase.study._state.adding:
        return [phase.study.zone]
    participants = Participant.objects.active().filter(study=phase.study)
    named = {
        phase.study.zone,
        *phase.study.sites.values_list("zone", flat=True),
        *participants.order_by().values_list("zone", flat=True).distinct(),
    }
    return sorted(named)


def _window(content: Mapping[str, Any]) -> Window:
    try:
        weekdays, start, end = content["weekdays"], content["start"], content["end"]
    except KeyError as missing:
        message = f"The window {dict(content)} has no {missing}: write it like {EXAMPLE}."
        raise ValueError(message) from missing
    if not isinstance(weekdays, list) or not set(weekdays) <= {1, 2, 3, 4, 5, 6, 7}:
        raise ValueError(f"Weekdays are numbers from 1 (Monday) to 7, not {weekdays!r}.")
    mask = sum(1 << (day - 1) for day in set(weekdays))
    return Window(mask, _local_time(start), _local_time(end))


def _local_time(text: object) -> time:
    try:
        return time.fromisoformat(str(text))
    except ValueError as error:
        message = f"{text!r} is not a local time: write hours and minutes, such as 08:00."
        raise ValueError(message) from error
