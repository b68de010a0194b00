"""The page of a comparison and its report, against one bare aggregate of the same answers."""

import uuid
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import cycle
from typing import Any

from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection, transaction
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from analytics.comparison import compare
from analytics.coupling import estimate_couplings
from analytics.report_cache import renew_reports
from benchmarks import trial
from benchmarks.database import empty_database
from benchmarks.figures import Figure, Goal, seconds
from ema.models import Allocation, Arm, Device, Membership, Participant, Study
from ema.models.study import Role

PARTICIPANTS, DAYS, PROMPTS_PER_DAY = 1_000, 98, 4
SEED_SIZED = 118
AT_MOST_MS = 300.0  # of a first view, whether or not a worker has made its report
FIRST = "page, first view, which makes the report"
FIRST_MADE = "page, first view, report made by the worker"
# Answers lean on stress with an own slope, less under treatment, and stay on the scale.
FILL = """
INSERT INTO ema_prompt (participant_id, phase_id, questionnaire_id, study_on, study_day, ordinal,
    due_at, expires_at, zone, tzdata, gap_relaxed, planned_at, sent_at, answered_at,
    cancel_reason, undelivered)
SELECT p.id, phase.id, phase.questionnaire_id, %(begun)s::date + day, day + 1, ordinal,
    at, at + interval '30 minutes', p.zone, '', false, %(begun)s, at, at, '', ''
FROM ema_participant p JOIN ema_phase phase ON phase.study_id = p.study_id,
    generate_series(0, %(days)s - 1) AS day, generate_series(1, %(per_day)s) AS ordinal,
    LATERAL (SELECT %(begun)s + day * interval '1 day' + ordinal * interval '3 hours') AS due (at)
WHERE p.study_id = %(study)s ORDER BY at, p.id;
WITH stressed AS MATERIALIZED (
    SELECT p.*, d.id AS device_id,
        greatest(0, least(100, random_normal(35 + p.participant_id %% 20, 18)::int)) AS x
    FROM ema_prompt p JOIN ema_device d ON d.participant_id = p.participant_id
    JOIN ema_phase phase ON phase.id = p.phase_id WHERE phase.study_id = %(study)s
), craving AS MATERIALIZED (
    SELECT *, greatest(0, least(100, (random_normal(20 + participant_id %% 7, 15)
        + x * (0.3 - 0.1 * (participant_id %% 2) + 0.02 * (participant_id %% 11)))::int)) AS y
    FROM stressed
)
INSERT INTO ema_response (id, participant_id, device_id, prompt_id, questionnaire_id, trigger,
    completed_at, completed_at_corrected, received_at, zone, language, schedule_rev, answers,
    stress, craving, pain, flags, content_sha256)
SELECT gen_random_uuid(), participant_id, device_id, id, questionnaire_id, 'random',
    due_at, due_at, due_at, zone, 'en', '', jsonb_build_array(
        jsonb_build_object('item', 'stress', 'value', x, 'shown', true),
        jsonb_build_object('item', 'craving', 'value', y, 'shown', true),
        jsonb_build_object('item', 'pain', 'value', x, 'shown', true)),
    x, y, x, '{}', sha256(id::text::bytea)
FROM craving
"""
AGGREGATE = """
SELECT r.participant_id, count(*), sum(r.stress), sum(r.craving),
    sum(r.stress::bigint * r.stress), sum(r.stress::bigint * r.craving),
    sum(r.craving::bigint * r.craving)
FROM ema_response r JOIN ema_participant p ON p.id = r.participant_id
WHERE p.study_id = %s AND r.trigger = 'random' GROUP BY r.participant_id
"""


def measure(quick: bool) -> Iterator[Figure]:
    """Milliseconds of a page and of its report, of a seed-sized trial and of a large one."""
    for people in (SEED_SIZED,) if quick else (SEED_SIZED, PARTICIPANTS):
        with empty_database():
            study = filled_study(people)
            yield from _figures(study, people, 2 if quick else 5)


