"""Fixed effects out of row functions and participants' multipliers, and the model's summaries.

A column of X is, for participant i and row t, a combination of row functions with multipliers
that belong to the participant:

    X_it = level_i + Σ_f part_fi (f_it − mean of f_i).

That is all it takes: stress minus the own mean is the row function stress with part 1; the own
mean is a level; an arm multiplies both by 0 or 1; and (stress − own mean) × (pain − own mean) is
stress*pain with part 1, stress with part −mean pain, pain with part −mean stress. So allocation
meets the sums only here, and any interaction is a product of multipliers.

`summarise` then splits each participant's columns into what lies along the random effects
Z = (1, x), which is two numbers per column, and what is orthogonal to them, where V is σ²I.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, TypeAlias

import numpy as np

from analytics.gram import Centred, product_of
from analytics.moments import Within
from analytics.summaries import Rest, Summaries
from analytics.summing import Floats

_RANK_TOLERANCE = 1e-7  # R's qr()
_DIRECTION = 1e-10  # of a participant's own variation; less is rounding

Blocks: TypeAlias = dict[str, Floats]


@dataclass(frozen=True, eq=False)
class Term:
    """A column: a level per participant and multipliers of row functions about own means (P)."""

    level: Floats
    parts: Mapping[str, Floats] = field(default_factory=dict)

    def times(self, multiplier: Floats) -> Term:
        """The interaction with something that belongs to the participant."""
        parts = {name: part * multiplier for name, part in self.parts.items()}
        return Term(self.level * multiplier, parts)

    def __add__(self, other: Term) -> Term:
        parts = dict(self.parts)
        for name, part in other.parts.items():
            parts[name] = parts[name] + part if name in parts else part
        return Term(self.level + other.level, parts)


class Terms:
    """The columns that can be made of one set of sums."""

    def __init__(self, centred: Centred) -> None:
        self.centred = centred
        self.ones = np.ones(len(centred))
        self.zeros = np.broadcast_to(np.float64(0), len(centred))

    def level(self, multiplier: Floats | None = None) -> Term:
        """A number per participant; 1 by default."""
        return Term(self.ones if multiplier is None else np.asarray(multiplier, dtype=np.float64))

    def within(self, function: str) -> Term:
        """A row function minus the participant's own mean."""
        if self.centred.own is None:
            self.centred.place(function)
            return Term(self.zeros, {function: self.ones})
        apart = self.centred.mean_of(function) - self.centred.own_mean_of(function)
        return Term(apart, {function: self.ones})

    def raw(self, function: str, origin: float = 0.0) -> Term:
        """A row function minus the same number for everybody."""
        return Term(self.centred.mean_of(function) - origin, {function: self.ones})

    def between(self, function: str) -> Term:
        """The own mean minus the unweighted mean of own means; 0 where they are all the same."""
        mean = self.centred.own_mean_of(function)
        spread = float(np.sqrt(self.centred.ss_of(function, function).max()))
        column = mean - mean.mean()
        # Means that differ by rounding alone are the same.
        if np.abs(column).max() <= 1e-10 * max(float(np.abs(mean).max()), spread):
            column = np.zeros_like(column)
        return Term(column)

    def product(self, first: str, second: str, *, raw: bool = False) -> Term:
        """(first − own mean) × (second − own mean); with ``raw`` the second is taken as it is.

        Needs the sums of the row function ``first*second``.
        """
        name, mean = product_of(first, second), self.centred.mean_of
        a = self.centred.own_mean_of(first)
        b = self.zeros if raw else self.centred.own_mean_of(second)
        parts = {name: self.ones}
        for function, part in ((first, -b), (second, -a)):
            parts[function] = parts[function] + part if function in parts else part
        return Term(mean(name) - b * mean(first) - a * mean(second) + a * b, parts)


