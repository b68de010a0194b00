"""A small trial with answers, written straight into the database."""

import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from functools import cache

import numpy as np
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from ema.models import (
    Allocation,
    Arm,
    Device,
    Membership,
    Participant,
    Phase,
    Prompt,
    Response,
    Site,
    Study,
)
from tests.trial import make_questionnaire

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
DAY = timedelta(days=1)
AFTER = timedelta(minutes=2)
"""How long after a prompt its answer is complete."""


def make_study(
    slug: str = "relief",
    *,
    masking: str = "open",
    arms: Sequence[str] = ("placebo", "clonidine"),
    decimals: int = 0,
) -> Study:
    """A study with one site, two phases and arms, the first of which is the reference."""
    study = Study.objects.create(slug=slug, title=f"The {slug} trial", masking=masking)
    Site.objects.create(study=study, code="S1", title="Site 1")
    version = make_questionnaire(study, decimals=decimals)
    for position, key in enumerate(("baseline", "treatment"), start=1):
        Phase.objects.create(study=study, key=key, position=position, questionnaire=version)
    for key in arms:
        Arm.objects.create(study=study, key=key, is_reference=key == arms[0])
    return study


def add_participant(study: Study, code: str, arm: str | None = None) -> Participant:
    (added,) = add_participants(study, {code: arm})
    return added


def add_participants(study: Study, arms: Mapping[str, str | None]) -> list[Participant]:
    """Participants by their codes, each with a phone and, where an arm is named, a slot."""
    site = study.sites.get(code="S1")
    people = Participant.objects.bulk_create(_a_participant(site, code) for code in arms)
    Device.objects.bulk_create(map(_a_device, people))
    named = {arm.key: arm for arm in study.arms.all()}
    first = study.allocations.count() + 1
    allocated = [person for person in people if arms[person.code] is not None]
    Allocation.objects.bulk_create(
        Allocation(
            study=study,
            position=position,
            arm=named[arms[person.code] or ""],
            participant=person,
            allocated_at=timezone.now(),
        )
        for position, person in enumerate(allocated, start=first)
    )
    return people


def _a_participant(site: Site, code: str) -> Participant:
    return Participant(
        study=site.study,
        site=site,
        code=code,
        zone="Europe/Brussels",
        enrolled_at=START - DAY,
        enrolled_on=date(2026, 3, 1),
    )


def _a_device(participant: Participant) -> Device:
    return Device(
        participant=participant,
        installation=uuid.uuid4(),
        access_hash=uuid.uuid4().hex,
        access_expires_at=START + 400 * DAY,
        enrolled_at=START,
        app_version="1.4.0",
    )


def add_prompt(participant: Participant, number: int, phase: str = "baseline") -> Prompt:
    """The number-th prompt of a participant (0, 1, …), four a day, sent when it is due."""
    prompt = _a_prompt(participant, participant.study.phases.get(key=phase), number)
    prompt.save(force_insert=True)
    return prompt


def _a_prompt(participant: Participant, phase: Phase, number: int) -> Prompt:
    day, ordinal = divmod(number, 4)
    due_at = START + day * DAY + ordinal * timedelta(hours=3)
    return Prompt(
        id=uuid.uuid4(),
        participant=participant,
        phase=phase,
        questionnaire=phase.questionnaire,
        study_on=due_at.date(),
        study_day=day + 1,
        ordinal=ordinal + 1,
        due_at=due_at,
        expires_at=due_at + timedelta(minutes=30),
        zone=participant.zone,
        tzdata="2026a",
        planned_at=START - DAY,
        released_at=START - DAY,
        sent_at=due_at,
    )


def respond(
    prompt: Prompt,
    stress: int | None,
    craving: int | None,
    *,
    after: timedelta = AFTER,
    flags: Sequence[str] = (),
    trigger: str = "random",
    received_at: datetime | None = None,
) -> Response:
    completed_at = prompt.due_at + after
    if prompt.answered_at is None:
        prompt.answered_at = completed_at
        prompt.save()
    response = _a_response(prompt, prompt.participant.devices.get(), stress, craving, completed_at)
    response.trigger, response.flags = trigger, list(flags)
    response.received_at = received_at or response.received_at
    response.save(force_insert=True)
    return response


def _a_response(
    prompt: Prompt,
    device: Device,
    stress: int | None,
    craving: int | None,
    completed_at: datetime,
) -> Response:
    return Response(
        id=uuid.uuid4(),
        participant=prompt.participant,
        device=device,
        prompt=prompt,
        questionnaire=prompt.questionnaire,
        trigger="random",
        completed_at=completed_at,
        completed_at_corrected=completed_at,
        received_at=timezone.now(),
        answers=[],
        stress=stress,
        craving=craving,
        content_sha256=b"\0" * 32,
    )


def answer(participant: Participant, pairs: Sequence[tuple[int, int]]) -> None:
    """One answered prompt per (stress, craving), after those there are, in two statements."""
    answer_all(participant.study, {participant: pairs}, start=participant.prompts.count())


def answer_all(
    study: Study, pairs: Mapping[Participant, Sequence[tuple[int, int]]], *, start: int = 0
) -> None:
    """The same for several people, all in two statements."""
    phase = study.phases.select_related("questionnaire").get(key="baseline")
    devices = {one.participant_id: one for one in Device.objects.filter(participant__in=pairs)}
    prompts, responses = [], []
    for participant, own in pairs.items():
        for number, (stress, craving) in enumerate(own, start=start):
            prompt = _a_prompt(participant, phase, number)
            prompt.answered_at = at = prompt.due_at + AFTER
            prompts.append(prompt)
            responses.append(_a_response(prompt, devices[participant.pk], stress, craving, at))
    Prompt.objects.bulk_create(prompts)
    Response.objects.bulk_create(responses)


def analyze() -> None:
    """Let PostgreSQL look at what was written; by itself it might meet tables just rolled back,
    take them for empty, and then read them once for every row."""
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE ema_participant, ema_prompt, ema_response")


def pairs_drawn(slope: float, n: int, seed: int) -> list[tuple[int, int]]:
    """Whole ratings from 0 to 100 with about this slope of craving on stress."""
    draw = np.random.default_rng(seed)
    stress = draw.integers(10, 90, n)
    craving = np.clip(np.rint(10 + slope * stress + draw.normal(0, 4, n)), 0, 100)
    return [(int(x), int(y)) for x, y in zip(stress, craving, strict=True)]


def make_trial(
    slug: str = "relief", *, masking: str = "open", n: int = 12, prompts: int = 12
) -> Study:
    """n participants, every other one treated: coupling about 0.6, and 0.3 under treatment."""
    study = make_study(slug, masking=masking)
    people = add_participants(
        study, {f"P{i:02}": ("placebo", "clonidine")[i % 2] for i in range(n)}
    )
    slopes = [(0.6, 0.3)[i % 2] + 0.02 * (i % 5) for i in range(n)]
    drawn = [pairs_drawn(slope, prompts, seed=i) for i, slope in enumerate(slopes)]
    answer_all(study, dict(zip(people, drawn, strict=True)))
    analyze()
    return study


@cache
def _hashed(password: str) -> str:
    """Once for all users of all tests: hashing takes as long as a page."""
    return make_password(password)


def make_user(name: str, study: Study | None = None, role: str = "") -> User:
    user = User.objects.create(username=name, password=_hashed("correct horse"), is_staff=True)
    if study is not None:
        Membership.objects.create(user=user, study=study, role=role)
    return user
