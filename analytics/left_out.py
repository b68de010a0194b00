"""How many responses are no analysis rows, by participant, phase and first reason. Blind."""

from analytics.analysis_rows import BECAUSE, OF_STUDY, SUMMABLE

FRESH = f"""
SELECT participant_id, phase_id, reason, count(*) AS n FROM (
    SELECT r.participant_id, p.phase_id, CASE {BECAUSE}
        WHEN r.stress IS NULL AND r.craving IS NULL THEN 'missing_stress_and_craving'
        WHEN r.stress IS NULL THEN 'missing_stress'
        WHEN r.craving IS NULL THEN 'missing_craving'
        WHEN NOT ({SUMMABLE}) THEN 'too_large'
    END AS reason
    FROM ema_response r LEFT JOIN ema_prompt p ON p.id = r.prompt_id {OF_STUDY}
    WHERE r.participant_id = ANY(%(participants)s)
) AS judged WHERE reason IS NOT NULL GROUP BY participant_id, phase_id, reason
"""  # noqa: S608 - built from constants
COUNT = f"""
INSERT INTO analytics_leftout (participant_id, phase_id, reason, n, computed_at)
SELECT fresh.*, %(now)s FROM ({FRESH}) AS fresh
ORDER BY participant_id, phase_id, reason
ON CONFLICT (participant_id, phase_id, reason) DO UPDATE SET
    n = excluded.n, computed_at = excluded.computed_at
WHERE analytics_leftout.computed_at <= excluded.computed_at
"""  # noqa: S608 - built from the constants above
FORGET = """
DELETE FROM analytics_leftout WHERE participant_id = ANY(%(participants)s) AND computed_at < %(now)s
"""
DIFFERENT = f"""
SELECT participant.code, phase.key, coalesce(kept.reason, anew.reason), kept.n, anew.n
FROM (SELECT * FROM analytics_leftout WHERE participant_id = ANY(%(participants)s)) AS kept
FULL JOIN ({FRESH}) AS anew ON kept.participant_id = anew.participant_id
    AND coalesce(kept.phase_id, 0) = coalesce(anew.phase_id, 0) AND kept.reason = anew.reason
JOIN ema_participant participant
    ON participant.id = coalesce(kept.participant_id, anew.participant_id)
LEFT JOIN ema_phase phase ON phase.id = coalesce(kept.phase_id, anew.phase_id)
WHERE kept.n IS DISTINCT FROM anew.n ORDER BY 1, phase.position, 3
"""  # noqa: S608 - built from the constants above
