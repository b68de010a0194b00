"""What the model predicts of each participant: random effects, shrunken slopes, their errors."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from analytics.design import Units
from analytics.reml import Criterion
from analytics.summaries import Summaries, relative_covariance, residuals, weights
from analytics.summing import Floats


@dataclass(frozen=True, eq=False)
class PersonalEffects:
    """Predicted random effects, arrays of length P in the order of the model's participants.

    intercept_deviation, slope_deviation: b_i (BLUP). slope_deviation_sd: conditional SD of b_i
    given the estimates (lme4's condVar). shrunken_slope: fixed + arm + b_i, prediction_error: its
    standard error including that of the fixed effects. reliability: τ²/(τ² + σ²/SS), 0 to 1.
    """

    intercept_deviation: Floats
    slope_deviation: Floats
    slope_deviation_sd: Floats
    shrunken_slope: Floats
    prediction_error: Floats
    reliability: Floats


@dataclass(frozen=True, eq=False)
class Engine:
    """The fit in the units it was computed in, for methods that build on it.

    Terms are in the same order; ``units.coefficients`` turn the engine's into the items' units.
    sigma2 is σ² in the engine's units. own_slope (P × p): what each coefficient adds to a
    participant's slope.
    """

    summaries: Summaries
    criterion: Criterion
    units: Units
    sigma2: float
    own_slope: Floats

    @property
    def slope_unit(self) -> float:
        """One engine unit of a slope, in item units."""
        return self.units.y / self.units.x


def as_reported(engine: Engine) -> Floats:
    """Turns (intercept, slope) at the engine's origin of the predictor into those at its zero."""
    return np.array([[1.0, -engine.units.origin / engine.units.x], [0.0, 1.0]])


def personal_effects(engine: Engine, ss_within: Floats) -> PersonalEffects:
    """BLUPs b = D u, Var(b̂ − b | β) = σ²(D − DWD).

    A whole slope is l'β + b₁ for the row l of ``own_slope``; the error of β̂ enters through
    l − A'WD(0, 1)', as A'WD is what β takes from b.
    """
    summaries, criterion = engine.summaries, engine.criterion
    d, sigma, unit = relative_covariance(criterion.theta), np.sqrt(engine.sigma2), engine.slope_unit
    _, w = weights(summaries, d)
    _, u = residuals(summaries, criterion.beta, w)
    b = as_reported(engine) @ d @ u
    from_intercept, from_slope = (  # the slope's row of D W
        d[1, 0] * w[0] + d[1, 1] * w[1],
        d[1, 0] * w[1] + d[1, 1] * w[2],
    )
    conditional = np.maximum(d[1, 1] - from_intercept * d[0, 1] - from_slope * d[1, 1], 0.0)
    left = engine.own_slope.copy()
    left[:, summaries.level_at] -= from_intercept[:, None] * summaries.on_level
    left[:, summaries.slope_at] -= from_slope[:, None] * summaries.on_slope
    fixed = np.einsum("ij,ij->i", left @ criterion.unscaled_vcov, left)
    signal = d[1, 1] * ss_within
    return PersonalEffects(
        intercept_deviation=b[0] * engine.units.y,
        slope_deviation=b[1] * unit,
        slope_deviation_sd=np.sqrt(conditional) * sigma * unit,
        shrunken_slope=(engine.own_slope @ criterion.beta + b[1]) * unit,
        prediction_error=np.sqrt(conditional + fixed) * sigma * unit,
        reliability=signal / (signal + 1),
    )
