"""Rows of a golden file as a trial in the database, for comparisons through every layer."""

import csv
import uuid
from collections.abc import Callable, Sequence
from datetime import timedelta
from pathlib import Path

from django.utils import timezone

from ema.models import Device, Participant, Phase, Prompt, Response, Study
from tests.analytics.answers import DAY, START, add_participants, analyze, make_study

GOLDEN = Path(__file__).resolve().parent.parent / "golden"
Row = dict[str, str]


def golden_rows(name: str) -> list[Row]:
    with (GOLDEN / name).open(encoding="utf-8") as file:
        return list(csv.DictReader(file))


def golden_trial(
    rows: Sequence[Row],
    arms: Sequence[str],
    *,
    day_of: Callable[[Row], int],
    phase_of: Callable[[Row], str] = lambda row: "baseline",
    phases: Sequence[str] = (),
) -> Study:
    """A study with a prompt, answered two minutes later, for every row; rows of a day in order."""
    study = make_study(arms=arms)
    first = study.phases.get(key="baseline")
    for position, key in enumerate(phases, start=3):
        study.phases.create(key=key, position=position, questionnaire=first.questionnaire)
    people = {row["id"]: row["arm"] for row in rows}
    known = {person.code: person for person in add_participants(study, people)}
    seen: dict[tuple[str, int], int] = {}
    named = {phase.key: phase for phase in study.phases.select_related("questionnaire")}
    prompts = []
    for row in rows:
        day = day_of(row)
        seen[row["id"], day] = ordinal = seen.get((row["id"], day), 0) + 1
        prompts.append(_prompt(known[row["id"]], day, ordinal, named[phase_of(row)]))
    Prompt.objects.bulk_create(prompts)
    owned = Device.objects.filter(participant__study=study).select_related("participant")
    devices = {device.participant.code: device for device in owned}
    Response.objects.bulk_create(
        _response(prompt, devices[row["id"]], int(row["stress"]), int(row["craving"]))
        for prompt, row in zip(prompts, rows, strict=True)
    )
    analyze()
    return study


def _prompt(participant: Participant, day: int, ordinal: int, phase: Phase) -> Prompt:
    due_at = START + (day - 1) * DAY + ordinal * timedelta(minutes=30)
    return Prompt(
        id=uuid.uuid4(),
        participant=participant,
        phase=phase,
        questionnaire=phase.questionnaire,
        study_on=due_at.date(),
        study_day=day,
        ordinal=ordinal,
        due_at=due_at,
        expires_at=due_at + timedelta(minutes=30),
        answered_at=due_at + timedelta(minutes=2),
        zone=participant.zone,
        tzdata="2026a",
        planned_at=START - DAY,
        released_at=START - DAY,
        sent_at=due_at,
    )


def _response(prompt: Prompt, device: Device, stress: int, craving: int) -> Response:
    at = prompt.due_at + timedelta(minutes=2)
    return Response(
        id=uuid.uuid4(),
        participant=prompt.participant,
        device=device,
        prompt=prompt,
        questionnaire=prompt.questionnaire,
        trigger="random",
        completed_at=at,
        completed_at_corrected=at,
        received_at=timezone.now(),
        answers=[],
        stress=stress,
        craving=craving,
        flags=[],
        content_sha256=b"\0" * 32,
    )
