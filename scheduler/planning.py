"""Plan: every participant's prompts become rows, 14 days ahead, however late this runs.

What is missing is found in the database, so a run after an outage makes up the days it missed, and
two runs at once do no harm. Prompt times are `scheduler.day`'s; the arm has no part in them.
"""

import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from functools import partial
from operator import itemgetter
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection
from django.db.models import Count

from ema.models import Participant, Phase
from ema.pauses import cancel_paused
from ema.withdrawal import cancel_withdrawn
from scheduler.day import Protocol, draw_day, gap_kept_on
from scheduler.prompt_rows import DayKey, Row, insert_prompts
from scheduler.protocols import protocol_of, validate_protocol
from scheduler.relaxed import RelaxedDay
from scheduler.replanning import cancel_overlapping, take_up_changes
from scheduler.starts import write_starts
from scheduler.zones import zone_named

__all__ = ["Planned", "plan_prompts", "running_phases", "validate_protocol"]

HORIZON = timedelta(days=14)
CHUNK = 500
DAY = timedelta(days=1)
log = logging.getLogger(__name__)


class Planned(NamedTuple):
    """What one run did.

    `participants` got prompts, of which `prompts` were new; `withdrawn` prompts were cancelled
    because their participant had left, `paused` ones because of a pause. `refused` says in words
    what could not be planned, and for how many participants.
    """

    participants: int
    prompts: int
    withdrawn: int
    refused: dict[str, int]
    paused: int = 0


class Stretch(NamedTuple):
    """The days of one phase for which one participant lacks prompts. `windows` is JSON text."""

    participant_id: int
    uuid: UUID
    code: str
    zone: str
    windows: str | None
    enrolled_on: date
    phase_id: int
    first_on: date
    last_on: date


@dataclass
class Streams:
    """The phases drawn from, each a stream of its own, and their protocols as met so far."""

    phases: dict[int, Phase]
    _protocols: dict[tuple[int, str | None], Protocol] = field(default_factory=dict)

    def protocol(self, stretch: Stretch) -> Protocol:
        key = stretch.phase_id, stretch.windows
        if key not in self._protocols:
            windows = json.loads(stretch.windows) if stretch.windows else None
            self._protocols[key] = protocol_of(self.phases[stretch.phase_id], windows)
        return self._protocols[key]


def plan_prompts(now: datetime, progress: Callable[[int, int], None] | None = None) -> Planned:
    """Plan what is missing up to 14 days after each participant's today, past days included.

    `progress` is told after each chunk how many of how many stretches are done. One transaction
    per chunk: what is planned stays planned when a run is stopped.
    """
    refused: Counter[str] = Counter()
    phases = running_phases()
    streams, last_dates = Streams(phases), _last_dates(phases, now, refused)
    write_starts(phases.values(), last_dates)
    take_up_changes(now)
    behind = _behind(phases, last_dates)
    prompts, participants = 0, set[int]()
    done = 0
    for chunk in _chunks(behind):
        rows = list(_draw(chunk, streams, refused))
        if rows:
            prompts += insert_prompts(rows, now, partial(_relaxed_days, chunk, streams))
            participants.update(row[0] for row in rows)
        done += len(chunk)
        if progress:
            progress(done, len(behind))
    cancel_overlapping(now)
    for sentence, count in refused.items():
        log.warning("Not planned, %d times: %s", count, sentence)
    return Planned(
        participants=len(participants),
        prompts=prompts,
        withdrawn=cancel_withdrawn(now),
        refused=dict(refused),
        paused=cancel_paused(now),
    )


def running_phases() -> dict[int, Phase]:
    """The drawn phases of studies that have started and are not locked, by id."""
    running = Phase.objects.drawn().filter(study__started_at__isnull=False, study__locked_at=None)
    return {phase.pk: phase for phase in running.select_related("study")}


def _last_dates(phases: dict[int, Phase], now: datetime, refused: Counter[str]) -> dict[str, date]:
    """Per zone that participants live in, the last date to plan: 14 days after today there.

    Reckoned here and not in SQL: the database's zone data may be another year's.
    """
    studies = {phase.study_id for phase in phases.values()}
    living = Participant.objects.active().filter(study__in=studies).order_by()
    dates: dict[str, date] = {}
    for name, count in living.values_list("zone").annotate(Count("pk")):
        try:
            dates[name] = now.astimezone(zone_named(name)).date() + HORIZON
        except ValueError as error:
            refused[str(error)] += count
    return dates


