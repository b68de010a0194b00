"""Moments: the per-participant sums from which couplings and arm comparisons are computed.

x is the predictor (stress), y the outcome (craving); a *pair* is a row with both present.
Six sums per participant (n, Σx, Σy, Σx², Σxy, Σy²) are sufficient for a personal slope and
for a mixed model with a random intercept and slope, and shards of rows merge by addition.

Numerics
--------
Ratings stored as integers give integer sums: the order of rows and the way they are cut into
shards cannot change a single bit, and SS_within = (n·Σxx − (Σx)²)/n loses nothing. Ratings with
arbitrary decimals are summed about each participant's own mean (two passes) and merged with the
pairwise update of Chan, Golub & LeVeque (1983), which never subtracts two large numbers.
Floating-point sums about zero (``double precision`` from a database) are accepted; their sums of
squares are as good as n·mean²/SS allows, and what is below rounding error counts as zero.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from analytics.summing import (
    ROUNDING,
    Floats,
    Ints,
    Sums,
    as_ratings,
    as_sums,
    centred,
    clear_rounding,
    mean_of,
    refuse_overflow,
    sum_by,
)

Label: TypeAlias = str | int

_SUMS = ("sum_x", "sum_y", "sum_xx", "sum_xy", "sum_yy")


@dataclass(frozen=True)
class Within:
    """Means and within-participant sums of squares, in the items' own units; arrays of length P."""

    n: Floats
    mean_x: Floats
    mean_y: Floats
    ss_xx: Floats
    ss_xy: Floats
    ss_yy: Floats

    @property
    def slope(self) -> Floats:
        """Least-squares slope of y on x, 0 where x does not vary."""
        varies = self.ss_xx > 0
        return np.divide(self.ss_xy, self.ss_xx, out=np.zeros_like(self.ss_xy), where=varies)

    @property
    def ss_residual(self) -> Floats:
        """Sum of squares of y about each participant's own line, 0 below rounding error."""
        left = self.ss_yy - self.slope * self.ss_xy
        return np.where(left > ROUNDING * self.ss_yy, left, 0.0)


