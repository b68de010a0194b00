"""One participant's day: the sampling protocol, the zone and the seed give instants.

Joins `scheduler.sampling` (seconds) and `scheduler.zones` (instants). Pure: the caller says which
date it is, and keeps what it gets.
"""

from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from scheduler.sampling import (
    DESIGNS,
    FIXED,
    draws_needed,
    inclusion_probability,
    kept_gap,
    sample,
    seeded_draws,
    why_infeasible,
)
from scheduler.zones import (
    EVERY_DAY,
    Span,
    Window,
    elapsed_seconds,
    place,
    refuse_overlap,
    resolve,
    shortest_day,
    study_day_windows,
)

SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Protocol:
    """How many prompts a day, where, how far apart, and how long each stays open.

    `design` is one of `scheduler.sampling.DESIGNS`. A fixed design takes its prompts from
    `fixed_times`: all of them on every date on which a window begins. One that lies after midnight
    in a window that crosses it belongs to the next calendar day; others may lie outside windows.
    `expires_by_window_end` also closes a prompt when its window closes.

    Raises ValueError in words when the fields do not fit together.
    """

    prompts_per_day: int = 4
    design: str = "circle"
    minimum_gap: timedelta = timedelta(minutes=60)
    windows: tuple[Window, ...] = (Window(EVERY_DAY, time(8), time(22)),)
    expires_after: timedelta = timedelta(minutes=30)
    expires_by_window_end: bool = False
    fixed_times: tuple[time, ...] = ()

    def __post_init__(self) -> None:
        if self.design not in DESIGNS:
            known = ", ".join(DESIGNS)
            raise ValueError(f"There is no design {self.design!r}; choose one of {known}.")
        if self.prompts_per_day < 1:
            raise ValueError(f"A day needs at least 1 prompt, not {self.prompts_per_day}.")
        if self.minimum_gap < timedelta(0) or self.minimum_gap % SECOND:
            raise ValueError(f"The minimum gap is 0 or more whole seconds, not {self.minimum_gap}.")
        if self.expires_after < SECOND:
            raise ValueError(f"A prompt stays open at least 1 second, not {self.expires_after}.")
        if not self.windows:
            raise ValueError("A protocol needs at least one window in which prompts may come.")
        refuse_overlap(self.windows)
        _refuse_wrong_times(self)


class DayPlan(NamedTuple):
    """The prompts of one study day, in order; empty when no window begins on the date.

    `due_at` and `expires_at` are aware UTC instants, one of each per prompt. `gap_relaxed` says
    that the day was too short for the minimum gap. `inclusion_probability` is per minute of the
    windows; None where nothing was drawn.
    """

    due_at: tuple[datetime, ...]
    expires_at: tuple[datetime, ...]
    gap_relaxed: bool
    inclusion_probability: float | None


EMPTY_DAY = DayPlan((), (), gap_relaxed=False, inclusion_probability=None)


def draw_day(
    seed: bytes,
    stream: str,
    participant_uuid: UUID,
    study_on: date,
    protocol: Protocol,
    zone: ZoneInfo,
) -> DayPlan:
    """Return the prompts of one participant on one study day.

    The same arguments always give the same plan. Other windows or another zone give the same draws
    in the new hours. `stream` is the phase's key; the arm has no say.

    Raises ValueError when the seed is not 32 bytes or the stream is empty.
    """
    spans, length = _windows_of(study_on, protocol.windows, zone)
    if not spans:
        return EMPTY_DAY
    if protocol.design == FIXED:
        due_at = _fixed_instants(study_on, protocol, zone)
        return DayPlan(due_at, _expiries(due_at, protocol, spans), False, None)
    prompts = protocol.prompts_per_day
    count = draws_needed(protocol.design, prompts)
    drawn = sample(
        protocol.design,
        length=length,
        prompts=prompts,
        minimum_gap=protocol.minimum_gap // SECOND,
        draws=seeded_draws(seed, stream, participant_uuid, study_on, count),
    )
    due_at = tuple(place(offset, spans) for offset in drawn.offsets)
    probability = inclusion_probability(length=length, prompts=prompts)
    return DayPlan(due_at, _expiries(due_at, protocol, spans), drawn.gap_relaxed, probability)


def gap_kept_on(study_on: date, protocol: Protocol, zone: ZoneInfo) -> timedelta:
    """Return the gap that a date with drawn prompts keeps: the protocol's, or as much as fits."""
    _, length = _windows_of(study_on, protocol.windows, zone)
    gap, _ = kept_gap(
        protocol.design,
        length=length,
        prompts=protocol.prompts_per_day,
        minimum_gap=protocol.minimum_gap // SECOND,
    )
    return gap * SECOND


def why_unworkable(
    protocol: Protocol, *, zone: ZoneInfo, first_on: date, last_on: date
) -> str | None:
    """Say why a protocol cannot hold its minimum gap on every date of a phase; None if it can.

    Looks at the shortest day of the zone between the two dates, both included: a night window on
    the night the clocks go forward.
    """
    length = shortest_day(protocol.windows, zone, first_on, last_on)
    if not length:
        return f"No window begins on any date from {first_on} to {last_on}; add a weekday."
    if protocol.design == FIXED:
        return None
    return why_infeasible(
        protocol.design,
        length=length,
        prompts=protocol.prompts_per_day,
        minimum_gap=protocol.minimum_gap // SECOND,
    )


# Participants share dates, zones and mostly windows: 14 days × a few hundred combinations.
@lru_cache(maxsize=8192)
def _windows_of(
    study_on: date, windows: tuple[Window, ...], zone: ZoneInfo
) -> tuple[tuple[Span, ...], int]:
    spans = study_day_windows(study_on, windows, zone)
    return spans, elapsed_seconds(spans)


def _fixed_instants(study_on: date, protocol: Protocol, zone: ZoneInfo) -> tuple[datetime, ...]:
    tonight = [w for w in protocol.windows if w.crosses_midnight and w.begins_on(study_on)]
    return tuple(
        sorted(
            resolve(study_on + timedelta(days=any(t < w.end for w in tonight)), t, zone)
            for t in protocol.fixed_times
        )
    )


def _expiries(
    due_at: tuple[datetime, ...], protocol: Protocol, spans: tuple[Span, ...]
) -> tuple[datetime, ...]:
    expires_at = tuple(due + protocol.expires_after for due in due_at)
    if not protocol.expires_by_window_end:
        return expires_at
    return tuple(
        min([expiry, *(end for start, end in spans if start <= due < end)])
        for due, expiry in zip(due_at, expires_at, strict=True)
    )


def _refuse_wrong_times(protocol: Protocol) -> None:
    times = protocol.fixed_times
    if protocol.design != FIXED:
        if times:
            raise ValueError(
                f"Fixed times were given, but a {protocol.design} design draws its own; "
                "choose the fixed design or leave the times out."
            )
        return
    if len(times) != protocol.prompts_per_day or len(set(times)) != len(times):
        raise ValueError(
            f"A fixed design with {protocol.prompts_per_day} prompts a day needs as many "
            f"different local times; there are {len(set(times))}."
        )
    if any(t.tzinfo or t.microsecond for t in times):
        raise ValueError("Fixed times are whole seconds of local time, without a zone.")