def _figures(study: Study, people: int, repeats: int) -> Iterator[Figure]:
    """Each beside the bare aggregate, turn by turn; the first turn warms up."""
    page = _page_of(study)
    looked: dict[str, tuple[Callable[[], object], Callable[[], object]]] = {
        FIRST_MADE: (_forget_and_renew, page),
        FIRST: (cache.clear, page),
        "page, later view": (page, page),
        "report": (_nothing, lambda: compare(study, participants=True)),
        "report and companion": (
            _nothing,
            lambda: compare(study, participants=True, companion=True),
        ),
    }
    rows = people * DAYS * PROMPTS_PER_DAY
    for what, (prepare, look) in looked.items():
        pairs = [_timed(prepare, look, study) for _ in range(repeats + 1)]
        values, limits = zip(*pairs[1:], strict=True)
        told = f"comparison: {what}, {people:,} people, {rows:,} answers"
        yield Figure(told, "ms", values, "one bare aggregate of them", limits)
        if what in (FIRST, FIRST_MADE):
            yield Figure(f"{told}, time", "ms", values, "at most", [AT_MOST_MS], Goal("≤", 1))


def _timed(
    prepare: Callable[[], object], look: Callable[[], object], study: Study
) -> tuple[float, float]:
    """Milliseconds of a look, once it is prepared, and of the bare aggregate."""
    prepare()
    return seconds(look) * 1e3, seconds(lambda: aggregate(study)) * 1e3


def filled_study(people: int) -> Study:
    """Two arms, every prompt of 98 days answered, moments summed."""
    now = timezone.now()
    study = trial.start_study(now)
    Arm.objects.create(study=study, key="treated")
    begun = now - timedelta(days=DAYS + 2)
    _enrol_all(study, people, begun)
    given: dict[str, Any] = {
        "study": study.pk,
        "begun": begun,
        "days": DAYS,
        "per_day": PROMPTS_PER_DAY,
    }
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT setseed(0.2026)")
        for statement in FILL.split(";\n"):
            cursor.execute(statement, given)
    estimate_couplings(now)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")  # by itself PostgreSQL would, some minutes later
    return study


def _enrol_all(study: Study, people: int, begun: datetime) -> None:
    """Participants, each with a phone, allocated in turn."""
    site, arms = study.sites.get(), study.arms.order_by("key")
    enrolled = {"study": study, "site": site, "zone": site.zone, "enrolled_at": begun}
    rows = Participant.objects.bulk_create(
        Participant(code=f"P{number:05d}", enrolled_on=begun.date(), **enrolled)
        for number in range(people)
    )
    Device.objects.bulk_create(
        Device(
            participant=each,
            installation=each.uuid,
            access_hash=each.uuid.hex,
            access_expires_at=begun,
            enrolled_at=begun,
        )
        for each in rows
    )
    Allocation.objects.bulk_create(
        Allocation(study=study, position=place, arm=arm, participant=each, allocated_at=begun)
        for place, (each, arm) in enumerate(zip(rows, cycle(arms), strict=False), start=1)
    )


def _page_of(study: Study) -> Callable[[], object]:
    """The page as its statistician gets it, without a network."""
    statistician = User.objects.create_user(f"statistician {uuid.uuid4()}")
    Membership.objects.create(user=statistician, study=study, role=Role.STATISTICIAN)
    browser = Client(SERVER_NAME="127.0.0.1")
    browser.force_login(statistician)
    address = reverse("analytics:comparison", args=[study.slug])

    def look() -> None:
        answer = browser.get(address, secure=True)
        if answer.status_code != 200:
            raise RuntimeError(f"The page of the comparison answered {answer.status_code}.")

    return look


def _forget_and_renew() -> None:
    """As a worker leaves it after an estimate."""
    cache.clear()
    renew_reports()


def _nothing() -> None:
    pass


def aggregate(study: Study) -> None:
    with connection.cursor() as cursor:
        cursor.execute(AGGREGATE, [study.pk])
        cursor.fetchall()