@dataclass(frozen=True, eq=False)
class Design:
    """One model: outcome, fixed effects by name, and the predictor whose slope is random.

    ``fixed`` in the order of the report; of terms that depend on each other, the last go first,
    and those in ``yields`` before all others. ``within``: the random slope is that of the
    predictor about the own mean; else of the predictor as it is. ``arms`` (the reference first)
    and ``arm_of`` are for the report: the columns already know them.
    """

    centred: Centred
    outcome: str
    predictor: str
    fixed: Mapping[str, Term]
    yields: tuple[str, ...] = ()
    within: bool = True
    arms: tuple[str, ...] = ()
    arm_of: tuple[str, ...] = ()

    @property
    def pairs(self) -> Within:
        """Predictor and outcome alone."""
        x, y, c = self.predictor, self.outcome, self.centred
        means, ss = (c.mean_of(x), c.mean_of(y)), (c.ss_of(x, x), c.ss_of(x, y), c.ss_of(y, y))
        return Within(c.n, *means, *ss)

    def slope_on_predictor(self, term: str) -> Floats:
        """What a coefficient adds to each participant's slope, other functions at own means."""
        slope = np.zeros(len(self.centred))
        for name, part in self.fixed[term].parts.items():
            slope = slope + part * self._derivative(name)
        return slope

    def _derivative(self, function: str) -> Floats | float:
        """Of a row function by the predictor: Σ over its factors of the others' mean."""
        factors = function.split("*")
        total: Floats | float = 0.0
        for place, factor in enumerate(factors):
            if factor == self.predictor:
                others = factors[:place] + factors[place + 1 :]
                total = total + (self.centred.own_mean_of("*".join(others)) if others else 1.0)
        return total


class Units(NamedTuple):
    """One engine unit of the predictor, of the outcome and of each coefficient, in item units.

    ``centre`` was taken off the outcome, ``origin`` off a predictor that is not centred.
    """

    x: float
    y: float
    centre: float
    origin: float
    coefficients: Floats


def summarise(design: Design) -> tuple[tuple[str, ...], Units, Summaries]:
    """The terms that the data hold, in the design's order, and their summaries in units near 1.

    Raises ValueError, in words, where nothing is left over within participants.
    """
    within = design.pairs
    spread = _Spread(design)
    columns = {name: spread.blocks(term) for name, term in design.fixed.items()}
    kept = independent(columns, design.yields)
    pairs = float(within.n.sum())
    sizes = np.array([np.sqrt(_dot(columns[name], columns[name]) / pairs) for name in kept])
    x = float(np.sqrt(within.ss_xx.sum() / pairs))
    residual, rest_y = spread.outcome()
    if residual <= _DIRECTION * float(within.ss_residual.sum()):
        raise ValueError(
            f"every participant's few answers are fitted exactly by own terms of "
            f"{', '.join((spread.x, *spread.others))}, so residual variation cannot be told: it "
            "takes more answers of a participant"
        )
    y = float(np.sqrt(residual / pairs))
    centre = float(within.n @ within.mean_y / pairs)
    origin = 0.0 if design.within else float(within.n @ within.mean_x / pairs)
    shift = None if design.within else (within.mean_x - origin) / x
    if design.within and design.centred.own is not None:
        shift = (within.mean_x - design.centred.own_mean_of(design.predictor)) / x
    on_level, on_slope = spread.along([design.fixed[name] for name in kept])
    level, slope = (within.mean_y - centre) / y, within.slope * (x / y)
    on_level, on_slope = on_level / sizes, on_slope * (x / sizes)
    ss, cross = within.ss_xx / x**2, None
    if shift is not None:
        level, on_level = level - slope * shift, on_level - on_slope * shift[:, None]
        ss, cross = ss + within.n * shift**2, within.n * shift
    level_at, slope_at = _in_use(on_level), _in_use(on_slope)
    rest = None
    if rest_y is not None:
        matrix = np.stack([columns[name]["rest"] for name in kept], axis=2)
        rest = Rest(matrix / sizes, rest_y / y)
    summaries = Summaries(
        n=within.n,
        ss=ss,
        level=level,
        slope=slope,
        on_level=np.ascontiguousarray(on_level[:, level_at]),
        on_slope=np.ascontiguousarray(on_slope[:, slope_at]),
        level_at=level_at,
        slope_at=slope_at,
        residual=residual / y**2,
        n_rows=float(design.centred.counts.sum()),
        cross=cross,
        rest=rest,
    )
    return kept, Units(x, y, centre, origin, y / sizes), summaries


def independent(columns: Mapping[str, Blocks], yields: Iterable[str] = ()) -> tuple[str, ...]:
    """Columns that add to those before them (Gram–Schmidt), those that yield judged last."""
    last = set(yields)
    order = [name for name in columns if name not in last]
    basis: list[Blocks] = []
    kept: set[str] = set()
    for name in [*order, *(name for name in columns if name in last)]:
        rest, size = columns[name], np.sqrt(_dot(columns[name], columns[name]))
        for _ in range(2):
            for direction in basis:
                rest = _minus(rest, _dot(direction, rest), direction)
        left = np.sqrt(_dot(rest, rest))
        if left > _RANK_TOLERANCE * size:
            basis.append({key: block / left for key, block in rest.items()})
            kept.add(name)
    return tuple(name for name in columns if name in kept)


