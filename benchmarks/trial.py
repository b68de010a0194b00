"""A trial to measure on: one study, its participants, a phone each. Made by the real steps."""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import transaction

from ema import enrolment, studies
from ema.audit import COMMAND
from ema.models import (
    Arm,
    Device,
    Item,
    Participant,
    Phase,
    Questionnaire,
    QuestionnaireVersion,
    Site,
    Study,
)

ZONE = "Europe/Brussels"
STUDY_DAYS = 98
KEY = "hourly"
SLIDERS = ("stress", "craving", "pain")


@dataclass(frozen=True)
class Phone:
    """A phone that was let in, with its access token."""

    device: Device
    token: str


@transaction.atomic
def start_study(now: datetime) -> Study:
    """A started study of 98 days with four prompts a day and three sliders."""
    study = Study.objects.create(slug="bench", title="What the bench measures on")
    Site.objects.create(study=study, code="S1", title="The only site", zone=ZONE)
    Arm.objects.create(study=study, key="control", is_reference=True)
    questionnaire = Questionnaire.objects.create(study=study, key=KEY, title="Past hour")
    version = QuestionnaireVersion.objects.create(questionnaire=questionnaire)
    for position, key in enumerate(SLIDERS, start=1):
        Item.objects.create(
            version=version, key=key, role=key, position=position, label={"en": key}
        )
    studies.publish(version=version, now=now, actor=COMMAND)
    Phase.objects.create(
        study=study, key="treatment", position=1, days=STUDY_DAYS, questionnaire=version
    )
    studies.start(study=study, now=now - timedelta(days=2 * STUDY_DAYS), actor=COMMAND)
    return study


@transaction.atomic
def enrol(study: Study, count: int, now: datetime, enrolled_at: datetime) -> list[Participant]:
    site = study.sites.get()
    return [
        enrolment.enrol(
            site=site,
            code=f"P{number:05d}",
            zone=ZONE,
            now=now,
            enrolled_at=enrolled_at,
            actor=COMMAND,
        )
        for number in range(count)
    ]


@transaction.atomic
def hand_out_phone(participant: Participant, now: datetime) -> Phone:
    code = enrolment.issue_code(participant=participant, now=now, actor=COMMAND)
    admission = enrolment.redeem(typed=code, installation=uuid.uuid4(), now=now)
    return Phone(admission.device, admission.access_token)
