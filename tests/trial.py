"""A small trial for tests: a study that has started, participants, their phones.

Everything goes through the steps a real door would call.
"""

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, date, datetime
from typing import Any

from django.db import connection
from django.utils import timezone

from ema import allocation, audit, enrolment, sealing, studies
from ema.allocation import Confirmed, Told
from ema.models import (
    Allocation,
    AllocationList,
    Arm,
    Item,
    Participant,
    Phase,
    Questionnaire,
    QuestionnaireVersion,
    Site,
    Study,
)
from ema.tokens import Admission

SLIDERS = ("stress", "craving", "pain")
STARTED_AT = datetime(2026, 1, 1, tzinfo=UTC)  # before every date that a test names


def make_study(
    slug: str = "demo",
    *,
    arms: tuple[str, ...] = ("placebo", "clonidine"),
    phase_days: int = 98,
    has_started: bool = True,
    **phase: Any,
) -> Study:
    """A study with one site, one phase and a questionnaire of three sliders.

    The first arm is the reference. `phase` sets fields of the phase: `prompts_per_day=6`; also to
    what no door would take, so that tests meet protocols that do not work.
    """
    study = Study.objects.create(slug=slug, title=f"The {slug} trial")
    Site.objects.create(study=study, code="S1", title="First site", zone="Europe/Brussels")
    for key in arms:
        Arm.objects.create(study=study, key=key, is_reference=key == arms[0])
    Phase.objects.create(
        study=study,
        key="treatment",
        position=1,
        days=phase_days,
        questionnaire=make_questionnaire(study),
    )
    if has_started:
        studies.start(study=study, now=STARTED_AT, actor=audit.COMMAND)
    Phase.objects.filter(study=study).update(**{"days": phase_days, **phase})
    return study


def make_questionnaire(study: Study, *, decimals: int = 0) -> QuestionnaireVersion:
    """A published questionnaire: stress, craving and pain from 0 to 100."""
    questionnaire = Questionnaire.objects.create(study=study, key="hourly", title="Past hour")
    version = QuestionnaireVersion.objects.create(questionnaire=questionnaire)
    for position, key in enumerate(SLIDERS, start=1):
        Item.objects.create(
            version=version,
            key=key,
            role=key,
            position=position,
            label={"en": f"How much {key} in the past hour?"},
            decimals=decimals,
        )
    studies.publish(version=version, now=timezone.now(), actor=audit.COMMAND)
    return version


def add_phase(study: Study, key: str, *, like: Phase) -> Phase:
    """A phase after the others, with the protocol of another one."""
    phase = Phase.objects.get(pk=like.pk)
    phase.pk, phase.key, phase.position = None, key, study.phases.count() + 1
    phase._state.adding = True
    phase.save()
    return phase


def enrol(study: Study, code: str, zone: str, enrolled_at: datetime) -> Participant:
    return enrolment.enrol(
        site=study.sites.get(),
        code=code,
        zone=zone,
        now=max(enrolled_at, timezone.now()),
        enrolled_at=enrolled_at,
        actor=audit.COMMAND,
    )


def enrol_at(site: Site, code: str) -> Participant:
    """Enrolled now at one of several sites."""
    return enrolment.enrol(
        site=site, code=code, zone=site.zone, now=timezone.now(), actor=audit.COMMAND
    )


def redeem(participant: Participant) -> Admission:
    """A phone for the participant; an older phone is replaced."""
    now = timezone.now()
    code = enrolment.issue_code(participant=participant, now=now, actor=audit.COMMAND)
    return enrolment.redeem(typed=code, installation=uuid.uuid4(), now=now)


def allocate(participant: Participant, arm: str) -> Allocation:
    """A spent slot of the allocation list."""
    study = participant.study
    return Allocation.objects.create(
        study=study,
        position=study.allocations.count() + 1,
        arm=Arm.objects.get(study=study, key=arm),
        participant=participant,
        allocated_at=timezone.now(),
    )


def seal(study: Study, **changed: Any) -> AllocationList:
    """An allocation list of placebo and clonidine for every site."""
    asked: dict[str, Any] = {
        "ratio": {arm.key: 1 for arm in study.arms.all()},
        "per_stratum": 20,
        "now": timezone.now(),
        "actor": audit.COMMAND,
    }
    return sealing.generate(study=study, **(asked | changed))


def confirmed(**changed: Any) -> Confirmed:
    """What a coordinator confirms, with everything in order."""
    asked = Confirmed(
        is_eligible=True, consent_version="2.0", consented_on=date(2026, 1, 1), factors={}
    )
    return asked._replace(**changed)


def allocate_from_list(participant: Participant, **changed: Any) -> Told:
    """The next slot of the participant's stratum."""
    return allocation.allocate(
        participant=participant,
        confirmed=confirmed(**changed),
        now=timezone.now(),
        actor=audit.COMMAND,
    )


@contextmanager
def triggers_off() -> Iterator[None]:
    """Write like somebody who is master of the database."""
    with connection.cursor() as cursor:
        cursor.execute("SET session_replication_role = replica")
        try:
            yield
        finally:
            cursor.execute("SET session_replication_role = origin")


@contextmanager
def without(table: str) -> Iterator[None]:
    """The table has another name: a defect that nobody foresees."""
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE {table} RENAME TO ema_elsewhere")
    yield
    with connection.cursor() as cursor:
        cursor.execute(f"ALTER TABLE ema_elsewhere RENAME TO {table}")