class _Spread:
    """A design's columns in each participant's own directions: 1, x, and what x leaves of others.

    The directions are orthogonal within a participant, so a column's blocks are √n times its
    level, √SS times its part along x, and its coordinates along the eigen-root of the others.
    """

    def __init__(self, design: Design) -> None:
        self.centred, self.pairs = design.centred, design.pairs
        self.x = design.predictor
        used = {name for term in design.fixed.values() for name in term.parts}
        self.others = tuple(name for name in self.centred.functions if name in used - {self.x})
        self.y = design.outcome
        self.root: Floats | None = None
        self.inverse: Floats | None = None
        if self.others:
            self.root, self.inverse = self._roots()

    def along(self, terms: Sequence[Term]) -> tuple[Floats, Floats]:
        """Levels and parts along x of these terms, each P × p."""
        levels = np.stack([np.asarray(term.level) for term in terms], axis=1)
        return levels, np.stack([self._part_along(term) for term in terms], axis=1)

    def blocks(self, term: Term) -> Blocks:
        """The column's coordinates, blocks that are zero left out, "rest" (P × m) where it is."""
        along = self._part_along(term)
        found = {
            "level": np.sqrt(self.pairs.n) * term.level,
            "slope": np.sqrt(self.pairs.ss_xx) * along,
        }
        found = {name: block for name, block in found.items() if block.any()}
        if self.root is not None:
            parts = np.stack([self._part(term, name) for name in self.others], axis=1)
            found["rest"] = np.einsum("iab,ib->ia", self.root, parts)
        return found

    def outcome(self) -> tuple[float, Floats | None]:
        """Σ SS of the outcome about everything, and its coordinates along the rest (P × m)."""
        if self.inverse is None:
            return float(self.pairs.ss_residual.sum()), None
        with_y = np.stack([self._left(name, self.y) for name in self.others], axis=1)
        rest = np.einsum("iab,ib->ia", self.inverse, with_y)
        left = self.pairs.ss_residual - (rest * rest).sum(axis=1)
        return float(np.maximum(left, 0.0).sum()), rest

    def _part(self, term: Term, function: str) -> Floats:
        return np.broadcast_to(term.parts.get(function, np.float64(0)), len(self.centred))

    def _part_along(self, term: Term) -> Floats:
        along = np.array(self._part(term, self.x))
        for name in self.others:
            if name in term.parts:
                along += term.parts[name] * self._slope_on_x(name)
        return along

    def _slope_on_x(self, function: str) -> Floats:
        ss = self.pairs.ss_xx
        with_x = self.centred.ss_of(self.x, function)
        return np.divide(with_x, ss, out=np.zeros_like(ss), where=ss > 0)

    def _left(self, first: str, second: str) -> Floats:
        """Σ of products of what x leaves of two functions."""
        along = self._slope_on_x(first) * self.centred.ss_of(self.x, second)
        return self.centred.ss_of(first, second) - along

    def _roots(self) -> tuple[Floats, Floats]:
        """R with R'R the others' Gram (P × m × m), and what turns products with them into R-space.

        Functions are put on their pooled spread first, so that one limit tells a direction that a
        participant has from rounding.
        """
        spread = np.array([np.sqrt(self.centred.ss_of(f, f).sum()) or 1.0 for f in self.others])
        gram = np.stack(
            [np.stack([self._left(a, b) for b in self.others], axis=1) for a in self.others], axis=1
        )
        values, vectors = np.linalg.eigh(gram / np.outer(spread, spread))
        own = np.stack([self.centred.ss_of(f, f) for f in self.others], axis=1) / spread**2
        there = values > _DIRECTION * own.max(axis=1)[:, None]
        root = np.sqrt(np.where(there, values, 0.0))
        inverse = np.divide(1.0, root, out=np.zeros_like(root), where=there)
        turned = vectors.transpose(0, 2, 1)
        return root[:, :, None] * turned * spread, inverse[:, :, None] * turned / spread


def _in_use(matrix: Floats) -> tuple[int, ...]:
    return tuple(int(place) for place in np.flatnonzero(matrix.any(axis=0)))


def _dot(one: Blocks, other: Blocks) -> float:
    return float(sum(np.vdot(one[name], other[name]) for name in one.keys() & other.keys()))


def _minus(one: Blocks, factor: float, other: Blocks) -> Blocks:
    if factor == 0:
        return one
    difference = dict(one)
    for name, block in other.items():
        difference[name] = difference.get(name, np.zeros_like(block)) - factor * block
    return difference
