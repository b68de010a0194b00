"""Which responses are analysis rows, in SQL.

`r` is a response, `p` the prompt it answers, `study` the study it is of (`OF_STUDY` joins it).
"""

LARGEST = 10_000_000  # stored units; sums of squares of 90,000 such answers still fit in 64 bits

OF_STUDY = """JOIN ema_participant owner ON owner.id = r.participant_id
    JOIN ema_study study ON study.id = owner.study_id"""
AFTER_LOCK = "coalesce(r.received_at > study.locked_at, false)"
IN_TIME = "r.completed_at_corrected <= p.expires_at"
# What a response is left out for before its ratings are looked at.
BECAUSE = f"""
        WHEN {AFTER_LOCK} THEN 'after_lock'
        WHEN r.trigger <> 'random' THEN 'self_initiated'
        WHEN p.id IS NULL THEN 'unknown_prompt'
        WHEN 'duplicate_prompt' = ANY(r.flags) THEN 'duplicate'
        WHEN 'after_withdrawal' = ANY(r.flags) THEN 'after_withdrawal'
        WHEN NOT {IN_TIME} THEN 'late'"""
UNFLAGGED = "NOT r.flags && ARRAY['duplicate_prompt', 'after_withdrawal']::varchar[]"
COMPLETE = "r.stress IS NOT NULL AND r.craving IS NOT NULL"
SUMMABLE = " AND ".join(f"r.{x} BETWEEN -{LARGEST} AND {LARGEST}" for x in ("stress", "craving"))
ANALYSIS_ROW = (
    f"r.trigger = 'random' AND {IN_TIME} AND {UNFLAGGED} AND {COMPLETE} AND {SUMMABLE} "
    f"AND NOT {AFTER_LOCK}"
)


def flags_of(response: str) -> str:
    """What a reader of tables is told of the response of that name, beside its `study`."""
    late = (
        f"CASE WHEN {response}.received_at > study.locked_at THEN '{{after_lock}}'::varchar[] END"
    )
    return f"array_to_string({response}.flags || {late}, ' ')"
