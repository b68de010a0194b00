"""Verify: every drawn prompt of a study, recomputed from its seed and compared with its row.

Uses the planner's own ways from records to draws, one day at a time, in flat memory. Which days
ought to be there is what the planner promises: a phase is filled from its first day without a hole,
up to the horizon when the planner last ran. Changes nothing.
"""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import groupby, islice
from operator import attrgetter
from typing import Any, NamedTuple
from uuid import UUID

from django.db import transaction
from django.db.models import Max, QuerySet

from ema import audit
from ema.audit import Actor
from ema.models import AuditEvent, Participant, Phase, PhaseStart, Prompt, Study
from ema.models.prompt import CancelReason
from ema.models.study import Design
from scheduler.day import EMPTY_DAY, DayPlan, Protocol, draw_day
from scheduler.planning import HORIZON, Streams, Stretch
from scheduler.protocols import protocol_of
from scheduler.zones import TZDATA_VERSION, zone_named

CHUNK = 20  # participants at a time: a year of prompts each fits in a few megabytes
DAY, SECOND = timedelta(days=1), timedelta(seconds=1)
ALGORITHM = "fourbeat-schedule/1"

MISSING, EXTRA, DUE_AT, EXPIRES_AT = "missing", "extra", "due_at", "expires_at"
UNREADABLE = "not_recomputable"
OTHER_SEED: dict[str, Any] = {"cause": "the seed is another", "is_by_tzdata": False}


class NotLocked(ValueError):
    """The study still runs, so its seed stays secret."""


class NotStarted(ValueError):
    """Nothing was committed to and nothing drawn."""


class Difference(NamedTuple):
    """One thing that is not as the seed has it. `cause` is a sentence, or empty when unknown."""

    participant: str
    phase: str
    study_on: date
    ordinal: int
    kind: str
    stored: datetime | None
    expected: datetime | None
    cause: str = ""
    is_by_tzdata: bool = False


class Revealed(NamedTuple):
    """A seed as hex, its SHA-256, and the SHA-256 that was written down when the study started."""

    seed: str
    sha256: str
    commitment: str | None

    @property
    def is_the_committed_one(self) -> bool:
        return self.sha256 == self.commitment

    @property
    def is_another(self) -> bool:
        return self.commitment is not None and self.sha256 != self.commitment


class Stored(NamedTuple):
    """What is compared of a prompt's row."""

    participant_id: int
    phase_id: int
    study_on: date
    ordinal: int
    due_at: datetime
    expires_at: datetime
    zone: str
    tzdata: str
    planned_at: datetime


Rows = dict[int, list[Stored]]  # of one participant, by phase, in the order of days


class Person(NamedTuple):
    pk: int
    uuid: UUID
    code: str
    zone: str
    windows: Any
    enrolled_on: date
    withdrawn_at: datetime | None


@dataclass(kw_only=True)
class Verified:
    """What was compared and what came out; of the differences, the first `limit` are kept."""

    seed: Revealed
    limit: int
    participants: int = 0
    days: int = 0
    prompts: int = 0
    not_drawn: int = 0
    by_tzdata: int = 0
    tzdata: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)

    @property
    def all_equal(self) -> bool:
        return self.seed.is_the_committed_one and not self.kinds

    @property
    def other_tzdata(self) -> list[str]:
        return sorted(self.tzdata.keys() - {TZDATA_VERSION})

    def count(self, own: Rows) -> None:
        for rows in own.values():
            self.prompts += len(rows)
            self.days += len({row.study_on for row in rows})
            self.tzdata.update(row.tzdata for row in rows)

    def note(self, found: Iterable[Difference]) -> None:
        for each in found:
            is_of_seed = self.seed.is_another and each.kind == DUE_AT
            difference = each._replace(**OTHER_SEED) if is_of_seed else each
            self.kinds[difference.kind] += 1
            self.by_tzdata += difference.is_by_tzdata
            if len(self.differences) < self.limit:
                self.differences.append(difference)

    def content(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "all_equal": self.all_equal,
            "seed_sha256": self.seed.sha256,
            "seed_commitment": self.seed.commitment,
            "seed_is_the_committed_one": self.seed.is_the_committed_one,
            "participants": self.participants,
            "days": self.days,
            "prompts": self.prompts,
            "not_drawn": self.not_drawn,
            "tzdata_installed": TZDATA_VERSION,
            "tzdata": dict(sorted(self.tzdata.items())),
            "difference_counts": {"all": self.kinds.total(), **self.kinds},
            "differences_by_tzdata": self.by_tzdata,
            "differences": [_content(each) for each in self.differences],
        }


