"""Sums that a card needs beside those of its model, in one statement each. Blind."""

from analytics.card_floor import Given
from analytics.plan_sums import Sources, rows_of

GIVEN = """
{judged}
SELECT participant.code, {predictor}, {outcome}, count(*)
FROM complete JOIN ema_participant participant ON participant.id = complete.participant_id
WHERE reason = '' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""


def given_levels(sources: Sources) -> list[Given]:
    """Every participant's usable rows by predictor and outcome, in stored integers."""
    columns = sources.columns()
    statement = GIVEN.format(
        judged=sources.judged(),
        predictor=columns[sources.predictor],
        outcome=columns[sources.outcome],
    )
    return [Given(*row) for row in rows_of(statement, sources.params)]
