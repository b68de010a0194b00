"""Tables of a study's analysis rows, made from rows that are kept beside their sums. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from analytics.companion import Counts
from analytics.gram import product_of
from analytics.residuals import RowSums
from analytics.summing import Ints

_SAFE = 2**62
# Where products of (x, y, x²) are among the sums of 1, x, y, x², xy, y², x³, x²y, x⁴.
_PRODUCTS = np.array([[3, 4, 6], [4, 5, 7], [6, 7, 8]])


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
        wide, x, y = len(starts) + 2, self.x, self.y
        size, key = len(self.participants) * wide, self.person * wide + self._places(starts)
        one, xx = np.int64(1), x * x
        sums = _sums(key, size, [one, x, y, xx, x * y, y * y, xx * x, xx * y, xx * xx])
        at = np.flatnonzero(self.follows)
        x0, y0, x1, y1 = x[at - 1], y[at - 1], x[at], y[at]
        pairs = [one, x0, y0, x1, x1 * x0, x1 * y0, y1, y1 * x0, y1 * y0]
        across = _sums(key[at], size, pairs)
        cells = np.flatnonzero(sums[0])
        sums = sums[:, cells]
        crossed = np.zeros((4, 4, len(cells)), dtype=np.int64)
        crossed[:3, :3] = across[:, cells].reshape(3, 3, -1)
        return RowSums(
            tuple(self.participants[i] for i in (cells // wide).tolist()),
            cells % wide,
            (*names, product_of(names[0], names[0])),
            sums[0],
            sums[1:4],
            sums[_PRODUCTS],
            crossed[0, 0],
            crossed,
        )

    def _places(self, starts: Sequence[int]) -> NDArray[np.intp]:
        """Of each row the range of its predictor; few values occur, so each is looked up once."""
        if not starts:
            return np.ones(len(self.x), dtype=np.intp)
        low, span = int(self.x.min()), int(np.ptp(self.x)) + 1
        if span > len(self.x):
            return np.searchsorted(starts, self.x, side="right")
        return np.searchsorted(starts, np.arange(low, low + span), side="right")[self.x - low]


def _sums(key: NDArray[np.intp], size: int, columns: Sequence[Any]) -> Ints:
    """Each column's sums by key (number of columns × size)."""
    found = np.zeros((len(columns), size), dtype=np.int64)
    for into, column in zip(found, columns, strict=True):
        np.add.at(into, key, column)
    return found