def verify_schedule(
    study: Study, *, limit: int = 20, progress: Callable[[int, int], None] | None = None
) -> Verified:
    """Recompute every drawn prompt of a study; keep the first `limit` differences, count all.

    `progress` is told how many of how many participants are done. Raises NotStarted.
    """
    if study.started_at is None:
        raise NotStarted(f"Study {study} has not started: nothing is committed to, nothing drawn.")
    verified = Verified(seed=seed_of(study), limit=limit)
    prompts = Prompt.objects.filter(participant__study=study)
    verified.not_drawn = prompts.filter(phase__design=Design.IMPORTED).count()
    last_run = prompts.exclude(phase__design=Design.IMPORTED).aggregate(at=Max("planned_at"))["at"]
    phases = {phase.pk: phase for phase in _drawn_phases(study)}
    streams, total = Streams(phases), Participant.objects.filter(study=study).count()
    for people in _chunks(_people(study)):
        rows, begins = _rows(people), _begins(people)
        for person in people:
            own = rows.get(person.pk, {})
            planned_on = _planned_on(study, person, own, last_run)
            verified.count(own)
            verified.note(_strange(person, own, begins[person.pk], phases))
            for key, begins_on in begins[person.pk].items():
                stretch = _stretch(person, phases[key], begins_on, planned_on)
                verified.note(_check_stretch(stretch, own.get(key, []), streams))
        verified.participants += len(people)
        if progress:
            progress(verified.participants, total)
    return verified


def seed_of(study: Study) -> Revealed:
    """The seed that the study has now, beside what it committed to when it started."""
    started = AuditEvent.objects.filter(study=study, action="study.started").order_by("pk").first()
    commitment = (started.after or {}).get("seed_commitment") if started else None
    return Revealed(bytes(study.seed).hex(), study.seed_commitment, commitment)


@transaction.atomic
def reveal_seed(*, study: Study, actor: Actor) -> Revealed:
    """Tell the seed of a locked study; the first time, write down that it was told.

    Raises NotLocked.
    """
    study = Study.objects.select_for_update().get(pk=study.pk)
    if study.locked_at is None:
        raise NotLocked(
            f"Study {study} is not locked, and whoever knows its seed can predict every prompt: "
            "the seed is revealed after manage.py lock."
        )
    revealed = seed_of(study)
    if not AuditEvent.objects.filter(study=study, action="study.seed_revealed").exists():
        audit.record(
            actor=actor,
            action="study.seed_revealed",
            subject=f"study {study}",
            study=study,
            after={"sha256": revealed.sha256, "seed_commitment": revealed.commitment},
        )
    return revealed


