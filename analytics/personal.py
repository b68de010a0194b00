"""Each participant's own coupling: the least-squares slope of craving on stress within a person.

A raw slope is noisy; beside it belongs the shrunken slope of the mixed model. Where there is no
slope, or no standard error that means anything, there is a reason instead of a number.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import atanh, sqrt, tanh
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from analytics.moments import Label, Moments, Within

MINIMUM_TO_ESTIMATE = 3  # a line through two pairs has no residual
MINIMUM_TO_DISPLAY = 10
_NORMAL = NormalDist().inv_cdf(0.975)


class Reason(StrEnum):
    """Why a personal coupling is not estimable."""

    TOO_FEW_PAIRS = "too_few_pairs"
    CONSTANT_STRESS = "constant_stress"
    CONSTANT_CRAVING = "constant_craving"
    EXACT_LINE = "exact_line"


@dataclass(frozen=True)
class PersonalCoupling:
    """One participant's own slope, in the items' units; all numbers None when there is a reason.

    df = n - 2. interval: 95 % t interval of the slope. r: Pearson's correlation within the person
    with its Fisher interval (None below 4 pairs). displayable: estimable, with at least 10 pairs.
    """

    participant: Label
    n: int
    slope: float | None = None
    standard_error: float | None = None
    df: int | None = None
    interval: tuple[float, float] | None = None
    r: float | None = None
    r_interval: tuple[float, float] | None = None
    reason: Reason | None = None

    @property
    def displayable(self) -> bool:
        """Whether the slope may be shown to people."""
        return self.reason is None and self.n >= MINIMUM_TO_DISPLAY


def personal_couplings(
    moments: Moments, *, x_scale: float = 1, y_scale: float = 1
) -> list[PersonalCoupling]:
    """Own slopes in the order of ``moments.participants``; scales as in ``Moments.within``.

    slope = SS_xy / SS_xx, SE² = (SS_yy - slope · SS_xy) / ((n - 2) SS_xx).
    """
    within = moments.within(x_scale, y_scale)
    reasons = _reasons(within)
    # Divisors of participants without an estimate are never shown; 1 keeps them quiet.
    fine = np.array([reason is None for reason in reasons], dtype=bool)
    df = np.where(fine, within.n - 2, 1.0)
    ss_xx = np.where(fine, within.ss_xx, 1.0)
    ss_yy = np.where(fine, within.ss_yy, 1.0)
    slope = within.slope
    se = np.sqrt(within.ss_residual / df / ss_xx)
    reach = student.ppf(0.975, df) * se
    r = within.ss_xy / np.sqrt(ss_xx * ss_yy)
    low, high = slope - reach, slope + reach
    return [
        PersonalCoupling(label, int(n), reason=reason)
        if reason
        else PersonalCoupling(
            label,
            int(n),
            slope=float(slope[i]),
            standard_error=float(se[i]),
            df=int(n) - 2,
            interval=(float(low[i]), float(high[i])),
            r=float(r[i]),
            r_interval=_fisher(float(r[i]), int(n)),
        )
        for i, (label, n, reason) in enumerate(
            zip(moments.participants, moments.n, reasons, strict=True)
        )
    ]


def _reasons(within: Within) -> list[Reason | None]:
    """The first reason that applies to each participant."""
    failing: list[tuple[Reason, NDArray[np.bool_]]] = [
        (Reason.TOO_FEW_PAIRS, within.n < MINIMUM_TO_ESTIMATE),
        (Reason.CONSTANT_STRESS, within.ss_xx == 0),
        (Reason.CONSTANT_CRAVING, within.ss_yy == 0),
        (Reason.EXACT_LINE, within.ss_residual == 0),
    ]
    reasons: list[Reason | None] = [None] * len(within.n)
    for reason, fails in reversed(failing):
        for i in np.flatnonzero(fails):
            reasons[i] = reason
    return reasons


def _fisher(r: float, n: int) -> tuple[float, float] | None:
    """95 % interval of a correlation by Fisher's z."""
    if n <= 3:
        return None
    reach = _NORMAL / sqrt(n - 3)
    z = atanh(max(min(r, 1 - 1e-15), 1e-15 - 1))
    return tanh(z - reach), tanh(z + reach)
