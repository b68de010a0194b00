"""Crossover: who receives what in which period, and the model of it. Pure.

A treatment is a combination of periods with multipliers of the participant, so the sums know
periods alone and stay blind. In the engine treatments are the arms that are compared; sequences
(the arms that people are allocated to) and periods shift levels.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise
from operator import add
from typing import Any

import numpy as np

from analytics.design import Design, Term, Terms
from analytics.fixed_effects import BETWEEN, INTERCEPT, WITHIN, arm_term, within_arm_term
from analytics.gram import Centred, Gram
from analytics.summing import Floats

PERIOD = "@period_"


@dataclass(frozen=True)
class Crossover:
    """Phases in order, treatments with the reference first, treatment by sequence and phase.

    carryover: whether the treatment of the period before goes on to act, as far as it differs from
    the reference.
    """

    periods: tuple[str, ...]
    treatments: tuple[str, ...]
    treatment_of: Mapping[str, Mapping[str, str]]
    sequence_of: Mapping[str, str]
    carryover: bool = False

    def sequences(self, participants: Sequence[Any]) -> tuple[str, ...]:
        return tuple(self.sequence_of[str(code)] for code in participants)

    def under(self, sequences: Sequence[str], treatment: str, period: str) -> Floats:
        """1 for the participants who receive it then, 0 for the others."""
        given = [self.treatment_of[sequence][period] == treatment for sequence in sequences]
        return np.array(given, dtype=np.float64)


def period_of(phase: str) -> str:
    """The row function that is 1 in a phase and 0 elsewhere."""
    return f"{PERIOD}{phase}"


def crossover_design(
    crossover: Crossover,
    centred: Centred,
    *,
    predictor: str,
    outcome: str,
    also: Mapping[str, Term],
) -> Design:
    """outcome ~ stress_within * treatment + period + sequence + stress_between + whatever else.

    With carry-over also + stress_within * carryover, which yields to everything but sequences.
    Needs the sums of every period but the first, and of their products with the predictor.
    """
    terms, of = Terms(centred), crossover.sequences(centred.participants)
    level = _by_period(crossover, terms.level(), terms.raw)
    slope = _by_period(
        crossover,
        terms.within(predictor),
        lambda period: terms.product(predictor, period, raw=True),
    )
    fixed = {INTERCEPT: terms.level(), WITHIN: terms.within(predictor)}
    fixed |= {f"period[{period}]": level[period] for period in crossover.periods[1:]}
    for term, parts in ((arm_term, level), (within_arm_term, slope)):
        for treatment in crossover.treatments[1:]:
            given = [
                part.times(crossover.under(of, treatment, period)) for period, part in parts.items()
            ]
            fixed[term(treatment)] = reduce(add, given)
    carried = _carried(crossover, of, level, slope) if crossover.carryover else {}
    sequences = {
        f"sequence[{one}]": terms.level(np.array([one == own for own in of], dtype=np.float64))
        for one in sorted(set(of))[1:]
    }
    fixed |= {**carried, **sequences, BETWEEN: terms.between(predictor), **also}
    yields = (*also, *carried, *sequences, BETWEEN)
    return Design(centred, outcome, predictor, fixed, yields=yields, arms=crossover.treatments)


def _carried(
    crossover: Crossover, of: Sequence[str], level: Mapping[str, Term], slope: Mapping[str, Term]
) -> dict[str, Term]:
    """Of each treatment but the reference, the periods that follow it; those that none follows
    are columns of zeros, and left out as such."""
    fixed = {}
    for name, parts in (("{}", level), (f"{WITHIN}:{{}}", slope)):
        for treatment in crossover.treatments[1:]:
            fixed[name.format(f"carryover[{treatment}]")] = reduce(
                add,
                [
                    parts[period].times(crossover.under(of, treatment, before))
                    for before, period in pairwise(crossover.periods)
                ],
            )
    return fixed


def _by_period(crossover: Crossover, whole: Term, of: Any) -> dict[str, Term]:
    """The part of a column in each period; the first is what the others leave."""
    first, *others = crossover.periods
    parts = {period: of(period_of(period)) for period in others}
    minus = np.full(len(whole.level), -1.0)
    return {first: reduce(add, [part.times(minus) for part in parts.values()], whole), **parts}


def reported(term: str) -> str:
    """The engine's name of a term as a report has it."""
    return re.sub(r"\barm\[", "treatment[", term)


def rows_under(crossover: Crossover, gram: Gram) -> dict[str, Floats]:
    """By treatment, everybody's rows under it."""
    of = crossover.sequences(gram.participants)
    rows = {
        period: gram.totals[gram.functions.index(period_of(period))].astype(np.float64)
        for period in crossover.periods[1:]
    }
    rows[crossover.periods[0]] = gram.n - sum(rows.values(), np.zeros(len(of)))
    return {
        treatment: reduce(
            add, [n * crossover.under(of, treatment, period) for period, n in rows.items()]
        )
        for treatment in crossover.treatments
    }


def refuse_confounded(crossover: Crossover, gram: Gram) -> None:
    """Raise ValueError where a treatment has no answers, or cannot be told from its period."""
    present = sorted(set(crossover.sequences(gram.participants)))
    if len(present) < 2:
        raise ValueError(
            f"everybody with usable answers is of sequence {present[0]}, so treatments cannot be "
            "told from periods"
        )
    for treatment, rows in rows_under(crossover, gram).items():
        if not rows.any():
            raise ValueError(f"there are no usable answers under {treatment}")


def add_treatments(report: dict[str, Any], crossover: Crossover, gram: Gram) -> None:
    """To the report: who receives what when, and how many have answers under each treatment."""
    report["treatments"] = {
        sequence: {period: own[period] for period in crossover.periods}
        for sequence, own in crossover.treatment_of.items()
    }
    rows = rows_under(crossover, gram)
    for one in report["arms"]:
        one["n"] = int(np.count_nonzero(rows[one["arm"]]))
