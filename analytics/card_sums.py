"""Sums that a card needs beside those of its model, in one statement each. Blind."""

from collections.abc import Iterable, Sequence
from itertools import product
from typing import Any

import numpy as np

from analytics.card_floor import Given
from analytics.companion import Counts
from analytics.gram import product_of
from analytics.plan_model import Level
from analytics.plan_sums import Sources, rows_of, whole_sums
from analytics.residuals import RowSums
from analytics.summing import Sums

GIVEN = """
{judged}
SELECT participant.code, {predictor}, {outcome}, count(*)
FROM complete JOIN ema_participant participant ON participant.id = complete.participant_id
WHERE reason = '' GROUP BY 1, 2, 3 ORDER BY 1, 2, 3
"""
ALIKE = """
{judged}
SELECT participant.code, {functions}, {level}, count(*)
FROM complete JOIN ema_participant participant ON participant.id = complete.participant_id
WHERE reason = '' GROUP BY {groups}
"""
# f0, f1, … are the row functions, g0, g1, … those of the usable prompt before on the same day.
NEIGHBOURS = """
{judged}, usable AS (
    SELECT participant_id, phase_id, study_on, ordinal, {place} AS place, {functions}
    FROM complete WHERE reason = ''
), linked AS (
    SELECT usable.*, lag(ordinal) OVER day = ordinal - 1 AS follows, {before} FROM usable
    WINDOW day AS (PARTITION BY participant_id, phase_id, study_on ORDER BY ordinal)
)
SELECT {unit}, place, count(*), count(*) FILTER (WHERE follows), {sums}
FROM linked JOIN ema_participant participant ON participant.id = linked.participant_id
GROUP BY 1, 2 ORDER BY 1, 2
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


def counts_of(levels: Iterable[Level]) -> Counts:
    """The companion's table."""
    cells = sorted(levels)
    people = sorted({each.participant for each in cells})
    place = {code: number for number, code in enumerate(people)}
    return Counts(
        tuple(people),
        np.array([place[each.participant] for each in cells], dtype=np.int64),
        np.array([each.predictor for each in cells], dtype=np.float64),
        np.array([each.n for each in cells], dtype=np.int64),
        np.array([each.above_floor for each in cells], dtype=np.int64),
    )


def alike_rows(sources: Sources, few: bool) -> tuple[list[str], list[tuple[Any, ...]]]:
    """The row functions' names, and usable rows counted: participant, functions, level, times.

    The level is that of the outcome where it has ``few``, else whether it is above its lowest.
    """
    columns = sources.columns()
    outcome = columns.pop(sources.outcome)
    statement = ALIKE.format(
        judged=sources.judged(),
        functions=", ".join(columns.values()),
        level=outcome if few else f"({outcome} > %(floor)s)::int",
        groups=", ".join(str(place) for place in range(1, len(columns) + 3)),
    )
    return list(columns), rows_of(statement, sources.params)


def row_sums_of(sources: Sources, starts: Sequence[int]) -> RowSums:
    """Sums of usable rows by participant and range of the predictor, and of neighbouring prompts.

    `starts`: the first stored integer of each range, ascending; one range without them. The last
    function is the square of the predictor, of which no neighbours are summed.
    """
    columns, x = sources.columns(), sources.predictor
    squared = f"({columns[x]})::{sources.exact_in(x, x)} * ({columns[x]})"
    whole = {**columns, product_of(x, x): squared}
    names, k = list(whole), len(columns)

    def times(a: int, b: int, other: str) -> str:
        """Function a times b, or times b of the prompt before."""
        return f"f{a}::{sources.exact_in(names[a], names[b])} * {other}{b}"

    inside = [(a, b) for a in range(len(names)) for b in range(a + 1)]
    sums = [f"sum(f{a})" for a in range(len(names))] + [
        f"sum({times(a, b, 'f')})" for a, b in inside
    ]
    across = [f"f{a}" for a in range(k)] + [f"g{b}" for b in range(k)]
    across += [times(a, b, "g") for a, b in product(range(k), repeat=2)]
    sums += [f"coalesce(sum({each}) FILTER (WHERE follows), 0)" for each in across]
    statement = NEIGHBOURS.format(
        judged=sources.judged(),
        unit=sources.unit,
        place=f"width_bucket({columns[x]}, %(starts)s::bigint[])" if starts else "1",
        functions=", ".join(f"{sql} AS f{at}" for at, sql in enumerate(whole.values())),
        before=", ".join(f"lag(f{at}) OVER day AS g{at}" for at in range(k)),
        sums=", ".join(sums),
    )
    return _read(rows_of(statement, sources.params | {"starts": list(starts)}), names, k)


def _read(rows: Sequence[tuple[Any, ...]], names: Sequence[str], k: int) -> RowSums:
    """The statement's rows, column by column in its order; neighbours of the first k functions."""
    codes, place, n, n_next, *sums = zip(*rows, strict=True)
    columns = iter(whole_sums(sums, (len(sums), len(rows))))
    size = len(names)
    totals: Sums = np.stack([next(columns) for _ in names])
    products: Sums = np.empty((size, size, len(rows)), dtype=totals.dtype)  # type: ignore[assignment]
    for a in range(size):
        for b in range(a + 1):
            products[a, b] = products[b, a] = next(columns)
    crossed: Sums = np.zeros((size + 1, size + 1, len(rows)), dtype=totals.dtype)  # type: ignore[assignment]
    crossed[0, 0] = n_next
    for a in range(1, k + 1):
        crossed[a, 0] = next(columns)
    for b in range(1, k + 1):
        crossed[0, b] = next(columns)
    for a, b in product(range(1, k + 1), repeat=2):
        crossed[a, b] = next(columns)
    at, counts, following = (np.array(each, dtype=np.int64) for each in (place, n, n_next))
    return RowSums(codes, at, tuple(names), counts, totals, products, following, crossed)
