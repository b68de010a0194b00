"""Gram matrices: for each participant, sums of products of named functions of a row.

A *row function* is any number a row has: an item (stress, craving, pain), its time, the item at
the prompt before, a 0/1 for the second period, or a product of two of these, named ``stress*pain``.
With the constant 1 among them, their sums of products by participant hold all that a linear mixed
model can ask of the rows, whatever its fixed effects are made of: `analytics.design` combines row
functions with participant-level multipliers, arms among them, when a model is fitted.

Numerics are those of `analytics.moments`, which is the case of two functions: whole numbers are
summed exactly, so order and shards change no bit; decimals are summed about participants' means.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Self

import numpy as np
from numpy.typing import ArrayLike

from analytics.moments import Label, Moments
from analytics.summing import (
    Floats,
    Ints,
    Sums,
    as_ratings,
    centred,
    clear_rounding,
    mean_of,
    refuse_overflow,
    sum_by,
)


def product_of(first: str, second: str) -> str:
    """The name of the row function that is the product of two others."""
    return f"{first}*{second}"


@dataclass(frozen=True, eq=False)
class Centred:
    """Means and sums of products about them, in the items' own units.

    P participants and k functions: n (P), mean (k × P), ss (k × k × P). ss[a, b] is
    Σ(a − mean a)(b − mean b) of each participant's rows.

    Sums over whitened rows (`analytics.serial`) have weighted means and counts; then ``own`` are
    the plain means (k × P), ``rows`` the plain counts (P), and ``log_det`` is log|R| over all rows.
    """

    participants: tuple[Label, ...]
    functions: tuple[str, ...]
    n: Floats
    mean: Floats
    ss: Floats
    own: Floats | None = None
    rows: Floats | None = None
    log_det: float = 0.0

    def __len__(self) -> int:
        return len(self.participants)

    @property
    def counts(self) -> Floats:
        """Numbers of rows (P)."""
        return self.n if self.rows is None else self.rows

    def place(self, function: str) -> int:
        """The position of a row function. Raises ValueError for one that was not summed."""
        if function not in self.functions:
            known = ", ".join(self.functions)
            raise ValueError(f"no sums of {function!r}; there are sums of {known}")
        return self.functions.index(function)

    def mean_of(self, function: str) -> Floats:
        """Each participant's mean, weighted where rows are whitened."""
        return np.asarray(self.mean[self.place(function)])

    def own_mean_of(self, function: str) -> Floats:
        """Each participant's plain mean: what a deviation within the person is from."""
        return np.asarray((self.mean if self.own is None else self.own)[self.place(function)])

    def ss_of(self, first: str, second: str) -> Floats:
        """Each participant's sum of products about the means."""
        return np.asarray(self.ss[self.place(first), self.place(second)])


