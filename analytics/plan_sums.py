"""The sums a plan asks for, from the responses, in one statement per study. Blind.

No statement here reads an arm or an allocation. Numbers are integers in their items' decimals, so
the sums are exact whatever order the database adds in. The standard analysis needs none of this
for its model (`analytics.sums` keeps its moments), only for what is left out and the floor.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from copy import copy
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from django.db import connection

from analytics.analysis_rows import BECAUSE, LARGEST, UNFLAGGED
from analytics.crossover import PERIOD, period_of
from analytics.gram import Gram, product_of
from analytics.items import StudyItem, items_of
from analytics.plan import Plan
from analytics.plan_change import POST
from analytics.plan_fields import (
    CROSSOVER,
    MOMENT,
    PREVIOUS_OUTCOME,
    PROMPT_NUMBER,
    STUDY_DAY,
    WEEKDAY,
)
from analytics.plan_model import Level
from analytics.summing import Floats
from ema import prepared
from ema.models import Study
from ema.models.questionnaire import AnalysisRole

WEEKDAYS = range(2, 8)  # ISO, against Monday
MOST_LEVELS = 10
_ROWS = 100_000  # of one participant, at most
_SAFE = 2**62

# A response (r), its prompt (p), every item by its number, and the first reason it is left out.
JUDGED = """
WITH judged AS (
    SELECT r.participant_id, p.phase_id, p.study_on, p.study_day, p.ordinal, {items},
    CASE {decided}
        WHEN p.phase_id <> ALL(%(phases)s) THEN 'other_phase'
        ELSE ''
    END AS because
    FROM ema_response r
    JOIN ema_participant participant ON participant.id = r.participant_id
    JOIN ema_study study ON study.id = participant.study_id
    LEFT JOIN ema_prompt p ON p.id = r.prompt_id
    WHERE participant.study_id = %(study)s
), asked AS (SELECT *, {previous} FROM judged {window}),
complete AS (
    SELECT asked.*, CASE WHEN because <> '' THEN because {missing} ELSE '' END AS reason FROM asked
)
"""
WINDOW = "WINDOW day AS (PARTITION BY participant_id, phase_id, study_on, because ORDER BY ordinal)"
SUMS = """
{judged}
SELECT participant.code, count(*), {sums}
FROM complete JOIN ema_participant participant ON participant.id = complete.participant_id
WHERE reason = '' GROUP BY participant.code
"""
COUNTS = """
{judged}
SELECT {unit}, reason, count(*), count(*) FILTER (WHERE {outcome} <= %(floor)s),
    count(*) FILTER (WHERE {outcome} >= %(ceiling)s)
FROM complete JOIN ema_participant participant ON participant.id = complete.participant_id
GROUP BY 1, reason
"""
LEVELS = """
{judged}
SELECT {unit}, {level}, count(*), sum({outcome})::bigint,
    count(*) FILTER (WHERE {outcome} > %(floor)s)
