"""What a fitted model leaves over, from sums: conditional residuals, and whether there is a curve.

A conditional residual is the outcome minus the fixed effects and the participant's own predicted
intercept and slope. For participant i it is a combination of 1 and the row functions, the same for
all rows, so sums of residuals, of their squares and of products of neighbours are combinations of
sums over rows. Pure.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analytics.design import Design, Terms
from analytics.gram import Centred, Gram, product_of, units_of
from analytics.mixed_model import Estimate, Method, MixedModel, fit_design
from analytics.summing import Floats, Ints, Sums

SQUARED = "stress_within_squared"


@dataclass(frozen=True, eq=False)
class RowSums:
    """Sums over usable rows by participant and range of the predictor, C cells of k functions.

    Over rows: n (C), totals (k × C), products (k × k × C). Over rows whose prompt before on the
    same day is usable too: n_next (C), and of 1 and the functions there and before, crossed
    (k + 1 × k + 1 × C), the later row first.
    """

    participant: tuple[str, ...]
    place: Ints
    functions: tuple[str, ...]
    n: Ints
    totals: Sums
    products: Sums
    n_next: Ints
    crossed: Sums

    def of(self, participants: Sequence[str]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """The cells of these participants, and whose each of them is."""
        number = {code: at for at, code in enumerate(participants)}
        cells = [at for at, code in enumerate(self.participant) if code in number]
        owners = [number[self.participant[at]] for at in cells]
        return np.array(cells, dtype=np.intp), np.array(owners, dtype=np.intp)

    def gram(self, participants: Sequence[str]) -> Gram:
        """The sums of these participants over all ranges."""
        cells, owner = self.of(participants)

        def whole(sums: Sums) -> Sums:
            found = np.zeros((*sums.shape[:-1], len(participants)), dtype=sums.dtype)
            np.add.at(np.moveaxis(found, -1, 0), owner, np.moveaxis(sums[..., cells], -1, 0))
            return found

        n = whole(self.n).astype(np.int64)
        totals, products = whole(self.totals), whole(self.products)
        return Gram(tuple(participants), self.functions, n, totals, products)


class CellResiduals(NamedTuple):
    """Of each cell (C): whose it is, its range, its rows, Σ residual, Σ residual², and of pairs of
    neighbouring prompts their number and Σ of products."""

    owner: NDArray[np.intp]
    place: Ints
    n: Floats
    total: Floats
    squared: Floats
    n_next: Floats
    product: Floats


def residuals_of(
    model: MixedModel, design: Design, sums: RowSums, scales: Mapping[str, float]
) -> CellResiduals:
    """Conditional residuals by cell, in the items' units."""
    participants = [str(code) for code in model.participants]
    cells, owner = sums.of(participants)
    weights = _weights(model, design, sums.functions, scales)[owner]
    own = weights[:, 1:]
    n, totals = sums.n[cells].astype(np.float64), sums.totals[:, cells].astype(np.float64)
    along = np.einsum("cf,fc->c", own, totals)
    products = sums.products[:, :, cells].astype(np.float64)
    crossed = sums.crossed[:, :, cells].astype(np.float64)
    return CellResiduals(
        owner,
        sums.place[cells],
        n,
        weights[:, 0] * n + along,
        weights[:, 0] ** 2 * n
        + 2 * weights[:, 0] * along
        + np.einsum("cf,fgc,cg->c", own, products, own),
        sums.n_next[cells].astype(np.float64),
        np.einsum("cf,fgc,cg->c", weights, crossed, weights),
    )


def lag1(cells: CellResiduals, chosen: NDArray[np.bool_]) -> float | None:
    """Mean product of neighbouring residuals over their mean square; None without neighbours."""
    pairs, rows = cells.n_next[chosen].sum(), cells.n[chosen].sum()
    squared = cells.squared[chosen].sum()
    if not pairs or not squared > 0:
        return None
    return float(cells.product[chosen].sum() / pairs / (squared / rows))


def has_curve(design: Design) -> bool:
    """Whether the square of the predictor is in the model already."""
    square = product_of(design.predictor, design.predictor)
    return any(square in term.parts for term in design.fixed.values())


def curvature(
    design: Design, sums: RowSums, scales: Mapping[str, float], method: Method
) -> Estimate:
    """The coefficient of (predictor − own mean)², added to the model and fitted anew.

    Raises ValueError, in words, where the data cannot hold it.
    """
    if design.centred.own is not None:
        raise ValueError("it is made for independent residuals only")
    participants = [str(code) for code in design.centred.participants]
    centred = sums.gram(participants).centred(scales)
    curved = Terms(centred).product(design.predictor, design.predictor)
    wider = replace(
        design,
        centred=centred,
        fixed={**design.fixed, SQUARED: curved},
        yields=(*design.yields, SQUARED),
    )
    model = fit_design(wider)
    if SQUARED not in model.terms:
        raise ValueError("the predictor has too few levels for a curve")
    return model.contrast({SQUARED: 1.0}, method)


def _weights(
    model: MixedModel, design: Design, functions: Sequence[str], scales: Mapping[str, float]
) -> Floats:
    """Of 1 and of each function in stored units, by participant: what makes their residuals."""
    if not design.within:
        raise ValueError(
            "residuals are taken from models whose random slope is within participants"
        )
    centred, place = design.centred, {name: at + 1 for at, name in enumerate(functions)}
    found = np.zeros((len(centred), len(functions) + 1))
    found[:, place[design.outcome]] = 1.0
    for term, beta in zip(model.terms, model.coefficients, strict=True):
        column = design.fixed[term]
        found[:, 0] -= beta * (column.level - _at_means(centred, column.parts))
        for name, part in column.parts.items():
            found[:, place[name]] -= beta * part
    effects, x = model.personal, design.predictor
    own_mean = centred.own_mean_of(x)
    found[:, 0] -= effects.intercept_deviation - effects.slope_deviation * own_mean
    found[:, place[x]] -= effects.slope_deviation
    found[:, 1:] /= units_of(functions, scales)
    return found


def _at_means(centred: Centred, parts: Mapping[str, Floats]) -> Floats:
    total = np.zeros(len(centred))
    for name, part in parts.items():
        total = total + part * centred.mean_of(name)
    return total