@dataclass(frozen=True, eq=False)
class Gram:
    """Sums over rows of k functions and of their products, one entry per participant.

    n (P), totals (k × P) and products (k × k × P, symmetric) are taken about ``origins`` (k × P);
    None means about zero, as integers are. Merge shards before use: participants are unique.
    """

    participants: tuple[Label, ...]
    functions: tuple[str, ...]
    n: Ints
    totals: Sums
    products: Sums
    origins: Floats | None = None

    def __post_init__(self) -> None:
        k, size = len(self.functions), len(self.participants)
        shapes = (self.n.shape, self.totals.shape, self.products.shape)
        if shapes != ((size,), (k, size), (k, k, size)):
            raise ValueError(f"{size} participants and {k} functions do not fit sums of {shapes}")
        if len(set(self.participants)) != size or len(set(self.functions)) != k:
            raise ValueError("a participant or a row function occurs twice")

    @classmethod
    def from_rows(cls, participant: Sequence[Label], columns: Mapping[str, ArrayLike]) -> Self:
        """Sum complete rows (every function present) by participant, sorted.

        Exact when every column is whole numbers in an integer array. Raises ValueError for a
        missing or infinite value, or integers too large to sum in 64 bits.
        """
        rows = [as_ratings(values, name) for name, values in columns.items()]
        if any(len(column) != len(participant) for column in rows):
            raise ValueError("every row function needs one value for each row's participant")
        labels, row = np.unique(np.asarray(participant), return_inverse=True)
        size = len(labels)
        n = np.bincount(row, minlength=size).astype(np.int64)
        origins: Floats | None = None
        if all(column.dtype == np.int64 for column in rows):
            refuse_overflow(*rows)
        else:
            floats = [column.astype(np.float64) for column in rows]
            origins = np.stack([np.bincount(row, column, size) / n for column in floats])
            rows = [column - own[row] for column, own in zip(floats, origins, strict=True)]
        totals: Sums = np.stack([sum_by(row, size, column) for column in rows])  # type: ignore[assignment]
        products: Sums = np.empty((len(rows), *totals.shape), dtype=totals.dtype)
        for a, first in enumerate(rows):
            for b, second in enumerate(rows[: a + 1]):
                products[a, b] = products[b, a] = sum_by(row, size, first * second)
        return cls(tuple(labels.tolist()), tuple(columns), n, totals, products, origins)

    @classmethod
    def from_moments(cls, moments: Moments, x: str, y: str) -> Self:
        """The Gram of the two functions that moments are sums of."""
        origins = None
        if moments.origin_x is not None and moments.origin_y is not None:
            origins = np.stack([moments.origin_x, moments.origin_y])
        totals: Sums = np.stack([moments.sum_x, moments.sum_y])  # type: ignore[assignment]
        packed = moments.sum_xx, moments.sum_xy, moments.sum_xy, moments.sum_yy
        products: Sums = np.stack(packed).reshape(2, 2, -1)  # type: ignore[assignment]
        return cls(moments.participants, (x, y), moments.n, totals, products, origins)

    @property
    def exact(self) -> bool:
        """Whether the sums are integers."""
        return self.totals.dtype == np.int64

    @property
    def mean(self) -> Floats:
        """Means per participant in stored units (k × P)."""
        return mean_of(self.totals, self.n, self.origins)

    def select(self, participants: Sequence[Label]) -> Self:
        """These participants, in this order. Raises ValueError for a stranger."""
        place = {label: index for index, label in enumerate(self.participants)}
        strangers = [label for label in participants if label not in place]
        if strangers:
            raise ValueError(f"no sums for participant {strangers[0]!r}")
        return self._spread(tuple(participants), [place[label] for label in participants])

    def with_rows(self) -> Self:
        """The participants who have any row."""
        index = np.flatnonzero(self.n)
        if len(index) == len(self.n):
            return self
        return self._spread(tuple(self.participants[i] for i in index), index.tolist())

    def merge(self, other: Gram) -> Gram:
        """The sums of both sets of rows, sorted by participant; exact when both are exact."""
        if self.functions != other.functions:
            raise ValueError(f"sums of {self.functions} cannot be merged with {other.functions}")
        names = tuple(sorted({*self.participants, *other.participants}, key=_order))
        left, right = self._laid_out(names), other._laid_out(names)
        n = left.n + right.n
        if left.exact and right.exact:
            products = left.products + right.products
            return Gram(names, self.functions, n, left.totals + right.totals, products)
        share = right.n / np.maximum(n, 1)
        step = right.mean - left.mean  # pairwise update of Chan, Golub & LeVeque (1983)
        bridge = left.n * share * step[:, None] * step[None]
        products = left._about_means() + right._about_means() + bridge
        zero = np.zeros_like(step)
        return Gram(names, self.functions, n, zero, products, left.mean + share * step)

    def centred(self, scales: Mapping[str, float] | None = None) -> Centred:
        """Means and sums about them, each function divided by its scale.

        An item with one decimal is stored as 304 for 30.4: its scale is 10. A product is divided
        by the scales of both its factors.
        """
        unit = units_of(self.functions, scales or {})
        ss = self._about_means() / (unit[:, None] * unit)[:, :, None]
        mean = self.mean / unit[:, None]
        return Centred(self.participants, self.functions, self.n.astype(np.float64), mean, ss)

    def _about_means(self) -> Floats:
        """Sums of products about the means (k × k × P), rows of constant functions cleared."""
        ss = np.empty(self.products.shape)
        for a, first in enumerate(self.totals):
            for b, second in enumerate(self.totals[: a + 1]):
                ss[a, b] = ss[b, a] = centred(self.n, self.products[a, b], first, second)
        varies = np.empty(self.totals.shape, dtype=bool)
        for a, mean in enumerate(self.mean):
            if not self.exact:
                ss[a, a] = clear_rounding(ss[a, a], self.products[a, a], self.n, mean)
            varies[a] = ss[a, a] > 0
        return np.where(varies[:, None] & varies[None], ss, 0.0)

    def _spread(self, names: tuple[Label, ...], index: Sequence[int]) -> Self:
        origins = None if self.origins is None else self.origins[:, index]
        return type(self)(
            names,
            self.functions,
            self.n[index],
            self.totals[:, index],
            self.products[:, :, index],
            origins,
        )

    def _laid_out(self, names: tuple[Label, ...]) -> Gram:
        """The same sums with empty entries for the names it lacks."""
        place = {label: index for index, label in enumerate(names)}
        index = [place[label] for label in self.participants]

        def lay(sums: Sums) -> Sums:
            wide = np.zeros((*sums.shape[:-1], len(names)), dtype=sums.dtype)
            wide[..., index] = sums
            return wide

        origins = None if self.origins is None else lay(self.origins).astype(np.float64)
        n = lay(self.n).astype(np.int64)
        return Gram(names, self.functions, n, lay(self.totals), lay(self.products), origins)


def units_of(functions: Sequence[str], scales: Mapping[str, float]) -> Floats:
    """What divides each function; a product is divided by the scales of both its factors."""
    if wrong := [f"{name} {scale}" for name, scale in scales.items() if not scale > 0]:
        raise ValueError(f"scales must be positive, not {', '.join(wrong)}")
    return np.array([prod(scales.get(part, 1.0) for part in name.split("*")) for name in functions])


def _order(label: Label) -> tuple[bool, Label]:
    return isinstance(label, str), label
