"""Moments in the database: which responses are analysis rows, and their sums, in one statement.

Blind by construction: no statement here reads an arm or an allocation.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple

import numpy as np
from django.db import connection, transaction

from analytics.moments import Moments
from ema import studies
from ema.models import Study

LATE_COMMITS = timedelta(seconds=60)  # received_at is known before the row can be seen
LARGEST = 10_000_000  # stored units; sums of squares of 90,000 such answers still fit in 64 bits

# `r` is a response, `p` the prompt it answers. Exactly these responses are analysis rows.
IN_TIME = "r.completed_at_corrected <= p.expires_at"
UNFLAGGED = "NOT r.flags && ARRAY['duplicate_prompt', 'after_withdrawal']::varchar[]"
COMPLETE = "r.stress IS NOT NULL AND r.craving IS NOT NULL"
SUMMABLE = " AND ".join(f"r.{x} BETWEEN -{LARGEST} AND {LARGEST}" for x in ("stress", "craving"))
ANALYSIS_ROW = f"r.trigger = 'random' AND {IN_TIME} AND {UNFLAGGED} AND {COMPLETE} AND {SUMMABLE}"

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
AND EXISTS (SELECT FROM ema_response r WHERE r.participant_id = participant.id)
ORDER BY 1, 2
"""  # noqa: S608 - built from a constant
COVERED = "SELECT covered_until FROM analytics_couplingprogress"
COVER = """
INSERT INTO analytics_couplingprogress (id, covered_until) VALUES (1, %s)
ON CONFLICT (id) DO UPDATE
SET covered_until = greatest(analytics_couplingprogress.covered_until, excluded.covered_until)
"""
FRESH = f"""
SELECT
    p.participant_id, p.phase_id, count(*) AS n,
    sum(r.stress) AS sum_stress, sum(r.craving) AS sum_craving,
    sum(r.stress::bigint * r.stress) AS sum_stress_stress,
    sum(r.stress::bigint * r.craving) AS sum_stress_craving,
    sum(r.craving::bigint * r.craving) AS sum_craving_craving
FROM ema_response r JOIN ema_prompt p ON p.id = r.prompt_id
WHERE p.participant_id = ANY(%(participants)s) AND {ANALYSIS_ROW}
GROUP BY p.participant_id, p.phase_id
"""  # noqa: S608 - built from the constants above
SUM = f"""
INSERT INTO analytics_moments (
    participant_id, phase_id, n, sum_stress, sum_craving,
    sum_stress_stress, sum_stress_craving, sum_craving_craving, computed_at
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
_kept, _anew = (", ".join(f"{table}.{name}" for name in SUMS) for table in ("kept", "anew"))
DIFFERENT = f"""
SELECT participant.code, phase.key, {_kept}, {_anew}
FROM (SELECT * FROM analytics_moments WHERE participant_id = ANY(%(participants)s)) AS kept
FULL JOIN ({FRESH}) AS anew USING (participant_id, phase_id)
JOIN ema_participant participant ON participant.id = participant_id
JOIN ema_phase phase ON phase.id = phase_id
WHERE ({_kept}) IS DISTINCT FROM ({_anew})
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

    Reads the responses that arrived since the last finished run, along `responses_by_arrival`, and
    whoever has responses and no coupling at all (bulk loads that state an older arrival).
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
    """Note that everything that arrived before is summed. Never goes back."""
    with connection.cursor() as cursor:
        cursor.execute(COVER, [until])


@transaction.atomic
def sum_responses(participants: Sequence[int], *, now: datetime) -> None:
    """Bring these participants' moments up to date; of two workers the later `now` stays."""
    chosen: dict[str, Any] = {"participants": list(participants), "now": now}
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL jit = off")
        cursor.execute(SUM, chosen)
        cursor.execute(FORGET, chosen)


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
    """Sums of a participant in a phase that are not what the responses say; None: not there."""

    participant: str
    phase: str
    kept: tuple[int, ...] | None
    anew: tuple[int, ...] | None


def differences(participants: Sequence[int]) -> list[Difference]:
    """Where the moments of these participants differ from sums made anew, by a single bit."""
    with connection.cursor() as cursor:
        cursor.execute(DIFFERENT, {"participants": list(participants)})
        rows = cursor.fetchall()
    size = len(SUMS)
    return [
        Difference(code, phase, _sums(sums[:size]), _sums(sums[size:]))
        for code, phase, *sums in rows
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