FROM complete JOIN ema_participant participant ON participant.id = complete.participant_id
WHERE reason = '' GROUP BY 1, 2 ORDER BY 1, 2
"""

# Who answered after the study was locked did not answer while it ran.
ANSWERED = f"""
SELECT {{unit}}, sum(sent)::bigint, sum(given)::bigint
FROM (
    SELECT participant_id, phase_id, count(*) AS sent, count(answered_at) AS given
    FROM ema_prompt
    WHERE phase_id = ANY(%(phases)s) AND cancelled_at IS NULL
    AND (sent_at IS NOT NULL OR armed_at IS NOT NULL OR answered_at IS NOT NULL
        OR shown_at IS NOT NULL OR opened_at IS NOT NULL)
    GROUP BY participant_id, phase_id
    UNION ALL
    SELECT p.participant_id, p.phase_id, -count(*) FILTER (WHERE p.sent_at IS NULL
        AND p.armed_at IS NULL AND p.shown_at IS NULL AND p.opened_at IS NULL), -count(*)
    FROM ema_response r JOIN ema_prompt p ON p.id = r.prompt_id
    WHERE r.received_at > (SELECT locked_at FROM ema_study WHERE id = %(study)s)
    AND r.trigger = 'random' AND {UNFLAGGED}
    AND p.phase_id = ANY(%(phases)s) AND p.cancelled_at IS NULL AND p.answered_at IS NOT NULL
    GROUP BY p.participant_id, p.phase_id
) counted JOIN ema_participant participant ON participant.id = counted.participant_id
WHERE participant.study_id = %(study)s GROUP BY 1
"""  # noqa: S608 - built from a constant


class Counted(NamedTuple):
    """Responses of a study: by reason ('' is a usable one) and participant; of usable ones, how
    many have the outcome at its lowest and at its highest."""

    by_reason: Mapping[str, Counter[str]]
    at_floor: Counter[str]
    at_ceiling: Counter[str]

    @property
    def usable(self) -> Counter[str]:
        return self.by_reason.get("", Counter())


class Sources:
    """Where the numbers of a plan come from in a study: items, row functions, the statements.

    `predictor` and `outcome` are names of row functions, as terms are named by them. Other row
    functions begin with @, so that no item can be taken for them.
    """

    def __init__(self, study: Study, plan: Plan) -> None:
        self.plan, self.known = plan, items_of(study)
        self.unit = "participant.code"
        context = [each.item for each in plan.moderators if each.kind == MOMENT]
        self.names = tuple(dict.fromkeys([plan.predictor, plan.outcome, *context]))
        self.items = {name: self.known[name] for name in self.names}
        self.outcome = plan.outcome
        self.predictor = f"previous_{plan.predictor}" if plan.lag else plan.predictor
        self.context = context
        phases = study.phases.all()
        if plan.phases:
            phases = phases.filter(key__in=plan.phases)
        outcome = self.items[plan.outcome]
        self.params: dict[str, Any] = {
            "study": study.pk,
            "phases": list(phases.values_list("pk", flat=True)),
            "floor": _scaled(outcome.minimum, outcome, 0),
            "ceiling": _scaled(outcome.maximum, outcome, LARGEST),
        }
        self.later_periods: list[str] = []
        if plan.design == CROSSOVER:
            order = list(phases.order_by("position").values_list("key", "pk"))
            self.later_periods = [key for key, _ in order[1:]]
            self.params |= {f"period{place}": pk for place, (_, pk) in enumerate(order[1:])}
        if plan.baseline_phase:
            self.params["baseline"] = study.phases.get(key=plan.baseline_phase).pk
        for number, name in enumerate(self.names):
            self.params |= {f"key{number}": name} if not self.items[name].role else {}

    @property
    def by_period(self) -> "Sources":
        """The same, everybody's phases counted apart, as participant@phase."""
        apart = copy(self)
        apart.unit = "participant.code || '@' || (SELECT key FROM ema_phase WHERE id = phase_id)"
        return apart

    def columns(self) -> dict[str, str]:
        """SQL of each row function, over the complete rows."""
        plan = self.plan
        found = {self.predictor: self._at(plan.predictor, lagged=bool(plan.lag))}
        found[self.outcome] = self._at(plan.outcome)
        if STUDY_DAY in plan.adjust_for:
            found[f"@{STUDY_DAY}"] = "study_day::bigint"
        if PROMPT_NUMBER in plan.adjust_for:
            found[f"@{PROMPT_NUMBER}"] = "ordinal::bigint"
        if WEEKDAY in plan.adjust_for:
            for day in WEEKDAYS:
                found[f"@{WEEKDAY}_{day}"] = f"(extract(isodow FROM study_on) = {day})::int::bigint"
        if PREVIOUS_OUTCOME in plan.adjust_for:
            found[f"@previous_{plan.outcome}"] = self._at(plan.outcome, lagged=True)
        if plan.quadratic:
            here = found[self.predictor]
            found[product_of(self.predictor, self.predictor)] = f"{here} * {here}"
        if plan.baseline_phase:
            found[POST] = "(phase_id <> %(baseline)s)::int::bigint"
            found[product_of(self.predictor, POST)] = f"{found[self.predictor]} * {found[POST]}"
        for place, phase in enumerate(self.later_periods):
            inside = f"(phase_id = %(period{place})s)::int::bigint"
            found[period_of(phase)] = inside
            with_it = product_of(self.predictor, period_of(phase))
            found[with_it] = f"{found[self.predictor]} * {inside}"
        for item in self.context:
            here, with_it = self._at(plan.predictor), self._at(item)
            found[f"@{item}"] = with_it
            found[product_of(self.predictor, f"@{item}")] = f"{here} * {with_it}"
        return found

    def scales(self) -> dict[str, float]:
        """What divides each row function, products by their factors'."""
        found = {
            self.predictor: self.items[self.plan.predictor].scale,
            self.outcome: self.items[self.outcome].scale,
            f"@previous_{self.outcome}": self.items[self.outcome].scale,
        }
        found |= {f"@{item}": self.items[item].scale for item in self.context}
        return {name: float(scale) for name, scale in found.items()}

    def judged(self) -> str:
        """The statements' common part."""
        previous = [
            f"CASE WHEN lag(ordinal) OVER day = ordinal - 1 THEN lag(i{number}) OVER day END "
            f"AS before{number}"
            for number, _ in enumerate(self.names)
        ]
        lagged = bool(self.plan.lag)
        return JUDGED.format(
            items=", ".join(self._item(number) for number, _ in enumerate(self.names)),
            decided=BECAUSE,
            previous=", ".join(previous) if lagged else "0 AS none",
            window=WINDOW if lagged else "",
            missing=" ".join(f"WHEN {test} THEN '{why}'" for test, why in self._missing()),
        )

    def _missing(self) -> list[tuple[str, str]]:
        """What makes a row incomplete, in order."""
        x, y = self._at(self.plan.predictor, lagged=bool(self.plan.lag)), self._at(self.outcome)
        names = self.predictor, self.outcome
        pair = [
            (f"{x} IS NULL AND {y} IS NULL", f"missing_{names[0]}_and_{names[1]}"),
            (f"{x} IS NULL", f"missing_{names[0]}"),
            (f"{y} IS NULL", f"missing_{names[1]}"),
        ]
        if PREVIOUS_OUTCOME in self.plan.adjust_for:
            before = self._at(self.outcome, lagged=True)
            pair.append((f"{before} IS NULL", f"missing_previous_{self.outcome}"))
        pair += [(f"{self._at(item)} IS NULL", f"missing_{item}") for item in self.context]
        sizes = [f"abs(i{number}) > {LARGEST}" for number, _ in enumerate(self.names)]
        return [*pair, (" OR ".join(sizes), "too_large")]

    def _at(self, item: str, *, lagged: bool = False) -> str:
        return f"{'before' if lagged else 'i'}{self.names.index(item)}"

    def _item(self, number: int) -> str:
        """The item's stored integer: a typed column, or the answer as sent."""
        item = self.items[self.names[number]]
        if item.role:
            return f"r.{AnalysisRole(item.role).value}::bigint AS i{number}"
        if item.is_yes_no:
            number_of = "CASE WHEN jsonb_typeof(value) = 'boolean' THEN value::boolean::int END"
        else:
            value, most = "(value #>> '{}')::numeric", str(LARGEST)
            low = f"-{most}" if item.minimum is None else str(item.minimum)
            high = most if item.maximum is None else str(item.maximum)
            number_of = f"""CASE WHEN jsonb_typeof(value) = 'number' THEN CASE
                WHEN {value} BETWEEN {low} AND {high} THEN round({value} * {item.scale})
                END END"""
        return f"""(SELECT ({number_of})::bigint FROM (
            SELECT answer -> 'value' AS value FROM jsonb_array_elements(r.answers) AS answer
            WHERE answer ->> 'item' = %(key{number})s LIMIT 1) AS given) AS i{number}"""  # noqa: S608 - numbers of the questionnaire; the key is a parameter

    def exact_in(self, first: str, second: str) -> str:
        """The type in which a sum of products of two row functions cannot overflow."""
        bound = 1
        for factor in (*first.split("*"), *second.split("*")):
            bound *= self._largest(factor)
        return "bigint" if bound * _ROWS < _SAFE else "numeric"

    def _largest(self, function: str) -> int:
        if function == POST or function.startswith(PERIOD):
            return 1
        name = function.removeprefix("@").removeprefix("previous_")
        if name not in self.items:
            return 100_000  # days and prompts
        largest = self.items[name].largest
        return LARGEST if largest is None else max(largest, 1)


