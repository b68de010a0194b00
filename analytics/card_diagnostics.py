"""Does the model fit? Residuals, their memory, a curve, and how slopes scatter. Pure."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.stats import norm

from analytics.card_attempts import attempt, content_of, mean_of_means
from analytics.mixed_model import Method, MixedModel
from analytics.plan_model import Fitted
from analytics.residuals import CellResiduals, RowSums, curvature, has_curve, lag1, residuals_of

MOST_POINTS = 100
_ZERO = 1e-4  # of an SD of slopes, relative to that of the residual over that of the predictor
Groups = Sequence[str | None]


def diagnostics(
    fitted: Fitted,
    sums: RowSums,
    scales: Mapping[str, float],
    ranges: Sequence[tuple[int, int]],
    groups: Groups,
    main: Method,
    missing: list[str],
) -> dict[str, Any]:
    """What a reader needs to trust the model; ``ranges`` of the predictor in stored integers."""
    model, design = fitted.model, fitted.design
    found = attempt("The residuals", lambda: residuals_of(model, design, sums, scales), missing)
    curve = None
    if not has_curve(design):
        curve = attempt(
            "The test of a curve", lambda: curvature(design, sums, scales, main), missing
        )
    x_scale = scales[design.predictor]
    limits = [(low / x_scale, high / x_scale) for low, high in ranges]
    return {
        "slope_variance_is_zero": _no_slopes(model),
        "residual_lag1": [] if found is None else _memory(found, model, groups),
        "nonlinearity": curve and {"estimate": curve.estimate} | (content_of(curve) or {}),
        "residuals": [] if found is None else _over_ranges(found, model, limits, groups),
        "slopes": _scatter(model),
    }


def _no_slopes(model: MixedModel) -> bool:
    """Whether people do not differ in their coupling, as the model sees it."""
    return bool(model.engine.criterion.theta[1:] @ model.engine.criterion.theta[1:] < _ZERO**2)


def _memory(cells: CellResiduals, model: MixedModel, groups: Groups) -> list[dict[str, Any]]:
    everybody = np.ones(len(cells.owner), dtype=bool)
    rows = [{"arm": None} | _lag1(cells, everybody)]
    if len(groups) > 1:
        rows += [{"arm": arm} | _lag1(cells, _in_arm(cells, model, arm)) for arm in groups]
    return rows


def _lag1(cells: CellResiduals, chosen: Any) -> dict[str, Any]:
    return {"lag1": lag1(cells, chosen), "neighbours": int(cells.n_next[chosen].sum())}


def _in_arm(cells: CellResiduals, model: MixedModel, arm: str | None) -> Any:
    if arm is None:
        return np.ones(len(cells.owner), dtype=bool)
    return (np.array(model.arm_of) == arm)[cells.owner]


def _over_ranges(
    cells: CellResiduals,
    model: MixedModel,
    limits: Sequence[tuple[float, float]],
    groups: Groups,
) -> list[dict[str, Any]]:
    """The mean residual in each range by arm: means of participants' own means, t intervals."""
    rows = []
    for arm in groups:
        here = _in_arm(cells, model, arm)
        for place, (low, high) in enumerate(limits, start=1):
            chosen = here & (cells.place == place)
            own = cells.total[chosen] / cells.n[chosen]
            rows.append({"arm": arm, "from": low, "to": high} | mean_of_means(own))
    return rows


def _scatter(model: MixedModel) -> list[dict[str, float]]:
    """Predicted deviations of slopes against normal quantiles, at most a hundred of them."""
    ordered = np.sort(model.personal.slope_deviation)
    size = len(ordered)
    shown = np.unique(np.linspace(0, size - 1, min(size, MOST_POINTS)).round().astype(int))
    quantiles = norm.ppf((shown + 0.5) / size)
    return [
        {"normal": float(z), "deviation": float(ordered[at])}
        for z, at in zip(quantiles, shown, strict=True)
    ]
