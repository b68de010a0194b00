"""The sums that residuals with a memory take, from the responses, in one statement. Blind.

Neighbours are usable answers that follow each other on one study day of one phase, whether or not
prompts between them went unanswered, as nlme's corAR1 takes rows in their order.
"""

from collections.abc import Sequence
from itertools import combinations_with_replacement
from typing import Any

import numpy as np

from analytics.gram import Gram
from analytics.plan_fields import AR1, DAY
from analytics.plan_sums import Sources, rows_of, whole_sums
from analytics.serial import Days, Neighbours
from analytics.summing import Sums

# A row's functions (f), those of the answer before it (b), and its neighbours less one (w).
NEIGHBOURS = """
{judged}, summed AS (
    SELECT participant_id, phase_id, study_on, ordinal, {functions} FROM complete WHERE reason = ''
), linked AS (
    SELECT *, {before}, lag(1) OVER day IS NOT NULL AS follows,
        (lag(1) OVER day IS NOT NULL)::int + (lead(1) OVER day IS NOT NULL)::int - 1 AS w
    FROM summed WINDOW day AS (PARTITION BY participant_id, phase_id, study_on ORDER BY ordinal)
)
SELECT participant.code, count(*) FILTER (WHERE follows), sum(w), {sums}
FROM linked JOIN ema_participant participant ON participant.id = linked.participant_id
GROUP BY participant.code
"""
DAYS = """
{judged}
SELECT participant.code, count(*), {sums}
FROM complete JOIN ema_participant participant ON participant.id = complete.participant_id
WHERE reason = '' GROUP BY participant.code, phase_id, study_on
ORDER BY participant.code, phase_id, study_on
"""
Memory = Neighbours | Days


def memory_of(sources: Sources, whole: Gram) -> Memory | None:
    """What the plan's residuals take beside the sums over rows; None for independent ones.

    Raises ValueError, in words, where no study day has two usable answers.
    """
    if sources.plan.residuals == AR1:
        return _neighbours(sources, whole)
    return _days(sources, whole) if sources.plan.residuals == DAY else None


def _neighbours(sources: Sources, whole: Gram) -> Neighbours:
    columns = list(sources.columns().items())
    pairs = list(combinations_with_replacement(range(len(columns)), 2))
    inner = [f"sum(w * f{a})" for a, _ in enumerate(columns)]
    linked = [f"sum(f{a} + b{a}) FILTER (WHERE follows)" for a, _ in enumerate(columns)]
    for a, b in pairs:
        kind = sources.exact_in(columns[a][0], columns[b][0])
        inner.append(f"sum(w * (f{a}::{kind} * f{b}))")
        both = f"f{a}::{kind} * b{b} + b{a}::{kind} * f{b}"
        linked.append(f"sum({both}) FILTER (WHERE follows)")
    statement = NEIGHBOURS.format(
        judged=sources.judged(),
        functions=", ".join(f"({sql}) AS f{a}" for a, (_, sql) in enumerate(columns)),
        before=", ".join(f"lag(f{a}) OVER day AS b{a}" for a, _ in enumerate(columns)),
        sums=", ".join([*inner, *linked]),
    )
    found = {row[0]: row[1:] for row in rows_of(statement, sources.params)}
    rows = [[value or 0 for value in found[label]] for label in whole.participants]
    links = np.array([row[0] for row in rows], dtype=np.int64)
    if not links.any():
        raise ValueError(
            "no study day of anybody has two usable answers, so their residuals have no "
            'neighbours: plan "residuals": "independent"'
        )
    size = len(inner)
    return Neighbours(
        whole,
        _gram(whole, [row[1] for row in rows], [row[2 : 2 + size] for row in rows], pairs),
        _gram(whole, 2 * links, [row[2 + size :] for row in rows], pairs),
        links,
    )


def _days(sources: Sources, whole: Gram) -> Days:
    sums = ", ".join(f"sum({sql})" for sql in sources.columns().values())
    statement = DAYS.format(judged=sources.judged(), sums=sums)
    place = {label: number for number, label in enumerate(whole.participants)}
    rows = [row for row in rows_of(statement, sources.params) if row[0] in place]
    if all(row[1] == 1 for row in rows):
        raise ValueError(
            "no study day of anybody has two usable answers, so days cannot be told from "
            'residuals: plan "residuals": "independent"'
        )
    k = len(whole.functions)
    totals = whole_sums([[row[2 + a] for row in rows] for a in range(k)], (k, len(rows)))
    n = np.array([row[1] for row in rows], dtype=np.int64)
    return Days(whole, np.array([place[row[0]] for row in rows], dtype=np.intp), n, totals)


def _gram(
    whole: Gram, n: Any, rows: Sequence[Sequence[Any]], pairs: Sequence[tuple[int, int]]
) -> Gram:
    """Totals and products by participant, unpacked."""
    k, size = len(whole.functions), len(rows)
    totals = whole_sums([[row[a] for row in rows] for a in range(k)], (k, size))
    packed = whole_sums([[row[k + at] for row in rows] for at, _ in enumerate(pairs)], (-1, size))
    products: Sums = np.empty((k, k, size), dtype=packed.dtype)
    for at, (a, b) in enumerate(pairs):
        products[a, b] = products[b, a] = packed[at]
    counts = np.asarray(n, dtype=np.int64)
    return Gram(whole.participants, whole.functions, counts, totals, products)
