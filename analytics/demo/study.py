"""The demo's study, shaped like a trial of 118 people over 14 weeks. Everything is simulated."""

import re
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random

import numpy as np
from django.contrib.auth.models import User
from django.db import transaction

from analytics import simulation
from analytics.simulation import Effect, People
from analytics.study_names import numbered
from ema import allocation, enrolment, sealing, studies, withdrawal
from ema.allocation import Confirmed
from ema.audit import COMMAND
from ema.models import (
    Arm,
    Participant,
    Phase,
    Site,
    Study,
    UrineTest,
)
from ema.models.study import Design, Masking, Role
from ema.questionnaires import drafts

SITES = (("north", "Northern clinic", "Europe/Brussels"), ("east", "Eastern clinic", "Europe/Kyiv"))
CONTROL, TREATED = "placebo", "clonidine"
SPARE_SLOTS = 20  # of each site, for whoever enrols somebody in the demo
URINE_WEEKDAYS = [1, 3, 5]  # Monday, Wednesday, Friday
SIMULATED_SLUG = re.compile(r"(?:demo|drill)(?:-[0-9]+)?")
ADMINISTRATOR = "administrator"


@dataclass(frozen=True)
class Wanted:
    """What the demo was asked for."""

    participants: int = 118
    days: int = 98
    seed: int = 2026
    effect: Effect = simulation.PUBLISHED

    def rng(self, *stream: int) -> np.random.Generator:
        """A generator of its own for every purpose, so that nothing depends on an order."""
        return np.random.default_rng([self.seed, *stream])


@dataclass(frozen=True)
class Cast:
    """The demo's participants, and the traits they were given, in the same order."""

    participants: tuple[Participant, ...]
    people: People


def free_slug(name: str = "demo") -> str:
    """`demo`, or the next of `demo-2`, `demo-3` …: every run makes a study of its own."""
    taken = set(Study.objects.filter(slug__startswith=name).values_list("slug", flat=True))
    return numbered(name, taken)


def others_than_demos() -> list[str]:
    """Studies that no demo or drill made: a machine that has them is no place for one."""
    slugs = Study.objects.values_list("slug", flat=True)
    return sorted(slug for slug in slugs if not SIMULATED_SLUG.fullmatch(slug))


@transaction.atomic
def create_study(wanted: Wanted, slug: str, now: datetime) -> Study:
    """The study with its sites, arms and questionnaire; started before its first participant."""
    study = Study.objects.create(
        slug=slug,
        title="Simulated trial: placebo and clonidine",
        masking=Masking.DOUBLE_BLIND,
        zone=SITES[0][2],
        urine_weekdays=URINE_WEEKDAYS,
    )
    for code, title, zone in SITES:
        Site.objects.create(study=study, code=code, title=f"{title} (simulated)", zone=zone)
    for key in (CONTROL, TREATED):
        Arm.objects.create(study=study, key=key, title=key, is_reference=key == CONTROL)
    version = drafts.start_from_default(study=study, actor=COMMAND)
    begins = now - timedelta(days=wanted.days + _recruiting(wanted) + 1)
    studies.publish(version=version, now=begins, actor=COMMAND)
    Phase.objects.create(
        study=study,
        key="treatment",
        position=1,
        days=wanted.days,
        questionnaire=version,
        design=Design.CIRCLE,
        prompts_per_day=4,
    )
    studies.start(study=study, now=begins, actor=COMMAND)
    sealing.generate(
        study=study,
        ratio={CONTROL: 1, TREATED: 1},
        per_stratum=wanted.participants // len(SITES) + SPARE_SLOTS,
        now=begins,
        actor=COMMAND,
        source=Random(wanted.seed),
    )
    return study


def _recruiting(wanted: Wanted) -> int:
    """Days between the first and the last start, roughly."""
    return max(3, wanted.days // 3)


def enrol_everybody(wanted: Wanted, study: Study, now: datetime) -> Cast:
    """Participants who started one after the other; most have finished, the last are under way."""
    count = wanted.participants
    sites = list(study.sites.order_by("-code"))
    longest, shortest = wanted.days + _recruiting(wanted), max(1, round(wanted.days * 0.9))
    ago = np.linspace(longest, shortest, count)
    participants = []
    with transaction.atomic():
        for number in range(count):
            site = sites[number % len(sites)]
            at = now - timedelta(days=float(ago[number]))
            participant = enrolment.enrol(
                site=site,
                code=f"{site.code[0].upper()}-{number + 1:03d}",
                zone=site.zone,
                now=now,
                actor=COMMAND,
                enrolled_at=at.replace(microsecond=0),
            )
            _allocate(participant)
            participants.append(participant)
        treated = study.allocations.filter(arm__key=TREATED).values_list("participant", flat=True)
        in_arm = set(treated)
        people = simulation.draw_people(
            wanted.rng(1), [each.pk in in_arm for each in participants], wanted.effect
        )
        _urine(wanted, participants, people, now)
    return Cast(tuple(participants), people)


def _allocate(participant: Participant) -> None:
    """The next slot of the site's list, at enrolment."""
    confirmed = Confirmed(
        is_eligible=True, consent_version="1.0", consented_on=participant.enrolled_on, factors={}
    )
    allocation.allocate(
        participant=participant, confirmed=confirmed, now=participant.enrolled_at, actor=COMMAND
    )


def _urine(
    wanted: Wanted, participants: Sequence[Participant], people: People, now: datetime
) -> None:
    """Three tests a week; results of those that are due already."""
    days = range(2, wanted.days + 1)
    results = simulation.draw_urine(wanted.rng(2), people, days)
    tests = []
    for participant, mine in zip(participants, results, strict=True):
        for day, result in zip(days, mine, strict=True):
            due_on = participant.enrolled_on + timedelta(days=day - 1)
            if due_on.isoweekday() not in URINE_WEEKDAYS:
                continue
            known = due_on < now.date()
            tests.append(
                UrineTest(
                    participant=participant,
                    due_on=due_on,
                    result=result if known else "",
                    collected_on=due_on if known and result != "missed" else None,
                    recorded_at=now if known else None,
                )
            )
    UrineTest.objects.bulk_create(tests)


def withdraw_drop_outs(cast: Cast, wanted: Wanted, now: datetime) -> int:
    """End participation of those who stopped before now; the planner cancels what came after."""
    gone = 0
    for participant, day in zip(cast.participants, cast.people.drop_out_day, strict=True):
        at = participant.enrolled_at + timedelta(days=min(float(day), 10_000))
        if day < wanted.days and at < now:
            withdrawal.withdraw(
                participant=participant, reason="stopped (simulated)", now=at, actor=COMMAND
            )
            gone += 1
    return gone


def create_operators(study: Study) -> Mapping[str, tuple[str, str]]:
    """A login per role: `{role: (user, password)}`. Passwords are new with every run."""
    site = study.sites.get(code=SITES[0][0])
    found = {}
    for role in (*Role.values, ADMINISTRATOR):
        name, password = f"demo-{role}", secrets.token_urlsafe(9)
        user, _ = User.objects.get_or_create(username=name)
        user.is_staff = user.is_active = True
        user.is_superuser = role == ADMINISTRATOR
        user.set_password(password)
        user.save()
        if role != ADMINISTRATOR:
            narrowed = site if role == Role.COORDINATOR else None
            studies.grant(user=user, role=role, study=study, site=narrowed, actor=COMMAND)
        found[role] = (name, password)
    return found