BEHIND = """
SELECT participant.id, participant.uuid, participant.code, participant.zone,
    participant.windows::text, participant.enrolled_on, stream.phase_id,
    coalesce(planned.study_on + 1, start.begins_on), span.last_on
FROM unnest(%s::bigint[], %s::integer[]) AS stream (phase_id, days)
JOIN ema_phasestart start USING (phase_id)
JOIN ema_participant participant ON participant.id = start.participant_id
JOIN unnest(%s::text[], %s::date[]) AS horizon (zone, last_on) USING (zone)
CROSS JOIN LATERAL (
    SELECT least(horizon.last_on, start.begins_on + stream.days - 1) AS last_on
) span
LEFT JOIN LATERAL (
    SELECT study_on FROM ema_prompt prompt
    WHERE prompt.participant_id = participant.id AND prompt.phase_id = stream.phase_id
    AND NOT prompt.cancel_reason = 'superseded'
    ORDER BY study_on DESC LIMIT 1
) planned ON true
WHERE participant.withdrawn_at IS NULL
AND coalesce(planned.study_on + 1, start.begins_on) <= span.last_on
ORDER BY participant.id, start.begins_on
"""  # `planned` is one step down an index; a last day without windows is looked at every time


def _behind(phases: dict[int, Phase], last_dates: dict[str, date]) -> list[Stretch]:
    """Whoever lacks prompts, and for which days, in one query."""
    arguments: list[Any] = [
        list(phases),
        [phase.days for phase in phases.values()],
        list(last_dates),
        list(last_dates.values()),
    ]
    with connection.cursor() as cursor:
        cursor.execute(BEHIND, arguments)
        return [Stretch(*row) for row in cursor.fetchall()]


def _relaxed_days(
    chunk: Sequence[Stretch], streams: Streams, keys: set[DayKey]
) -> Iterator[RelaxedDay]:
    """Of the days with these keys, which gap they keep instead of the protocol's."""
    of = {(stretch.participant_id, stretch.phase_id): stretch for stretch in chunk}
    for participant_id, phase_id, study_on in sorted(keys, key=itemgetter(0, 2)):
        stretch = of[participant_id, phase_id]
        protocol = streams.protocol(stretch)
        yield RelaxedDay(
            participant_id=participant_id,
            phase=streams.phases[phase_id].key,
            study_on=study_on,
            minimum_gap=protocol.minimum_gap,
            gap=gap_kept_on(study_on, protocol, zone_named(stretch.zone)),
        )


def _chunks(behind: Sequence[Stretch]) -> Iterator[list[Stretch]]:
    """About 500 stretches at a time, all of a participant's in one."""
    chunk: list[Stretch] = []
    for stretch in behind:
        if len(chunk) >= CHUNK and stretch.participant_id != chunk[-1].participant_id:
            yield chunk
            chunk = []
        chunk.append(stretch)
    if chunk:
        yield chunk


def _draw(chunk: Sequence[Stretch], streams: Streams, refused: Counter[str]) -> Iterator[Row]:
    """The prompts of a chunk. Whoever cannot be drawn for is refused; the others go on."""
    for stretch in chunk:
        phase = streams.phases[stretch.phase_id]
        try:
            rows = list(_draw_stretch(stretch, phase, streams.protocol(stretch)))
        except ValueError as error:
            whose = f", participant {stretch.code}" if stretch.windows else ""
            refused[f"study {phase.study}, phase {phase}{whose}: {error}"] += 1
        else:
            yield from rows


def _draw_stretch(stretch: Stretch, phase: Phase, protocol: Protocol) -> Iterator[Row]:
    """The prompts of one participant's missing days, as rows."""
    zone, seed = zone_named(stretch.zone), bytes(phase.study.seed)
    for number in range((stretch.last_on - stretch.first_on).days + 1):
        study_on = stretch.first_on + number * DAY
        study_day = (study_on - stretch.enrolled_on).days + 1
        plan = draw_day(seed, phase.key, stretch.uuid, study_on, protocol, zone)
        times = zip(plan.due_at, plan.expires_at, strict=True)
        for ordinal, (due_at, expires_at) in enumerate(times, start=1):
            yield (
                stretch.participant_id,
                phase.pk,
                phase.questionnaire_id,
                study_on,
                study_day,
                ordinal,
                due_at,
                expires_at,
                stretch.zone,
                plan.gap_relaxed,
                plan.inclusion_probability,
            )
