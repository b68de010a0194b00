"""Residuals that remember: AR(1) within blocks of prompts, or a random intercept per day.

Both make the residuals' covariance σ²R with an R whose inverse is known, so sums over whitened rows
are combinations of sums over rows: the engine gets another Gram, and is none the wiser.

AR(1) in a block (a day, say) of neighbours with correlation φ: R⁻¹ is tridiagonal, and

    W'R⁻¹W = (Σ ww' + φ² Σ (neighbours − 1) ww' − φ Σ (w_t w'_{t+1} + w_{t+1} w'_t)) / (1 − φ²),

three integer Grams per participant. Day intercepts with variance δσ²: R⁻¹ = I − δ11'/(1 + δn) in a
day, so each day's count and totals are enough. log|R| goes to the deviance; the one parameter is
found by minimising it, and the other estimates are given that parameter, as nlme's are.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import minimize_scalar

from analytics.design import Design
from analytics.gram import Centred, Gram, units_of
from analytics.mixed_model import MixedModel, fit_design
from analytics.moments import Label
from analytics.summing import Floats, Ints, Sums, clear_rounding, sum_by


class Serial(NamedTuple):
    """The model at the best φ (AR(1)) or δ (day variance over residual variance)."""

    model: MixedModel
    parameter: float


@dataclass(frozen=True, eq=False)
class Neighbours:
    """Sums for AR(1): over rows, over rows times (neighbours − 1), and over pairs of neighbours.

    ``spare`` (P) is the number of rows beyond the first of their block.
    """

    whole: Gram
    inner: Gram
    pairs: Gram
    spare: Ints

    @classmethod
    def from_rows(
        cls,
        participant: Sequence[Label],
        block: Sequence[object],
        columns: Mapping[str, ArrayLike],
    ) -> Self:
        """Rows in order; neighbours are consecutive rows of one participant and block.

        Raises ValueError for ratings that are not whole numbers in stored units.
        """
        whole = Gram.from_rows(participant, columns)
        rows = _whole_numbers(whole, columns)
        person = _person(whole, participant)
        alike = (person[1:] == person[:-1]) & (np.asarray(block)[1:] == np.asarray(block)[:-1])
        linked = np.concatenate([[False], alike, [False]])
        inner = linked[1:].astype(np.int64) + linked[:-1] - 1
        first, second = np.flatnonzero(alike), np.flatnonzero(alike) + 1
        spare = np.bincount(person[second], minlength=len(whole.n)).astype(np.int64)
        return cls(
            whole,
            _weighted(whole, person, rows * inner, rows, inner),
            _paired(whole, person[first], rows[:, first], rows[:, second]),
            spare,
        )

    def centred(self, phi: float, scales: Mapping[str, float] | None = None) -> Centred:
        """Sums over rows whitened by φ, −1 < φ < 1."""
        weights = np.array([1.0, phi * phi, -phi]) / (1 - phi * phi)
        grams = (self.whole, self.inner, self.pairs)
        n = sum(w * g.n for w, g in zip(weights, grams, strict=True))
        totals = sum(w * g.totals for w, g in zip(weights, grams, strict=True))
        products = sum(w * g.products for w, g in zip(weights, grams, strict=True))
        log_det = float(self.spare.sum()) * float(np.log1p(-phi * phi))
        return _whitened(self.whole, n, totals, products, log_det, scales)


@dataclass(frozen=True, eq=False)
class Days:
    """Sums over rows, and of each day its participant, number of rows and totals (k × days)."""

    whole: Gram
    person: NDArray[np.intp]
    n: Ints
    totals: Sums

    @classmethod
    def from_rows(
        cls, participant: Sequence[Label], day: Sequence[int], columns: Mapping[str, ArrayLike]
    ) -> Self:
        """Rows in any order; a day is one of a participant's."""
        whole = Gram.from_rows(participant, columns)
        rows = _whole_numbers(whole, columns)
        person = _person(whole, participant)
        _, place = np.unique(np.asarray(day), return_inverse=True)
        days, row = np.unique(person * (place.max() + 1) + place, return_inverse=True)
        n = np.bincount(row).astype(np.int64)
        totals: Sums = np.stack([sum_by(row, len(days), column) for column in rows])  # type: ignore[assignment]
        return cls(whole, days // (place.max() + 1), n, totals)

    def centred(self, delta: float, scales: Mapping[str, float] | None = None) -> Centred:
        """Sums over rows whitened by day intercepts of variance δσ², δ ≥ 0."""
        shrink, size = delta / (1 + delta * self.n), len(self.whole.n)

        def less(column: Floats) -> Floats:
            return np.asarray(np.bincount(self.person, shrink * column, size))

        n = self.whole.n - less(np.square(self.n, dtype=np.float64))
        taken_off = np.stack([less(self.n * total) for total in self.totals])
        totals = np.asarray(self.whole.totals - taken_off, dtype=np.float64)
        taken = [[less(one * other) for other in self.totals] for one in self.totals]
        products = self.whole.products - np.array(taken)
        log_det = float(np.log1p(delta * self.n).sum())
        return _whitened(self.whole, n, totals, products, log_det, scales)


def fit_ar1(sums: Neighbours, design_of: Callable[[Centred], Design], **scales: float) -> Serial:
    """Fit with the φ of the highest restricted likelihood; ``scales`` as in ``Gram.centred``."""
    return _best(lambda phi: design_of(sums.centred(phi, scales)), (-0.99, 0.99))


def fit_days(sums: Days, design_of: Callable[[Centred], Design], **scales: float) -> Serial:
    """Fit with the best ratio δ of day to residual variance, 0 to 100; exactly 0 where that is."""
    found = _best(lambda root: design_of(sums.centred(root * root, scales)), (0.0, 10.0))
    plain = fit_design(design_of(sums.centred(0.0, scales)))
    if plain.log_likelihood >= found.model.log_likelihood:
        return Serial(plain, 0.0)
    return Serial(found.model, found.parameter**2)


def _best(design_at: Callable[[float], Design], bounds: tuple[float, float]) -> Serial:
    best = minimize_scalar(
        lambda at: -fit_design(design_at(float(at))).log_likelihood,
        bounds=bounds,
        method="bounded",
        options={"xatol": 1e-9},
    )
    parameter = float(best.x)
    return Serial(fit_design(design_at(parameter)), parameter)


def _whole_numbers(whole: Gram, columns: Mapping[str, ArrayLike]) -> Ints:
    if not whole.exact:
        raise ValueError("neighbouring rows are summed in whole stored units: scale decimals first")
    return np.stack([np.asarray(column, dtype=np.int64) for column in columns.values()])


def _person(whole: Gram, participant: Sequence[Label]) -> NDArray[np.intp]:
    place = {label: index for index, label in enumerate(whole.participants)}
    return np.array([place[label] for label in np.asarray(participant).tolist()], dtype=np.intp)


def _weighted(whole: Gram, person: NDArray[np.intp], left: Ints, right: Ints, count: Ints) -> Gram:
    """Sums over rows of counts, of the left functions, and of left × right."""
    size = len(whole.n)
    totals: Sums = np.stack([sum_by(person, size, one) for one in left])  # type: ignore[assignment]
    products: Sums = np.stack(  # type: ignore[assignment]
        [np.stack([sum_by(person, size, one * other) for other in right]) for one in left]
    )
    n = sum_by(person, size, count).astype(np.int64)
    return Gram(whole.participants, whole.functions, n, totals, products)


def _paired(whole: Gram, person: NDArray[np.intp], one: Ints, other: Ints) -> Gram:
    """Σ (w_t w'_{t+1} + w_{t+1} w'_t) over neighbours, 1 among the functions."""
    ones = np.ones(one.shape[1], dtype=np.int64)
    there = _weighted(whole, person, one, other, ones)
    back = _weighted(whole, person, other, one, ones)
    totals, products = there.totals + back.totals, there.products + back.products
    return Gram(whole.participants, whole.functions, there.n + back.n, totals, products)


def _whitened(
    whole: Gram,
    n: Floats,
    totals: Floats,
    products: Floats,
    log_det: float,
    scales: Mapping[str, float] | None,
) -> Centred:
    unit = units_of(whole.functions, scales or {})
    mean = totals / n
    ss = products - totals[:, None] * totals[None] / n
    for a in range(len(mean)):
        ss[a, a] = clear_rounding(ss[a, a], products[a, a], whole.n, mean[a])
    varies = np.stack([ss[a, a] > 0 for a in range(len(mean))])
    ss = np.where(varies[:, None] & varies[None], ss, 0.0)
    return Centred(
        whole.participants,
        whole.functions,
        n,
        mean / unit[:, None],
        ss / np.outer(unit, unit)[:, :, None],
        own=whole.mean / unit[:, None],
        rows=whole.n.astype(np.float64),
        log_det=log_det,
    )
