"""The companion with the terms that a plan adds: adjustments, moderators, a square, a change.

Such terms differ between rows at one level of the predictor, so it takes the rows themselves, those
that are alike counted together. The model is that of cumulative odds (`analytics.ordinal`), of
which *any* is the case of two levels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from analytics.companion import Companion, best_odds
from analytics.design import Design
from analytics.fixed_effects import INTERCEPT
from analytics.laplace import Cuts
from analytics.ordinal import LevelCounts, about_cuts, refuse_levels
from analytics.summing import Floats

MOST_CELLS = 200_000


@dataclass(frozen=True, eq=False)
class ByRow:
    """Columns of a number for each cell (C × p)."""

    columns: Floats

    @property
    def n_terms(self) -> int:
        return int(self.columns.shape[1])

    def predictor(self, beta: Floats) -> Floats:
        return np.asarray(self.columns @ beta)

    def gradient(self, score: Floats) -> Floats:
        return np.asarray(score @ self.columns)


def fit_rows(
    design: Design,
    terms: Sequence[str],
    counts: LevelCounts,
    functions: Mapping[str, Floats],
) -> Companion:
    """Odds of a higher level with these terms of a design, and its random intercept and slope.

    ``functions``: each row function of every cell of ``counts``, in the items' units. Participants
    of ``counts`` are those of the design, in its order. Raises ValueError, in words, where the
    outcome has one level in an arm, and for more cells than can be fitted in reasonable time.
    """
    if len(counts.person) > MOST_CELLS:
        raise ValueError(
            f"with adjustments or moderators it takes at most {MOST_CELLS:,} different rows, "
            f"and there are {len(counts.person):,}"
        )
    refuse_levels(counts, design.arm_of, design.arms if design.arm_of else ())
    x = functions[design.predictor] - design.centred.own_mean_of(design.predictor)[counts.person]
    cells, row = about_cuts(counts, x)
    kept = [term for term in terms if term != INTERCEPT]
    columns = np.stack([_column(design, term, counts, functions) for term in kept], axis=1)
    times = counts.n.sum(axis=1)
    sizes = np.sqrt((times @ columns**2) / times.sum())
    unit = float(np.sqrt((times @ x**2) / times.sum()))
    scaled = cells._replace(x=cells.x / unit)
    between = Cuts(counts.n.sum(axis=0)[1:-1])
    fixed = ByRow((columns / sizes)[row])
    return best_odds(tuple(kept), (), scaled, fixed, between, 1 / sizes, unit)


def _column(
    design: Design, term: str, counts: LevelCounts, functions: Mapping[str, Floats]
) -> Floats:
    """A term in every cell: its level, and its row functions about the participant's means."""
    made, person = design.fixed[term], counts.person
    found = np.asarray(made.level, dtype=np.float64)[person]
    for name, part in made.parts.items():
        about = functions[name] - design.centred.mean_of(name)[person]
        found = found + np.asarray(part)[person] * about
    return found
