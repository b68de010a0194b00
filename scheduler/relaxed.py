"""Write down on which days the minimum gap did not fit: one event per participant and run."""

from collections.abc import Iterable
from datetime import date, timedelta
from itertools import groupby
from operator import attrgetter
from typing import Any, NamedTuple

from ema import audit
from ema.models import Participant

SECOND = timedelta(seconds=1)


class RelaxedDay(NamedTuple):
    """A day that was too short for the protocol's gap, and the gap it keeps instead."""

    participant_id: int
    phase: str
    study_on: date
    minimum_gap: timedelta
    gap: timedelta


def record_relaxed(days: Iterable[RelaxedDay]) -> None:
    """One event for each participant; the days come in the order of participants."""
    grouped = groupby(days, attrgetter("participant_id"))
    by_participant = {participant_id: list(own) for participant_id, own in grouped}
    people = Participant.objects.filter(pk__in=by_participant).select_related("study", "site")
    for participant in people.order_by("pk"):
        audit.record_about(
            participant=participant,
            actor=audit.SYSTEM,
            action="prompts.gap_relaxed",
            after=[_content(day) for day in by_participant[participant.pk]],
            reason="The windows of these days are too short for the phase's minimum gap.",
        )


def _content(day: RelaxedDay) -> dict[str, Any]:
    return {
        "phase": day.phase,
        "study_on": day.study_on.isoformat(),
        "minimum_gap_s": day.minimum_gap // SECOND,
        "gap_s": day.gap // SECOND,
    }
