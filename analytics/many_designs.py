"""Many designs of the coupling model at once: simulated trials that share their arms. Pure.

    craving ~ stress_within * arm + stress_between + (1 + stress_within | participant)

The axis of models comes before that of participants. What does not hold every term beyond doubt
is marked, and left to `analytics.mixed_model` to decide.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analytics.summing import Floats

FEWEST_MOVERS = 3  # people of an arm whose stress varies; with fewer, nothing is decided here
_SAME = 1e-6  # points: means, or cravings about a line, that do not differ

Booleans = NDArray[np.bool_]
Places = NDArray[np.int64]


class ManySums(NamedTuple):
    """n, Σx, Σy, Σx², Σxy, Σy² of M models with the same P people, whole numbers, each M × P."""

    n: Floats
    x: Floats
    y: Floats
    xx: Floats
    xy: Floats
    yy: Floats


@dataclass(frozen=True)
class Designs:
    """What the criterion needs of M models with p terms.

    n, ss: Z'Z; level, slope: z (all M × P). on_level, on_slope: the rows of A (M × P × p).
    residual, n_rows: Σ SS about own lines and N (M). unit: of a slope, craving per stress (M).
    regular: of all models that were asked for, those whose data hold every term. M counts these.
    """

    n: Floats
    ss: Floats
    level: Floats
    slope: Floats
    on_level: Floats
    on_slope: Floats
    residual: Floats
    n_rows: Floats
    unit: Floats
    regular: Booleans

    @property
    def error_df(self) -> Floats:
        """N − p."""
        return np.asarray(self.n_rows - self.on_level.shape[2])


def designs(sums: ManySums, arm: Places, *, by_arm: bool = True) -> Designs:
    """The designs, in units near 1. arm: the place of each person's, the reference 0 (P).

    Terms: intercept, stress_within, stress_between, the arms, and stress_within by arm unless
    the arms are to share one (`by_arm` False).
    """
    regular = _regular(sums, arm)
    kept = ManySums(*(each[regular] for each in sums))
    n, pairs = kept.n, kept.n.sum(axis=1)
    ss_xx, slope, residual = _own_lines(kept)
    unit_x, unit_y = np.sqrt(ss_xx.sum(axis=1) / pairs), np.sqrt(residual / pairs)
    level = kept.y / np.maximum(n, 1) - (kept.y.sum(axis=1) / pairs)[:, None]
    between = _between(kept)
    between /= np.sqrt((n * between**2).sum(axis=1) / pairs)[:, None]
    on_level, on_slope = _columns(between, arm, by_arm)
    return Designs(
        n=n,
        ss=ss_xx / unit_x[:, None] ** 2,
        level=level / unit_y[:, None],
        slope=slope * (unit_x / unit_y)[:, None],
        on_level=on_level,
        on_slope=on_slope,
        residual=residual / unit_y**2,
        n_rows=pairs,
        unit=unit_y / unit_x,
        regular=regular,
    )


def _own_lines(sums: ManySums) -> tuple[Floats, Floats, Floats]:
    """SS of stress within and own slopes (M × P), and Σ SS of craving about own lines (M)."""
    n, x, y, xx, xy, yy = sums
    count = np.maximum(n, 1)
    ss_xx, ss_xy, ss_yy = ((n * b - a) / count for a, b in ((x * x, xx), (x * y, xy), (y * y, yy)))
    slope = np.divide(ss_xy, ss_xx, out=np.zeros_like(ss_xy), where=ss_xx > 0)
    return ss_xx, slope, np.maximum(ss_yy - slope * ss_xy, 0.0).sum(axis=1)


def _between(sums: ManySums) -> Floats:
    """Own means minus their unweighted mean, 0 for people without an answer (M × P)."""
    there = sums.n > 0
    mean = sums.x / np.maximum(sums.n, 1)
    middle = mean.sum(axis=1) / np.maximum(there.sum(axis=1), 1)
    return np.where(there, mean - middle[:, None], 0.0)


def _columns(between: Floats, arm: Places, by_arm: bool) -> tuple[Floats, Floats]:
    belongs = (arm[:, None] == np.arange(1, arm.max() + 1)).astype(np.float64)
    others = belongs.shape[1]
    on_level, on_slope = np.zeros((2, *between.shape, 3 + others * (1 + by_arm)))
    on_level[:, :, 0], on_level[:, :, 2] = 1.0, between
    on_level[:, :, 3 : 3 + others] = belongs
    on_slope[:, :, 1] = 1.0
    if by_arm:
        on_slope[:, :, 3 + others :] = belongs
    return on_level, on_slope


def _regular(sums: ManySums, arm: Places) -> Booleans:
    ss_xx, _, residual = _own_lines(sums)
    moves = ss_xx > 0
    of_arm = np.stack([moves[:, arm == each].sum(axis=1) for each in range(arm.max() + 1)])
    spare = sums.n.sum(axis=1) > (sums.n > 0).sum(axis=1) + moves.sum(axis=1)
    differ = np.abs(_between(sums)).max(axis=1) > _SAME
    return np.asarray((of_arm.min(axis=0) >= FEWEST_MOVERS) & spare & differ & (residual > _SAME))
