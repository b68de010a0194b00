"""Verify: every drawn prompt of a study, recomputed from its seed and compared with its row.

Uses the planner's own ways from records to draws, one day at a time, in flat memory. Which days
ought to be there is what the planner promises: a phase is filled from its first day without a hole,
up to the horizon when the planner last ran. Changes nothing.

    scheduler.verification            a study, participant by participant
    scheduler.verification.seed       what was committed to, and what is revealed
    scheduler.verification.stored     what is stored, and which days are promised
    scheduler.verification.days       the same days as the seed has them
    scheduler.verification.comparing  what differs
    scheduler.verification.causes     why it may differ
    scheduler.verification.result     what is told
    scheduler.verification.counting   how many prompts there must be, for snapshots
"""

from collections.abc import Callable, Iterator
from itertools import islice

from django.db.models import Max

from ema.models import Participant, Prompt, Study
from ema.models.study import Design
from scheduler.planning import Streams
from scheduler.verification.comparing import check_stretch, strange
from scheduler.verification.result import Difference, Verified
from scheduler.verification.seed import NotLocked, Revealed, recipe_of, reveal_seed, seed_of
from scheduler.verification.stored import (
    Person,
    begins_of,
    drawn_phases,
    people_of,
    planned_until,
    promised,
    rows_of,
)

__all__ = [
    "Difference",
    "NotLocked",
    "NotStarted",
    "Revealed",
    "Verified",
    "recipe_of",
    "reveal_seed",
    "seed_of",
    "verify_schedule",
]

CHUNK = 20  # participants at a time: a year of prompts each fits in a few megabytes


class NotStarted(ValueError):
    """Nothing was committed to and nothing drawn."""


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
    phases = {phase.pk: phase for phase in drawn_phases(study)}
    streams, total = Streams(phases), Participant.objects.filter(study=study).count()
    for people in _chunks(people_of(study)):
        rows, begins = rows_of(people), begins_of(people)
        for person in people:
            own = rows.get(person.pk, {})
            planned_on = planned_until(study, person, own, last_run)
            verified.count(own)
            verified.note(strange(person, own, begins[person.pk], phases))
            for key, begins_on in begins[person.pk].items():
                stretch = promised(person, phases[key], begins_on, planned_on)
                verified.note(check_stretch(stretch, own.get(key, []), streams))
        verified.participants += len(people)
        if progress:
            progress(verified.participants, total)
    return verified


def _chunks(people: Iterator[Person]) -> Iterator[list[Person]]:
    while chunk := list(islice(people, CHUNK)):
        yield chunk
