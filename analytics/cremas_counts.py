"""The reporting numbers of participants, counted by the database, and kept for a few minutes.

Two statements read every prompt of the study once each: a second or more for a thousand people and
98 days (`make bench ARGS=console`). So the page tells when it was counted, and counts later.
"""

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db import connection
from django.db.models import QuerySet

from analytics import keeping
from analytics.cremas import Cremas, Tally, report_of
from analytics.software import software
from ema.models import Participant, Prompt, Study
from ema.prompt_state import with_state
from ema.zone_names import zone_named

KEEP_FOR = timedelta(minutes=5)
# OFFSET 0 keeps the planner from guessing as many groups as prompts, and from sorting them all.
BY_STATE = """
SELECT study_day, hour, state, state_reason, count(*) FROM (
    SELECT study_day, date_part('hour', due_at AT TIME ZONE zone)::integer AS hour,
        state, state_reason
    FROM ({prompts}) AS prompt OFFSET 0
) AS judged GROUP BY study_day, hour, state, state_reason
"""
# Milliseconds are rounded and seconds are cut, as in a snapshot's latency_s.
BY_LATENCY = """
SELECT seconds, count(*) FROM (
    SELECT trunc(round(extract(epoch FROM answered_at - due_at), 3))::integer AS seconds
    FROM ({prompts}) AS prompt WHERE answered_at <= expires_at OFFSET 0
) AS late GROUP BY seconds
"""


class Counted(NamedTuple):
    """The report, and when it was counted."""

    report: Cremas
    at: datetime


def kept(study: Study, people: QuerySet[Participant], sites: list[str], now: datetime) -> Counted:
    """The report on these people of a study, of these sites where they are not all of it."""
    depends = json.dumps([study.pk, sites, software()])
    key = f"cremas:{hashlib.sha256(depends.encode()).hexdigest()}"
    found: Counted | None = keeping.get(key)
    if found is None or not now - KEEP_FOR < found.at <= now:
        found = Counted(count(people.filter(study=study), now), now)
        keeping.keep(key, found, KEEP_FOR.total_seconds())
    return found


def count(people: QuerySet[Participant], now: datetime) -> Cremas:
    """The reporting numbers of these participants at `now`."""
    prompts = Prompt.objects.filter(participant__in=people.order_by().values("pk")).order_by()
    judged: Any = with_state(prompts, now=now)
    states = judged.values("study_day", "due_at", "zone", "state", "state_reason")
    answered = prompts.filter(answered_at__isnull=False)
    tally = Tally()
    for day, hour, state, reason, n in _rows(BY_STATE, states):
        tally.add(state, reason, day=day, hour=hour, n=n)
    latencies = _rows(BY_LATENCY, answered.values("due_at", "answered_at", "expires_at"))
    tally.latencies.update(dict(latencies))
    for enrolled_on, withdrawn_at, zone in people.order_by().values_list(
        "enrolled_on", "withdrawn_at", "zone"
    ):
        tally.enrolled += 1
        if withdrawn_at:
            there = withdrawn_at.astimezone(zone_named(zone)).date()
            tally.leave((there - enrolled_on).days + 1)
    return report_of(tally)


def _rows(sql: str, prompts: QuerySet[Prompt, Any]) -> Iterator[Any]:
    inner, parameters = prompts.query.sql_with_params()
    with connection.cursor() as cursor:
        cursor.execute(sql.format(prompts=inner), parameters)
        yield from cursor.fetchall()