def gram_of(sources: Sources) -> Gram:
    """Sums of the plan's row functions and their products, by participant code, sorted."""
    columns = sources.columns()
    names = list(columns)
    pairs = [(a, b) for a in range(len(names)) for b in range(a + 1)]
    sums = [f"sum({sql})" for sql in columns.values()]
    for a, b in pairs:
        kind = sources.exact_in(names[a], names[b])
        sums.append(f"sum(({columns[names[a]]})::{kind} * ({columns[names[b]]}))")
    rows = rows_of(SUMS.format(judged=sources.judged(), sums=", ".join(sums)), sources.params)
    rows.sort()
    k, size = len(names), len(rows)
    values = [row[2:] for row in rows]
    totals = whole_sums([[row[a] for row in values] for a in range(k)], (k, size))
    flat = whole_sums(
        [[row[k + place] for row in values] for place in range(len(pairs))], (len(pairs), size)
    )
    products = np.empty((k, k, size), dtype=flat.dtype)
    for place, (a, b) in enumerate(pairs):
        products[a, b] = products[b, a] = flat[place]
    if totals.dtype != products.dtype:  # one kind for both: exact, or floating point
        totals, products = totals.astype(np.float64), products.astype(np.float64)
    n = np.array([row[1] for row in rows], dtype=np.int64)
    return Gram(tuple(row[0] for row in rows), tuple(names), n, totals, products)


