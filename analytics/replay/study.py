"""Make a study of a file that was read, and upload its answers as phones would.

Prompts come with the data (phase design `imported`), so nothing is drawn. Everything else takes
the way of a trial: codes are issued and redeemed, schedules read, answers posted in batches.
"""

import uuid
from collections import Counter
from collections.abc import Mapping
from datetime import datetime, time, timedelta
from zoneinfo import ZoneInfo

import httpx
import tzdata
from django.db import transaction
from django.utils.text import slugify

from analytics.file_options import UnusableDataError, WrongOptionError
from analytics.progress import Step
from analytics.replay.people import Person, Scale
from analytics.replay.reading import Asked, Replay
from analytics.study_names import numbered
from ema import enrolment, phones, studies
from ema.audit import COMMAND
from ema.models import (
    Allocation,
    Arm,
    Item,
    Participant,
    Phase,
    Prompt,
    Questionnaire,
    QuestionnaireVersion,
    Response,
    Site,
    Study,
)
from ema.models.study import Design, Masking
from ema.phones import Phone

SLUG_LENGTH = 50
PROMPT_CHUNK = 2000


def free_slug(asked: Asked) -> str:
    """The name asked for, which must be free; or the file's, numbered when it is taken."""
    if asked.study:
        if Study.objects.filter(slug=asked.study).exists():
            raise WrongOptionError(
                f"--study {asked.study!r} exists already, and a replay never adds to a study: "
                "name another."
            )
        if asked.study != slugify(asked.study) or len(asked.study) > SLUG_LENGTH:
            raise WrongOptionError(
                f"--study {asked.study!r} is not a short name: use up to {SLUG_LENGTH} small "
                "letters, digits and dashes."
            )
        return asked.study
    name = slugify(asked.file.stem)[: SLUG_LENGTH - 4].strip("-") or "replay"
    taken = set(Study.objects.filter(slug__startswith=name).values_list("slug", flat=True))
    return numbered(name, taken)


@transaction.atomic
def create_study(replay: Replay, slug: str, now: datetime) -> Study:
    """The study with its people and prompts, started; nobody has answered yet."""
    asked = replay.asked
    title = f"Replay of {asked.file.name}"
    study = Study.objects.create(slug=slug, title=title, masking=Masking.OPEN, zone=asked.zone)
    site = Site.objects.create(study=study, code="file", title=asked.file.name, zone=asked.zone)
    arms = {
        key: Arm.objects.create(study=study, key=key[:40], is_reference=key == asked.reference)
        for key in replay.arms
    }
    version = _questionnaire(study, replay.scales)
    studies.publish(version=version, now=now, actor=COMMAND)
    occasions = [occasion for person in replay.people for occasion in person.occasions]
    phase = Phase.objects.create(
        study=study,
        key="imported",
        position=1,
        days=max(occasion.day for occasion in occasions),
        questionnaire=version,
        design=Design.IMPORTED,
        prompts_per_day=min(48, max(occasion.ordinal for occasion in occasions)),
        expires_after=replay.expires_after,
    )
    for position, person in enumerate(replay.people, start=1):
        participant = _enrolled(person, site, now)
        if person.arm:
            Allocation.objects.create(
                study=study,
                stratum=site.code,
                position=position,
                arm=arms[person.arm],
                participant=participant,
                allocated_at=participant.enrolled_at,
            )
        _insert_prompts(person, participant, phase, now)
    studies.start(study=study, now=now, actor=COMMAND)
    return study


def _questionnaire(study: Study, scales: Mapping[str, Scale]) -> QuestionnaireVersion:
    questionnaire = Questionnaire.objects.create(
        study=study, key="replayed", title="As in the file"
    )
    version = QuestionnaireVersion.objects.create(questionnaire=questionnaire)
    for position, (role, scale) in enumerate(scales.items(), start=1):
        Item.objects.create(
            version=version,
            key=role,
            position=position,
            kind="number",
            role=role,
            label={"en": " ".join(scale.column.split())[:500] or role},
            minimum=scale.minimum,
            maximum=scale.maximum,
            decimals=scale.decimals,
        )
    return version


def _enrolled(person: Person, site: Site, now: datetime) -> Participant:
    """Enrolled when study day 1 began."""
    begins = datetime.combine(person.first_on, time(0), tzinfo=ZoneInfo(site.zone))
    return enrolment.enrol(
        site=site, code=person.code, zone=site.zone, now=now, actor=COMMAND, enrolled_at=begins
    )


def _insert_prompts(person: Person, participant: Participant, phase: Phase, now: datetime) -> None:
    """The file says that prompts reached the phone: they count as armed, hence as missed."""
    rows = [
        Prompt(
            id=uuid.uuid4(),
            participant=participant,
            phase=phase,
            questionnaire=phase.questionnaire,
            study_on=person.first_on + timedelta(days=occasion.day - 1),
            study_day=occasion.day,
            ordinal=occasion.ordinal,
            due_at=occasion.due_at,
            expires_at=occasion.due_at + phase.expires_after,
            zone=participant.zone,
            tzdata=tzdata.IANA_VERSION,
            planned_at=now,
            armed_at=occasion.due_at,
        )
        for occasion in person.occasions
    ]
    Prompt.objects.bulk_create(rows, batch_size=PROMPT_CHUNK)


class UploadIncomplete(UnusableDataError):
    """Some answers did not arrive as they were sent."""


def upload(replay: Replay, study: Study, url: str, now: datetime, step: Step) -> Counter[str]:
    """Phones redeem their codes, read their prompts and post the answers; statuses, counted."""
    participants = {p.code: p for p in Participant.objects.filter(study=study)}
    work = [
        (
            person,
            enrolment.issue_code(participant=participants[person.code], now=now, actor=COMMAND),
        )
        for person in replay.people
    ]
    told: Counter[str] = Counter()
    try:
        with phones.connect(url) as http:
            for done in phones.each(work, lambda each: _replay_phone(http, *each)):
                told += done
                step.advance()
    except phones.Refused as error:
        if error.code == "code_unknown":
            message = f"--url {url}: that server does not use this database; leave --url out."
            raise WrongOptionError(message) from error
        raise UploadIncomplete(f"Study {study} is uploaded in part: {error}") from error
    except phones.PhoneError as error:
        raise UploadIncomplete(f"Study {study} is uploaded in part: {error}") from error
    stored = Response.objects.filter(participant__study=study).count()
    if stored != replay.answered:
        raise UploadIncomplete(f"{replay.answered} answers were sent, but {stored} are stored.")
    return told


def _replay_phone(http: httpx.Client, person: Person, code: str) -> Counter[str]:
    """One person's phone: from its code to the last answer."""
    phone = Phone(http, app="fourbeat-replay")
    phone.redeem(code)
    if not person.occasions:
        return Counter()
    first = min(occasion.due_at for occasion in person.occasions)
    last = max(occasion.due_at for occasion in person.occasions)
    cards = {
        (card.study_on, card.ordinal): card
        for card in phone.sync(since=first, until=last + timedelta(seconds=1))
    }
    for occasion in person.occasions:
        if occasion.values is None:
            continue
        on = person.first_on + timedelta(days=occasion.day - 1)
        values = {
            role: None if value is None else float(value) for role, value in occasion.values.items()
        }
        phone.answer(cards[on.isoformat(), occasion.ordinal], values, occasion.completed_at)
    return phone.upload()
