"""Sums by participant: exact for whole numbers, about the participants' means for decimals."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats: TypeAlias = NDArray[np.float64]
Ints: TypeAlias = NDArray[np.int64]
Sums: TypeAlias = NDArray[np.int64] | NDArray[np.float64]

_SAFE = 2.0**62
ROUNDING = 8 * float(np.finfo(np.float64).eps)


def as_ratings(values: ArrayLike, name: str) -> Sums:
    """A column of rows: whole numbers as int64, else finite float64. Raises ValueError in words."""
    column = np.asarray(values)
    if column.dtype.kind in "bui" or column.size == 0:
        return column.astype(np.int64)
    column = column.astype(np.float64)
    if not np.all(np.isfinite(column)):
        row = int(np.flatnonzero(~np.isfinite(column))[0])
        raise ValueError(f"{name} of row {row} is {column[row]}: only complete pairs can be summed")
    return column


def as_sums(values: ArrayLike, name: str) -> Sums:
    """Whole numbers (int, Decimal) as int64, everything else as float64."""
    column = np.asarray(values)
    if column.dtype.kind in "bui" or column.size == 0:
        return column.astype(np.int64)
    if column.dtype == object and all(value == int(value) for value in column):
        try:
            return np.array([int(value) for value in column], dtype=np.int64)
        except OverflowError:
            raise ValueError(f"{name} does not fit in 64 bits") from None
    column = column.astype(np.float64)
    if not np.all(np.isfinite(column)):
        raise ValueError(f"{name} has a missing or infinite value")
    return column


def refuse_overflow(*columns: Sums) -> None:
    """Raise ValueError where a sum of squares of whole numbers could leave 64 bits."""
    if columns and len(columns[0]) * max(_largest(column) for column in columns) ** 2 > _SAFE:
        raise ValueError("integers this large cannot be summed in 64 bits; pass them as floats")


def sum_by(row: NDArray[np.intp], size: int, column: Sums) -> Sums:
    """Σ of a column by row label; integer addition for integers."""
    if column.dtype == np.float64:
        return np.bincount(row, column, size)
    total = np.zeros(size, dtype=np.int64)
    np.add.at(total, row, column)
    return total


def mean_of(total: Sums, n: Ints, origin: Floats | None) -> Floats:
    """The mean in stored units, 0 for a participant without rows."""
    mean = np.asarray(total / np.maximum(n, 1), dtype=np.float64)
    return mean if origin is None else mean + origin


def centred(n: Ints, ab: Sums, a: Sums, b: Sums) -> Floats:
    """Σ(a − mean a)(b − mean b) per participant, exact before the last division for integers."""
    n = np.maximum(n, 1)
    if ab.dtype == np.float64:
        return np.asarray(ab - a * b / n, dtype=np.float64)
    if _largest(n) * _largest(ab) > _SAFE or _largest(a) * _largest(b) > _SAFE:
        wide: list[Any] = [column.astype(object) for column in (n, ab, a, b)]
        n, ab, a, b = wide
    return np.asarray((n * ab - a * b) / n, dtype=np.float64)


def clear_rounding(ss: Floats, raw: Sums, n: Ints, mean: Floats) -> Floats:
    """Zero where a sum of squares is no more than the rounding of its parts."""
    noise = ROUNDING * np.abs(raw) + n * (ROUNDING * mean) ** 2
    # About the mean, the raw sum *is* the sum of squares: only the second part can bind.
    return np.where(ss > noise, ss, 0.0)


def _largest(column: NDArray[Any]) -> float:
    return float(max(abs(int(column.max())), abs(int(column.min())))) if column.size else 0.0