def count(sources: Sources) -> Counted:
    """Every response of the study by participant: why it is left out, or where its outcome is."""
    statement = COUNTS.format(
        judged=sources.judged(), unit=sources.unit, outcome=sources._at(sources.outcome)
    )
    by_reason: dict[str, Counter[str]] = {}
    at_floor, at_ceiling = Counter[str](), Counter[str]()
    for code, reason, n, low, high in rows_of(statement, sources.params):
        by_reason.setdefault(reason, Counter())[code] += n
        if not reason:
            at_floor[code], at_ceiling[code] = low, high
    return Counted(by_reason, at_floor, at_ceiling)


def levels_of(sources: Sources) -> list[Level]:
    """Every participant's usable rows by level of the predictor."""
    statement = LEVELS.format(
        judged=sources.judged(),
        unit=sources.unit,
        level=sources._at(sources.plan.predictor, lagged=bool(sources.plan.lag)),
        outcome=sources._at(sources.outcome),
    )
    return [Level(*row) for row in rows_of(statement, sources.params)]


def ranges_of(sources: Sources) -> list[tuple[int, int]]:
    """First and last stored integer of the predictor's levels, or of ten ranges of equal width.

    Empty for an item without limits: its levels have no natural ranges.
    """
    item = sources.items[sources.plan.predictor]
    if item.minimum is None or item.maximum is None:
        return []
    low, high = item.minimum * item.scale, item.maximum * item.scale
    size = min(high - low + 1, MOST_LEVELS)
    starts = [low + round(place * (high - low + 1) / size) for place in range(size + 1)]
    return [(start, end - 1) for start, end in pairwise(starts)]


@contextmanager
def answered_prompts(sources: Sources) -> Iterator[Callable[[], dict[str, tuple[int, int]]]]:
    """How many prompts of the plan's phases reached each participant, and how many of them were
    answered; PostgreSQL counts while the block computes."""
    chosen = {name: sources.params[name] for name in ("study", "phases")}
    with prepared.meanwhile(ANSWERED.format(unit=sources.unit), chosen) as rows:
        yield lambda: {code: (sent, given) for code, sent, given in rows()}


def baseline_means(study: Study, item: str, phase: str) -> dict[str, float]:
    """Each participant's mean of an item over their answered random prompts in a phase."""
    sources = Sources(study, Plan(predictor=item, outcome=item, phases=(phase,)))
    gram = gram_of(sources)
    if not gram.participants:
        return {}
    means = gram.centred(sources.scales()).mean_of(item)
    return {str(code): float(mean) for code, mean in zip(gram.participants, means, strict=True)}


def whole_sums(columns: Sequence[Sequence[Any]], shape: tuple[int, int]) -> Any:
    """Sums as 64-bit integers, or as floating point where one does not fit."""
    whole = [[int(value) for value in column] for column in columns]
    fits = all(-_SAFE <= value <= _SAFE for column in whole for value in column)
    array: Floats = np.array(whole, dtype=np.int64 if fits else np.float64)
    return array.reshape(shape)


def _scaled(limit: int | None, item: StudyItem, otherwise: int) -> int:
    return otherwise if limit is None else limit * item.scale


def rows_of(statement: str, params: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """What a statement answers."""
    with connection.cursor() as cursor:
        cursor.execute(statement, params)
        return list(cursor.fetchall())