def recipe_of(study: Study, revealed: Revealed) -> dict[str, Any]:
    """What a recomputation needs beside the prompts. Participants are named by their codes."""
    protocol = ("key", "position", "days", "design", "prompts_per_day", "windows", "fixed_times")
    lasts = ("minimum_gap", "expires_after")
    phases = Phase.objects.filter(study=study).order_by("position")
    people = Participant.objects.filter(study=study).order_by("code")
    return {
        "algorithm": ALGORITHM,
        "seed": revealed.seed,
        "sha256": revealed.sha256,
        "seed_commitment": revealed.commitment,
        "phases": [
            {name: getattr(phase, name) for name in protocol}
            | {f"{name}_s": getattr(phase, name) // SECOND for name in lasts}
            for phase in phases
        ],
        "participants": [
            {
                "participant_id": person.code,
                "uuid": str(person.uuid),
                "enrolled_on": person.enrolled_on.isoformat(),
                "windows": person.windows,
            }
            for person in people
        ],
    }


def _content(difference: Difference) -> dict[str, Any]:
    return {
        "participant": difference.participant,
        "phase": difference.phase,
        "study_on": difference.study_on.isoformat(),
        "ordinal": difference.ordinal,
        "kind": difference.kind,
        "stored": difference.stored and difference.stored.isoformat(),
        "expected": difference.expected and difference.expected.isoformat(),
        "cause": difference.cause,
    }


# What is stored


def _drawn_phases(study: Study) -> QuerySet[Phase]:
    return Phase.objects.drawn().filter(study=study).select_related("study")


def _begins(people: Sequence[Person]) -> dict[int, dict[int, date]]:
    """When the phases of some participants began, as the planner wrote it down."""
    begins: dict[int, dict[int, date]] = {person.pk: {} for person in people}
    started = PhaseStart.objects.filter(participant__in=list(begins))
    for participant, phase, begins_on in started.values_list(
        "participant_id", "phase_id", "begins_on"
    ):
        begins[participant][phase] = begins_on
    return begins


def _people(study: Study) -> Iterator[Person]:
    found = Participant.objects.filter(study=study).order_by("pk")
    return map(Person._make, found.values_list(*Person._fields).iterator(chunk_size=1000))


def _chunks(people: Iterator[Person]) -> Iterator[list[Person]]:
    while chunk := list(islice(people, CHUNK)):
        yield chunk


def _rows(people: Sequence[Person]) -> dict[int, Rows]:
    """The drawn prompts of some participants, by participant and phase, in the order of days.

    Without those that another schedule took the place of.
    """
    found = Prompt.objects.filter(participant__in=[person.pk for person in people])
    found = found.exclude(cancel_reason=CancelReason.SUPERSEDED)
    ordered = found.exclude(phase__design=Design.IMPORTED).order_by(
        "participant_id", "phase_id", "study_on", "ordinal"
    )
    rows: dict[int, Rows] = {}
    for row in map(Stored._make, ordered.values_list(*Stored._fields)):
        rows.setdefault(row.participant_id, {}).setdefault(row.phase_id, []).append(row)
    return rows


def _planned_on(study: Study, person: Person, own: Rows, last_run: datetime | None) -> date | None:
    """The last date that the planner must have reached for a participant; None if it need not.

    When it last wrote a prompt of theirs, it reached its horizon. So it did when it last wrote any,
    unless they had withdrawn or were not enrolled yet; a day less, as they may have moved since.
    """
    reached = []
    if own:
        last = max((row for rows in own.values() for row in rows), key=attrgetter("planned_at"))
        reached.append(_local_date(last.planned_at, last.zone, HORIZON))
    if last_run and not person.withdrawn_at and (own or _enrolled_by(study, person, last_run)):
        reached.append(_local_date(last_run, person.zone, HORIZON - DAY))
    return max(filter(None, reached), default=None)


def _enrolled_by(study: Study, person: Person, at: datetime) -> bool:
    """By the audit trail: `enrolled_at` may lie before it was written down."""
    events = AuditEvent.objects.filter(study=study, action="participant.enrolled", at__lt=at)
    return events.filter(subject=f"participant {person.code}").exists()


def _local_date(at: datetime, zone: str, later: timedelta) -> date | None:
    try:
        return at.astimezone(zone_named(zone)).date() + later
    except ValueError:  # no such zone: nobody can be planned in it
        return None


def _stretch(person: Person, phase: Phase, begins_on: date, planned_on: date | None) -> Stretch:
    """The days of a phase that the planner has promised, for one participant."""
    last_on = begins_on + (phase.days - 1) * DAY
    return Stretch(
        participant_id=person.pk,
        uuid=person.uuid,
        code=person.code,
        zone=person.zone,
        windows=None if person.windows is None else json.dumps(person.windows),
        enrolled_on=person.enrolled_on,
        phase_id=phase.pk,
        first_on=begins_on,
        last_on=min(last_on, planned_on) if planned_on else begins_on - DAY,
    )


# What it should be


@dataclass(frozen=True, slots=True)
class Days:
    """The days of one participant in one phase, as the seed has them."""

    stretch: Stretch
    phase: Phase
    protocol: Protocol

    @property
    def end_on(self) -> date:
        """The day after the phase."""
        return self.stretch.first_on + self.phase.days * DAY

    def plan(self, study_on: date, zone: str, protocol: Protocol | None = None) -> DayPlan:
        """The prompts of a day, none outside the phase. Raises ValueError for an unknown zone."""
        if not self.stretch.first_on <= study_on < self.end_on:
            return EMPTY_DAY
        return draw_day(
            bytes(self.phase.study.seed),
            self.phase.key,
            self.stretch.uuid,
            study_on,
            protocol or self.protocol,
            zone_named(zone),
        )

    def difference(
        self, study_on: date, ordinal: int, kind: str, stored: datetime | None, **more: Any
    ) -> Difference:
        return Difference(
            participant=self.stretch.code,
            phase=self.phase.key,
            study_on=study_on,
            ordinal=ordinal,
            kind=kind,
            stored=stored,
            expected=more.pop("expected", None),
            **more,
        )


def _strange(
    person: Person, own: Rows, begins: Mapping[int, date], phases: Mapping[int, Phase]
) -> Iterator[Difference]:
    """Prompts in a phase that has not begun for the participant, or of another study."""
    for key in own.keys() - begins.keys():
        phase = phases[key].key if key in phases else "of another study"
        for row in own[key]:
            yield Difference(
                person.code, phase, row.study_on, row.ordinal, EXTRA, row.due_at, expected=None
            )


def _check_stretch(
    stretch: Stretch, rows: Sequence[Stored], streams: Streams
) -> Iterator[Difference]:
    """One participant's phase: every stored day, and every promised one."""
    phase = streams.phases[stretch.phase_id]
    try:
        days = Days(stretch, phase, streams.protocol(stretch))
    except ValueError as error:  # nobody could be planned by this protocol
        days = Days(stretch, phase, Protocol())
        for row in rows:
            yield _unreadable(days, row, error)
        return
    stored = {study_on: list(day) for study_on, day in groupby(rows, attrgetter("study_on"))}
    inside = [study_on for study_on in stored if study_on < days.end_on]
    last_on = max([stretch.last_on, *inside])
    promised = {stretch.first_on + n * DAY for n in range((last_on - stretch.first_on).days + 1)}
    zone = rows[0].zone if rows else stretch.zone
    for study_on in sorted(stored.keys() | promised):
        day = stored.get(study_on, [])
        zone = day[0].zone if day else zone
        yield from _check_day(days, study_on, day, zone)


def _check_day(
    days: Days, study_on: date, rows: Sequence[Stored], zone: str
) -> Iterator[Difference]:
    try:
        plan = days.plan(study_on, zone)
    except ValueError as error:
        for row in rows:
            yield _unreadable(days, row, error)
        return
    if _is_equal(rows, plan, zone):
        return
    cause, is_by_tzdata = _cause(days, study_on, rows, plan)
    for difference in _compare(days, study_on, rows, zone):
        yield difference._replace(cause=difference.cause or cause, is_by_tzdata=is_by_tzdata)


def _is_equal(rows: Sequence[Stored], plan: DayPlan, zone: str) -> bool:
    return len(rows) == len(plan.due_at) and all(
        row.due_at == due_at
        and row.expires_at == expires_at
        and row.ordinal == ordinal
        and row.zone == zone
        for ordinal, (row, due_at, expires_at) in enumerate(
            zip(rows, plan.due_at, plan.expires_at, strict=True), start=1
        )
    )


def _compare(days: Days, study_on: date, rows: Sequence[Stored], zone: str) -> Iterator[Difference]:
    """Prompt by prompt, each in the zone that its row names."""
    found = {row.ordinal: row for row in rows}
    for ordinal, due_at in enumerate(days.plan(study_on, zone).due_at, start=1):
        if ordinal not in found:
            yield days.difference(study_on, ordinal, MISSING, None, expected=due_at)
    for ordinal, row in found.items():
        try:
            plan = days.plan(study_on, row.zone)
        except ValueError as error:
            yield _unreadable(days, row, error)
            continue
        if ordinal > len(plan.due_at):
            yield days.difference(study_on, ordinal, EXTRA, row.due_at)
            continue
        due_at, expires_at = plan.due_at[ordinal - 1], plan.expires_at[ordinal - 1]
        if row.due_at != due_at:
            yield days.difference(study_on, ordinal, DUE_AT, row.due_at, expected=due_at)
        if row.expires_at - row.due_at != expires_at - due_at and row.expires_at != expires_at:
            yield days.difference(
                study_on, ordinal, EXPIRES_AT, row.expires_at, expected=expires_at
            )


def _unreadable(days: Days, row: Stored, error: ValueError) -> Difference:
    return days.difference(row.study_on, row.ordinal, UNREADABLE, row.due_at, cause=str(error))


# Why


def _cause(days: Days, study_on: date, rows: Sequence[Stored], plan: DayPlan) -> tuple[str, bool]:
    """What may explain a day none of whose prompts is as drawn, and whether it is the zone data.

    A day of which some prompts are as drawn, or that has none, is left unexplained: editions of a
    protocol, of hours and of zone data move whole days.
    """
    in_plan = [row for row in rows if row.ordinal <= len(plan.due_at)]
    shifts = {row.due_at - plan.due_at[row.ordinal - 1] for row in in_plan}
    if not rows or not days.stretch.first_on <= study_on < days.end_on:
        return "", False
    if shifts == {timedelta(0)} and len(in_plan) == len(rows) == len(plan.due_at):
        later = all(r.expires_at != e for r, e in zip(rows, plan.expires_at, strict=True))
        return "was the phase's expires_after changed after this was planned?" * later, False
    if timedelta(0) in shifts:
        return "", False
    others = sorted({row.tzdata for row in rows} - {TZDATA_VERSION})
    if others:
        return _cause_in_zone_data(others[0], len(shifts) == 1 and len(in_plan) == len(plan.due_at))
    if days.stretch.windows is None:
        return "was the phase's protocol changed after this was planned?", False
    if _is_equal(rows, days.plan(study_on, rows[0].zone, protocol_of(days.phase)), rows[0].zone):
        return "drawn in the phase's hours: the participant's own were set later", False
    return (
        "were the participant's own hours, or the protocol, changed after this was planned?",
        False,
    )


def _cause_in_zone_data(release: str, is_one_shift: bool) -> tuple[str, bool]:
    """Other rules move a whole day by one UTC offset, or change its length by night."""
    if is_one_shift:
        return f"drawn by tzdata {release}: the same draws at another UTC offset", True
    return f"drawn by tzdata {release}: perhaps other rules for the clocks of that day", False
