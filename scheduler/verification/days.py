"""The days of one participant in one phase, as the seed has them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from typing import Any

from ema.models import Phase
from scheduler.day import EMPTY_DAY, DayPlan, Protocol, draw_day
from scheduler.planning import Stretch
from scheduler.verification.result import Difference, Value
from scheduler.verification.stored import Stored
from scheduler.zones import zone_named

DAY = timedelta(days=1)


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
        self, study_on: date, ordinal: int, kind: str, stored: Value, **more: Any
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


def has_probability(row: Stored, plan: DayPlan) -> bool:
    """Whether the stored probability is the drawn one; older prompts have none."""
    return row.inclusion_probability in (None, plan.inclusion_probability)


def is_equal(rows: Sequence[Stored], plan: DayPlan, zone: str) -> bool:
    return len(rows) == len(plan.due_at) and all(
        row.due_at == due_at
        and row.expires_at == expires_at
        and row.ordinal == ordinal
        and row.zone == zone
        and has_probability(row, plan)
        for ordinal, (row, due_at, expires_at) in enumerate(
            zip(rows, plan.due_at, plan.expires_at, strict=True), start=1
        )
    )
