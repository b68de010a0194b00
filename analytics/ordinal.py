"""The companion of an outcome with few levels: does stress raise the odds of a higher answer?

A cumulative logit mixed model (McCullagh 1980; `ordinal::clmm` with Laplace's approximation) with
the terms of the linear one, a random intercept and a random slope: one odds ratio for every cut
between two levels. With two levels it is the logistic model of the higher one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analytics.companion import Companion, fit_odds
from analytics.fixed_effects import arms_of, coupling_design, refuse_hopeless
from analytics.gram import Gram
from analytics.laplace import Cells, Cuts
from analytics.moments import Label, Moments
from analytics.summing import Floats, Ints

MOST_LEVELS = 5


@dataclass(frozen=True, eq=False)
class LevelCounts:
    """Cells sorted by participant: at this stress (stored integer), how often each level was given.

    participants (P) sorted; person, stress (C); n (C × L), of levels in their order that somebody
    gave.
    """

    participants: tuple[Label, ...]
    person: Ints
    stress: Floats
    n: Ints

    @classmethod
    def from_rows(
        cls,
        participant: Sequence[Label],
        stress: ArrayLike,
        level: ArrayLike,
        times: ArrayLike | None = None,
    ) -> Self:
        """Count complete rows, each of them ``times``; levels may be any numbers in order."""
        labels, person = np.unique(np.asarray(participant), return_inverse=True)
        at, place = np.unique(np.asarray(stress, dtype=np.float64), return_inverse=True)
        given, of = np.unique(np.asarray(level), return_inverse=True)
        cells, cell = np.unique(person * len(at) + place, return_inverse=True)
        n = np.zeros((len(cells), len(given)), dtype=np.int64)
        np.add.at(n, (cell, of), 1 if times is None else np.asarray(times))
        return cls(tuple(labels.tolist()), cells // len(at), at[cells % len(at)], n)

    def moments(self) -> Moments:
        """Sums of stress and of the number of the level, for the design of the model."""
        number = np.arange(self.n.shape[1])
        n, y, yy = self.n.sum(axis=1), self.n @ number, self.n @ number**2

        def total(column: Any) -> Floats:
            size = len(self.participants)
            return np.asarray(np.bincount(self.person, column, size), dtype=np.float64)

        x = self.stress
        sums = [total(each) for each in (n * x, y, n * x * x, x * y, yy)]
        return Moments(self.participants, total(n).astype(np.int64), *sums)


def fit_ordinal(
    counts: LevelCounts,
    arms: Mapping[Any, str] | None = None,
    reference: str | None = None,
    *,
    x_scale: float = 1,
) -> Companion:
    """Odds of a higher level of craving ~ stress_within * arm + stress_between + (1 + stress_within
    | participant).

    Raises ValueError, in words, where craving has one level in an arm, or more than five in all,
    and for what the linear model refuses.
    """
    moments = counts.moments()
    arm_of, levels = arms_of(moments.participants, arms, reference, None)
    refuse_levels(counts, arm_of, levels)
    centred = Gram.from_moments(moments, "stress", "craving").centred({"stress": x_scale})
    design = coupling_design(centred, arm_of, levels)
    refuse_hopeless(design.pairs)
    x = counts.stress / x_scale - design.pairs.mean_x[counts.person]
    return fit_odds(design, about_cuts(counts, x)[0], Cuts(counts.n.sum(axis=0)[1:-1]))


def about_cuts(counts: LevelCounts, x: Floats) -> tuple[Cells, NDArray[np.intp]]:
    """A binomial for each cell and cut, of the answers next to the cut, and which cell it is of."""
    below, above = counts.n[:, :-1], counts.n[:, 1:]
    cell, cut = np.nonzero(below + above)
    n = (below + above)[cell, cut]
    return Cells(counts.person[cell], x[cell], n, above[cell, cut], cut), cell


def refuse_levels(counts: LevelCounts, arm_of: tuple[str, ...], levels: tuple[str, ...]) -> None:
    """Raise ValueError for one level in an arm, or more than five in all."""
    size = counts.n.shape[1]
    if size > MOST_LEVELS:
        raise ValueError(
            f"craving has {size} levels; cumulative odds are for {MOST_LEVELS} at most"
        )
    groups = [(arm, np.array(arm_of) == arm) for arm in levels]
    for arm, here in groups or [("", np.ones(len(counts.participants), dtype=bool))]:
        if np.count_nonzero(counts.n[here[counts.person]].sum(axis=0)) < 2:
            where = f" in arm {arm!r}" if arm else ""
            raise ValueError(
                f"craving is always at the same level{where}, "
                "so the odds of a higher one cannot be compared"
            )
