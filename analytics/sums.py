"""Moments in the database: which responses are analysis rows, and their sums, in one statement.

Blind by construction: no statement here reads an arm or an allocation.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
from django.db import connection, transaction

from analytics import left_out
from analytics.analysis_rows import ANALYSIS_ROW, OF_STUDY
from analytics.models import CouplingShard
from analytics.moments import Moments
from ema import studies
from ema.models import Study

LATE_COMMITS = timedelta(seconds=60)  # received_at is known before the row can be seen

STALE = f"""
SELECT participant.study_id, r.participant_id
FROM ema_response r
JOIN ema_participant participant ON participant.id = r.participant_id
LEFT JOIN analytics_coupling coupling ON coupling.participant_id = r.participant_id
WHERE r.received_at > %s
AND (coupling.id IS NULL OR r.received_at > coupling.estimated_at - interval '{LATE_COMMITS}')
UNION
SELECT participant.study_id, participant.id
FROM ema_participant participant
WHERE NOT EXISTS (SELECT FROM analytics_coupling c WHERE c.participant_id = participant.id)
AND participant.id NOT IN (SELECT unnest(participants) FROM analytics_couplingshard)
AND EXISTS (SELECT FROM ema_response r WHERE r.participant_id = participant.id)
ORDER BY 1, 2
"""  # noqa: S608 - built from a constant
COVERED = "SELECT covered_until FROM analytics_couplingprogress"
COVER = """
INSERT INTO analytics_couplingprogress (id, covered_until) VALUES (1, %s)
ON CONFLICT (id) DO UPDATE
SET covered_until = greatest(analytics_couplingprogress.covered_until, excluded.covered_until)
"""
ORDER = "study_on, ordinal, prompt_id"
FRESH = f"""
SELECT
    participant_id, phase_id, count(*) AS n,
    sum(stress) AS sum_stress, sum(craving) AS sum_craving,
    sum(stress::bigint * stress) AS sum_stress_stress,
    sum(stress::bigint * craving) AS sum_stress_craving,
    sum(craving::bigint * craving) AS sum_craving_craving,
    string_agg(int4send(stress), '' ORDER BY {ORDER}) AS stress,
    string_agg(int4send(craving), '' ORDER BY {ORDER}) AS craving,
    string_agg(boolsend(follows), '' ORDER BY {ORDER}) AS follows
FROM (
    SELECT p.participant_id, p.phase_id, p.study_on, p.ordinal, p.id AS prompt_id,
        r.stress, r.craving, coalesce(lag(p.ordinal) OVER day = p.ordinal - 1, false) AS follows
    FROM ema_response r JOIN ema_prompt p ON p.id = r.prompt_id {OF_STUDY}
    WHERE p.participant_id = ANY(%(participants)s) AND {ANALYSIS_ROW}
    WINDOW day AS (PARTITION BY p.participant_id, p.phase_id, p.study_on ORDER BY p.ordinal, p.id)
) AS analysis_row
GROUP BY participant_id, phase_id
"""  # noqa: S608 - built from the constants above
SUM = f"""
INSERT INTO analytics_moments (
    participant_id, phase_id, n, sum_stress, sum_craving,
    sum_stress_stress, sum_stress_craving, sum_craving_craving, stress, craving, follows,
    computed_at
)
SELECT fresh.*, %(now)s FROM ({FRESH}) AS fresh
ORDER BY participant_id, phase_id
ON CONFLICT (participant_id, phase_id) DO UPDATE SET
    n = excluded.n,
    sum_stress = excluded.sum_stress,
    sum_craving = excluded.sum_craving,
    sum_stress_stress = excluded.sum_stress_stress,
    sum_stress_craving = excluded.sum_stress_craving,
    sum_craving_craving = excluded.sum_craving_craving,
    stress = excluded.stress,
    craving = excluded.craving,
    follows = excluded.follows,
    computed_at = excluded.computed_at
WHERE analytics_moments.computed_at <= excluded.computed_at
"""  # noqa: S608 - built from the constants above
SUMS = (
    "n",
    "sum_stress",
    "sum_craving",
    "sum_stress_stress",
    "sum_stress_craving",
    "sum_craving_craving",
)
ROWS = ("stress", "craving", "follows")


def _all(table: str, names: Sequence[str]) -> str:
    return ", ".join(f"{table}.{name}" for name in names)


DIFFERENT = f"""
SELECT participant.code, phase.key, {_all("kept", SUMS)}, {_all("anew", SUMS)}
FROM (SELECT * FROM analytics_moments WHERE participant_id = ANY(%(participants)s)) AS kept
FULL JOIN ({FRESH}) AS anew USING (participant_id, phase_id)
JOIN ema_participant participant ON participant.id = participant_id
JOIN ema_phase phase ON phase.id = phase_id
WHERE ({_all("kept", SUMS + ROWS)}) IS DISTINCT FROM ({_all("anew", SUMS + ROWS)})
ORDER BY participant.code, phase.position
"""  # noqa: S608 - built from the constants above
FORGET = """
DELETE FROM analytics_moments WHERE participant_id = ANY(%(participants)s) AND computed_at < %(now)s
"""
BY_PARTICIPANT = """
SELECT participant.code, sum(m.n)::bigint, sum(m.sum_stress)::bigint, sum(m.sum_craving)::bigint,
    sum(m.sum_stress_stress)::bigint, sum(m.sum_stress_craving)::bigint,
    sum(m.sum_craving_craving)::bigint
