"""When in a participant's day something was answered that no prompt asked for just then.

An answer within its prompt's time is within waking hours: those are when prompts are due. An own
report, or an answer before or after its prompt's time, may come at any hour, and own reports may be
more than the phase has a day. Both are flags like any other: such an answer is stored all the same.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, datetime, time, timedelta, timezone
from typing import Any, NamedTuple
from uuid import UUID
from zoneinfo import ZoneInfo

from ema.models import Participant, Phase, PhaseStart, Response
from ema.models.response import Flag, Trigger

DAY = timedelta(days=1)


class Given(NamedTuple):
    """Something answered at an instant, by local time where the phone said which that was."""

    id: UUID
    own: bool
    at: datetime
    utc_offset_min: int | None

    def local(self, zone: ZoneInfo) -> datetime:
        """By the clock on the wall: the phone's stated offset, else the participant's zone."""
        offset = self.utc_offset_min
        return self.at.astimezone(zone if offset is None else timezone(timedelta(minutes=offset)))


def remarks(participant: int, given: Sequence[Given]) -> dict[UUID, list[str]]:
    """Flags by id, of those that deserve any. A day without a phase has no hours and no limit."""
    if not given:
        return {}
    person = Participant.objects.get(pk=participant)
    zone, phases = ZoneInfo(person.zone), list(_stretches(participant))
    earlier = _own_reports(participant, given, zone) if any(each.own for each in given) else []
    found: dict[UUID, list[str]] = {}
    for each in sorted(given, key=lambda one: (one.at, one.id)):
        local = each.local(zone)
        phase = _phase_on(local.date(), phases)
        said = []
        if phase and not is_within(local, person.windows or phase.windows):
            said.append(Flag.OUTSIDE_WINDOW.value)
        if each.own:
            cap = phase.self_initiated_daily_cap if phase else None
            if cap is not None and earlier.count(local.date()) >= cap:
                said.append(Flag.OVER_DAILY_CAP.value)
            earlier.append(local.date())
        found[each.id] = said
    return found


def is_within(local: datetime, windows: Collection[Mapping[str, Any]]) -> bool:
    """Whether a local time lies in waking hours as they are stored, also begun the day before."""
    return any(_holds(local, window) for window in windows)


def _holds(local: datetime, window: Mapping[str, Any]) -> bool:
    start, end = time.fromisoformat(window["start"]), time.fromisoformat(window["end"])
    clock, today = local.time(), local.isoweekday()
    yesterday = (local - DAY).isoweekday()
    if start < end:
        return today in window["weekdays"] and start <= clock <= end
    begun = today in window["weekdays"] and clock >= start
    return begun or (yesterday in window["weekdays"] and clock <= end)


def _stretches(participant: int) -> Iterator[tuple[date, date, Phase]]:
    """The days of each phase, from its first to the day after its last."""
    starts = PhaseStart.objects.filter(participant=participant).select_related("phase")
    for start in starts.order_by("begins_on"):
        yield start.begins_on, start.begins_on + start.phase.days * DAY, start.phase


def _phase_on(on: date, stretches: Sequence[tuple[date, date, Phase]]) -> Phase | None:
    running = [phase for begins, ends, phase in stretches if begins <= on < ends]
    return running[-1] if running else None


def _own_reports(participant: int, given: Sequence[Given], zone: ZoneInfo) -> list[date]:
    """The local dates of own reports stored already, as far as they matter for these."""
    first, last = min(each.at for each in given), max(each.at for each in given)
    stored = Response.objects.filter(
        participant=participant,
        trigger=Trigger.SELF_INITIATED,
        completed_at_corrected__range=(first - 2 * DAY, last + 2 * DAY),
    ).exclude(pk__in=[each.id for each in given])
    rows = stored.values_list("id", "completed_at_corrected", "utc_offset_min")
    return [Given(key, True, at, offset).local(zone).date() for key, at, offset in rows]
