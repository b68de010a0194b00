"""Drawn prompts become rows: one COPY and one INSERT to a chunk, in one transaction."""

from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime

from django.db import connection, transaction

from scheduler.relaxed import RelaxedDay, record_relaxed
from scheduler.zones import TZDATA_VERSION

Row = tuple[int, int, int, date, int, int, datetime, datetime, str, bool, float | None]
DayKey = tuple[int, int, date]  # a participant's day in a phase

TYPES = {
    "participant_id": "int8",
    "phase_id": "int8",
    "questionnaire_id": "int8",
    "study_on": "date",
    "study_day": "int2",
    "ordinal": "int2",
    "due_at": "timestamptz",
    "expires_at": "timestamptz",
    "zone": "text",
    "gap_relaxed": "bool",
    "inclusion_probability": "float8",
}
_typed = ", ".join(f"{name} {kind}" for name, kind in TYPES.items())
_names = ", ".join(TYPES)
_drawn = ", ".join(f"drawn.{name}" for name in TYPES)
TABLE = f"CREATE TEMPORARY TABLE drawn ({_typed}) ON COMMIT DROP"
COPY = f"COPY drawn ({_names}) FROM STDIN (FORMAT BINARY)"
# The ids of a participant's prompts begin alike: then they lie together in every index, and a phone
# that asks for many finds them in a page or two. What follows is random, as all of another id is.
ID = "(substr(md5(participant.uuid::text), 1, 8) || substr(gen_random_uuid()::text, 9))::uuid"
INSERT = f"""
INSERT INTO ema_prompt (id, {_names}, tzdata, planned_at, cancelled_at, cancel_reason, undelivered)
SELECT {ID}, {_drawn}, %(tzdata)s, %(now)s,
    CASE WHEN drawn.due_at < start.known_at THEN %(now)s::timestamptz END,
    CASE WHEN drawn.due_at < participant.enrolled_at THEN 'before_enrolment'
        WHEN drawn.due_at < start.known_at THEN 'before_start' ELSE '' END, ''
FROM drawn JOIN ema_participant participant ON participant.id = drawn.participant_id
JOIN ema_phasestart start USING (participant_id, phase_id)
ORDER BY drawn.participant_id, drawn.phase_id, drawn.study_on, drawn.ordinal
ON CONFLICT (participant_id, phase_id, study_on, ordinal)
    WHERE NOT cancel_reason = 'superseded' DO NOTHING
"""  # noqa: S608 - of constants; one order for all, so that two planners wait and never deadlock


RELAXED = list(TYPES).index("gap_relaxed")
SHORT_DAYS = f"{INSERT} RETURNING participant_id, phase_id, study_on, gap_relaxed"


def insert_prompts(
    rows: Sequence[Row], now: datetime, days_of: Callable[[set[DayKey]], Iterator[RelaxedDay]]
) -> int:
    """Write a chunk in one transaction, short days also to the audit trail; how many were new."""
    some_relaxed = any(row[RELAXED] for row in rows)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(TABLE)
        with cursor.copy(COPY) as copy:
            copy.set_types(list(TYPES.values()))
            for row in rows:
                copy.write_row(row)
        statement = SHORT_DAYS if some_relaxed else INSERT
        cursor.execute(statement, {"now": now, "tzdata": TZDATA_VERSION})
        inserted: int = cursor.rowcount
        if some_relaxed:
            short = {(who, phase, on) for who, phase, on, relaxed in cursor.fetchall() if relaxed}
            record_relaxed(days_of(short))
        cursor.execute("DROP TABLE drawn")
    return inserted