@dataclass(frozen=True, eq=False)
class Moments:
    """Sums over pairs, one entry per participant (arrays of length P, participants unique).

    ``sum_x`` is Σ(x − origin_x) and so on; the origins are 0 (None) for integer sums.
    Raises ValueError when lengths differ, a participant occurs twice or a count is negative.
    """

    participants: tuple[Label, ...]
    n: Ints
    sum_x: Sums
    sum_y: Sums
    sum_xx: Sums
    sum_xy: Sums
    sum_yy: Sums
    origin_x: Floats | None = None
    origin_y: Floats | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "participants", tuple(self.participants))
        object.__setattr__(self, "n", np.asarray(self.n, dtype=np.int64))
        sums = {name: as_sums(getattr(self, name), name) for name in _SUMS}
        if any(column.dtype == np.float64 for column in sums.values()):
            sums = {name: column.astype(np.float64) for name, column in sums.items()}
        for name, column in sums.items():
            object.__setattr__(self, name, column)
        size = len(self.participants)
        if any(len(column) != size for column in (self.n, *sums.values())):
            raise ValueError(f"every sum needs one entry for each of the {size} participants")
        if len(set(self.participants)) != size:
            raise ValueError(
                "a participant occurs twice; merge the shards before the sums are used"
            )
        if np.any(self.n < 0):
            raise ValueError("a number of pairs is negative")

    @classmethod
    def from_rows(cls, participant: Sequence[Label], x: ArrayLike, y: ArrayLike) -> Self:
        """Sum complete pairs by participant (all three of length N, N ≥ 0; sorted by participant).

        Whole numbers in integer arrays are summed exactly, anything else about participants' means.
        Raises ValueError for a missing or infinite value, or integers too large to sum in 64 bits.
        """
        x_column, y_column = as_ratings(x, "x"), as_ratings(y, "y")
        if not len(participant) == len(x_column) == len(y_column):
            raise ValueError("participant, x and y need the same number of rows")
        labels, row = np.unique(np.asarray(participant), return_inverse=True)
        names: tuple[Label, ...] = tuple(labels.tolist())
        n = np.bincount(row, minlength=len(names)).astype(np.int64)
        if x_column.dtype == y_column.dtype == np.int64:
            refuse_overflow(x_column, y_column)
            return cls(names, n, **_sums(row, len(names), x_column, y_column))
        x_float, y_float = x_column.astype(np.float64), y_column.astype(np.float64)
        origin_x = np.bincount(row, x_float, len(names)) / n
        origin_y = np.bincount(row, y_float, len(names)) / n
        sums = _sums(row, len(names), x_float - origin_x[row], y_float - origin_y[row])
        return cls(names, n, **sums, origin_x=origin_x, origin_y=origin_y)

    @classmethod
    def from_sums(cls, rows: Iterable[Sequence[Any]]) -> Self:
        """Moments from rows (participant, n, Σx, Σy, Σxx, Σxy, Σyy) of a database's ``GROUP BY``.

        Whole numbers (int, Decimal) stay exact; anything else is taken as floating point.
        """
        columns = list(zip(*rows, strict=True)) or [()] * (len(_SUMS) + 2)
        sums: dict[str, Any] = {
            name: np.array(column, dtype=object)
            for name, column in zip(_SUMS, columns[2:], strict=True)
        }
        return cls(columns[0], np.array(columns[1], dtype=np.int64), **sums)

    @property
    def exact(self) -> bool:
        """Whether the sums are integers."""
        return self.sum_x.dtype == np.int64

    @property
    def mean_x(self) -> Floats:
        """Mean of x per participant in stored units (0 for a participant without pairs)."""
        return mean_of(self.sum_x, self.n, self.origin_x)

    @property
    def mean_y(self) -> Floats:
        """Mean of y per participant in stored units (0 for a participant without pairs)."""
        return mean_of(self.sum_y, self.n, self.origin_y)

    def within(self, x_scale: float = 1, y_scale: float = 1) -> Within:
        """Means and centred sums of squares, x divided by ``x_scale`` and y by ``y_scale``.

        An item with one decimal is stored as 304 for 30.4: its scale is 10.
        """
        if not (x_scale > 0 and y_scale > 0):
            raise ValueError(f"scales must be positive, not {x_scale} and {y_scale}")
        ss_xx = self._centred("sum_xx", "sum_x", "sum_x")
        ss_yy = self._centred("sum_yy", "sum_y", "sum_y")
        if not self.exact:
            ss_xx = clear_rounding(ss_xx, self.sum_xx, self.n, self.mean_x)
            ss_yy = clear_rounding(ss_yy, self.sum_yy, self.n, self.mean_y)
        ss_xy = np.where((ss_xx > 0) & (ss_yy > 0), self._centred("sum_xy", "sum_x", "sum_y"), 0.0)
        return Within(
            n=self.n.astype(np.float64),
            mean_x=self.mean_x / x_scale,
            mean_y=self.mean_y / y_scale,
            ss_xx=ss_xx / x_scale**2,
            ss_xy=ss_xy / (x_scale * y_scale),
            ss_yy=ss_yy / y_scale**2,
        )

    def select(self, participants: Sequence[Label]) -> Self:
        """The moments of these participants, in this order. Raises ValueError for a stranger."""
        place = {label: index for index, label in enumerate(self.participants)}
        strangers = [label for label in participants if label not in place]
        if strangers:
            raise ValueError(f"no moments for participant {strangers[0]!r}")
        return self._take(np.array([place[label] for label in participants], dtype=np.int64))

    def merge(self, other: Moments) -> Moments:
        """The moments of both sets of rows, sorted by participant; exact when both are exact."""
        names = tuple(sorted({*self.participants, *other.participants}, key=_order))
        left, right = _spread_out(self, names), _spread_out(other, names)
        if left.exact and right.exact:
            n = left.n + right.n
            return Moments(names, n, *(getattr(left, s) + getattr(right, s) for s in _SUMS))
        return _merge_about_means(left, right)

    def _centred(self, product: str, first: str, second: str) -> Floats:
        """Σ(a − mean a)(b − mean b) per participant."""
        return centred(self.n, *(getattr(self, name) for name in (product, first, second)))

    def _take(self, index: Ints) -> Self:
        columns: dict[str, Any] = {name: getattr(self, name)[index] for name in ("n", *_SUMS)}
        for name in ("origin_x", "origin_y"):
            origin = getattr(self, name)
            columns[name] = None if origin is None else origin[index]
        names = tuple(self.participants[i] for i in index)
        return replace(self, participants=names, **columns)


def _order(label: Label) -> tuple[bool, Label]:
    return isinstance(label, str), label


def _sums(row: NDArray[np.intp], size: int, x: Sums, y: Sums) -> dict[str, Any]:
    """Σx, Σy, Σxx, Σxy, Σyy by row label."""
    columns = zip(_SUMS, (x, y, x * x, x * y, y * y), strict=True)
    return {name: sum_by(row, size, column) for name, column in columns}


def _spread_out(moments: Moments, names: tuple[Label, ...]) -> Moments:
    """The same moments with empty entries for the names it lacks, in the order of ``names``."""
    place = {label: index for index, label in enumerate(names)}
    index = np.array([place[label] for label in moments.participants], dtype=np.int64)

    def spread(column: Any) -> Any:
        if column is None:
            return None
        wide = np.zeros(len(names), dtype=column.dtype)
        wide[index] = column
        return wide

    columns = {name: spread(getattr(moments, name)) for name in ("n", *_SUMS)}
    origins = {name: spread(getattr(moments, name)) for name in ("origin_x", "origin_y")}
    return Moments(names, **columns, **origins)


def _merge_about_means(left: Moments, right: Moments) -> Moments:
    """Pairwise update of means and centred sums (Chan, Golub & LeVeque 1983)."""
    n = left.n + right.n
    share = right.n / np.maximum(n, 1)
    step_x, step_y = right.mean_x - left.mean_x, right.mean_y - left.mean_y
    bridge = left.n * share

    def total(product: str, first: str, second: str) -> Floats:
        return left._centred(product, first, second) + right._centred(product, first, second)

    zero = np.zeros(len(n))
    return Moments(
        left.participants,
        n,
        zero,
        zero,
        total("sum_xx", "sum_x", "sum_x") + bridge * step_x**2,
        total("sum_xy", "sum_x", "sum_y") + bridge * step_x * step_y,
        total("sum_yy", "sum_y", "sum_y") + bridge * step_y**2,
        left.mean_x + share * step_x,
        left.mean_y + share * step_y,
    )