FROM analytics_moments m JOIN ema_participant participant ON participant.id = m.participant_id
WHERE participant.study_id = %(study)s
AND (%(phases)s::bigint[] IS NULL OR m.phase_id = ANY(%(phases)s))
GROUP BY participant.code
"""


@dataclass(frozen=True)
class Scales:
    """What divides the stored integers: 10 for an item with one decimal."""

    stress: int
    craving: int

    @classmethod
    def of(cls, study: Study) -> "Scales":
        decimals: Mapping[str, int] = studies.decimals_of(study)
        return cls(10 ** decimals.get("stress", 0), 10 ** decimals.get("craving", 0))


def stale_participants() -> dict[int, list[int]]:
    """Participants whose responses are newer than their coupling, by study; primary keys.

    Reads the responses that arrived since work was last shared out, along `responses_by_arrival`,
    and whoever has responses and neither coupling nor shard (bulk loads that state an older
    arrival).
    """
    with connection.cursor() as cursor:
        cursor.execute(COVERED)
        row = cursor.fetchone()
        since = row[0] - LATE_COMMITS if row else "-infinity"
        cursor.execute(STALE, [since])
        found: dict[int, list[int]] = {}
        for study, participant in cursor.fetchall():
            found.setdefault(study, []).append(participant)
    return found


def cover(until: datetime) -> None:
    """Note that everything that arrived before is in a shard. Never goes back."""
    with connection.cursor() as cursor:
        cursor.execute(COVER, [until])


@transaction.atomic
def sum_responses(participants: Sequence[int], *, now: datetime) -> None:
    """Bring these participants' rows, sums and counts of what is left out up to date.

    Of two workers the later `now` stays.
    """
    chosen: dict[str, Any] = {"participants": list(participants), "now": now}
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL jit = off")
        cursor.execute(SUM, chosen)
        cursor.execute(FORGET, chosen)
        cursor.execute(left_out.COUNT, chosen)
        cursor.execute(left_out.FORGET, chosen)


ARRIVED = """
SELECT participant.code, arrived.n - coalesce(kept.n, 0) - coalesce(left_out.n, 0)
FROM (SELECT participant_id, count(*) AS n FROM ema_response
      WHERE participant_id = ANY(%(participants)s) GROUP BY 1) AS arrived
JOIN ema_participant participant ON participant.id = arrived.participant_id
LEFT JOIN (SELECT participant_id, sum(n)::bigint AS n FROM analytics_moments
      WHERE participant_id = ANY(%(participants)s) GROUP BY 1) AS kept
    ON kept.participant_id = arrived.participant_id
LEFT JOIN (SELECT participant_id, sum(n)::bigint AS n FROM analytics_leftout
      WHERE participant_id = ANY(%(participants)s) GROUP BY 1) AS left_out
    ON left_out.participant_id = arrived.participant_id
"""


def waiting_responses(study: Study) -> dict[str, int]:
    """How many responses no run has counted yet, by participant code; only those who have any."""
    stale = set(stale_participants().get(study.pk, []))
    for shard in CouplingShard.objects.filter(study=study, summed_at=None):
        stale.update(shard.participants)
    if not stale:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(ARRIVED, {"participants": list(stale)})
        return {code: n for code, n in cursor.fetchall() if n > 0}


WAITING = """
SELECT DISTINCT r.participant_id
FROM ema_response r
JOIN ema_participant participant ON participant.id = r.participant_id
LEFT JOIN analytics_coupling coupling ON coupling.participant_id = r.participant_id
WHERE participant.study_id = %s
AND (coupling.id IS NULL OR r.received_at > coupling.estimated_at)
"""


def waiting_participants(study: Study) -> set[int]:
    """Participants with responses that no run has summed yet; primary keys."""
    with connection.cursor() as cursor:
        cursor.execute(WAITING, [study.pk])
        return {participant for (participant,) in cursor.fetchall()}


class Difference(NamedTuple):
    """What is kept of a participant and not what the responses say; None: not there.

    `where` is the phase, and of responses left out the reason too. Sums that are equal have rows
    that differ.
    """

    participant: str
    where: str
    kept: tuple[int, ...] | None
    anew: tuple[int, ...] | None


def differences(participants: Sequence[int]) -> list[Difference]:
    """Where the moments of these participants differ from sums made anew, by a single bit."""
    with connection.cursor() as cursor:
        cursor.execute(DIFFERENT, {"participants": list(participants)})
        rows = cursor.fetchall()
        cursor.execute(left_out.DIFFERENT, {"participants": list(participants)})
        counts = cursor.fetchall()
    size = len(SUMS)
    return [
        Difference(code, f"phase {phase}", _sums(sums[:size]), _sums(sums[size:]))
        for code, phase, *sums in rows
    ] + [
        Difference(
            code, f"{reason}{f' in phase {phase}' if phase else ''}", _sums([kept]), _sums([anew])
        )
        for code, phase, reason, kept, anew in counts
    ]


def _sums(values: Sequence[Any]) -> tuple[int, ...] | None:
    return None if values[0] is None else tuple(map(int, values))


def moments_of(
    study: Study, *, also: Iterable[str] = (), phases: Sequence[int] | None = None
) -> Moments:
    """The study's moments over these phases (None: all), by participant code in Python's order.

    `also` names participants to list with zero sums where they have no analysis rows.
    """
    chosen = None if phases is None else list(phases)
    with connection.cursor() as cursor:
        cursor.execute(BY_PARTICIPANT, {"study": study.pk, "phases": chosen})
        sums = {code: values for code, *values in cursor.fetchall()}
    for code in also:
        sums.setdefault(code, [0] * 6)
    codes = tuple(sorted(sums))
    columns = np.array([sums[code] for code in codes], dtype=np.int64).reshape(len(codes), 6)
    n, x, y, xx, xy, yy = columns.T
    return Moments(codes, n, x, y, xx, xy, yy)
