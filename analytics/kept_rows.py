"""Tables of a study's analysis rows, made from rows that are kept beside their sums. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass
from itertools import combinations_with_replacement, product

import numpy as np
from numpy.typing import NDArray

from analytics.companion import Counts
from analytics.gram import product_of
from analytics.residuals import RowSums
from analytics.summing import Ints

_SAFE = 2**62


@dataclass(frozen=True, eq=False)
class KeptRows:
    """N rows of P participants (codes in order): whose each is, predictor and outcome.

    Rows of a phase stand together in the order of their prompts; `follows` says of each whether
    the row before it is of the prompt before on the same study day.
    """

    participants: tuple[str, ...]
    person: NDArray[np.intp]
    x: Ints
    y: Ints
    follows: NDArray[np.bool_]

    def number(self, chosen: NDArray[np.bool_]) -> Counter[str]:
        """How many of the chosen rows are each participant's."""
        numbers = np.bincount(self.person[chosen], minlength=len(self.participants)).tolist()
        return Counter(dict(zip(self.participants, numbers, strict=True)))

    def counts(self, floor: int) -> Counts:
        """How often the outcome was above its floor at each level of the predictor."""
        low, span = int(self.x.min()), int(np.ptp(self.x)) + 1
        cells, cell = np.unique(self.person * span + (self.x - low), return_inverse=True)
        return Counts(
            self.participants,
            cells // span,
            (cells % span + low).astype(np.float64),
            np.bincount(cell).astype(np.int64),
            np.bincount(cell[self.y > floor], minlength=len(cells)).astype(np.int64),
        )

    def of(self, participants: Container[str]) -> KeptRows:
        """The rows of these participants."""
        stay = np.array([code in participants for code in self.participants], dtype=bool)
        number, here = np.cumsum(stay) - 1, stay[self.person]
        codes = tuple(code for code in self.participants if code in participants)
        person, x, y, follows = (
            column[here] for column in (number[self.person], self.x, self.y, self.follows)
        )
        return KeptRows(codes, person, x, y, follows)

    @property
    def fits(self) -> bool:
        """Whether the sums below stay within 64 bits."""
        largest = max(int(np.abs(self.x).max()), int(np.abs(self.y).max()), 1)
        return largest**4 * int(np.bincount(self.person).max()) < _SAFE

    def row_sums(self, names: tuple[str, str], starts: Sequence[int]) -> RowSums:
        """Sums by participant and range of the predictor; see `analytics.card_sums.row_sums_of`."""
        place = np.searchsorted(starts, self.x, side="right") if starts else np.ones_like(self.x)
        wide = len(starts) + 2
        key = self.person * wide + place
        cells = np.flatnonzero(np.bincount(key))
        before = np.flatnonzero(self.follows) - 1

        def total(column: Ints, rows: NDArray[np.intp] | slice = slice(None)) -> Ints:
            found = np.zeros(len(self.participants) * wide, dtype=np.int64)
            np.add.at(found, key[rows], column)
            return found[cells]

        here = self.x, self.y, self.x**2
        totals = np.stack([total(each) for each in here])
        products = np.empty((3, 3, len(cells)), dtype=np.int64)
        for a, b in combinations_with_replacement(range(3), 2):
            products[a, b] = products[b, a] = total(here[a] * here[b])
        later = [np.ones_like(before), self.x[before + 1], self.y[before + 1]]
        earlier = [np.ones_like(before), self.x[before], self.y[before]]
        crossed = np.zeros((4, 4, len(cells)), dtype=np.int64)
        for a, b in product(range(3), repeat=2):
            crossed[a, b] = total(later[a] * earlier[b], before + 1)
        return RowSums(
            tuple(self.participants[i] for i in cells // wide),
            cells % wide,
            (*names, product_of(names[0], names[0])),
            total(np.ones_like(self.x)),
            totals,
            products,
            crossed[0, 0],
            crossed,
        )
