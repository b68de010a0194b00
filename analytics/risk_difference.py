"""The difference of two proportions with Newcombe's interval. Pure.

Newcombe, R. G. (1998). Interval estimation for the difference between independent proportions:
comparison of eleven methods. Statistics in Medicine 17, 873-890; his method 10, from Wilson's
intervals of the two proportions, without a correction for continuity.
"""

from math import sqrt
from typing import NamedTuple

from scipy import stats

Z = float(stats.norm.ppf(0.975))


class RiskDifference(NamedTuple):
    """The proportion of one group minus that of the reference, with its 95 % interval."""

    estimate: float
    interval: tuple[float, float]


def wilson(events: int, n: int) -> tuple[float, float]:
    """The 95 % interval of a proportion. Raises ValueError for an empty group."""
    if n < 1 or not 0 <= events <= n:
        raise ValueError(f"{events} of {n} is no proportion")
    middle, spread = 2 * events + Z**2, Z * sqrt(Z**2 + 4 * events * (n - events) / n)
    low, high = (middle - spread) / (2 * (n + Z**2)), (middle + spread) / (2 * (n + Z**2))
    return (0.0 if events == 0 else low), (1.0 if events == n else high)


def risk_difference(events: int, n: int, in_reference: int, n_reference: int) -> RiskDifference:
    """From the counts of both groups. Raises ValueError for an empty group."""
    low, high = wilson(events, n)
    low_reference, high_reference = wilson(in_reference, n_reference)
    risk, risk_reference = events / n, in_reference / n_reference
    estimate = risk - risk_reference
    down = sqrt((risk - low) ** 2 + (high_reference - risk_reference) ** 2)
    up = sqrt((high - risk) ** 2 + (risk_reference - low_reference) ** 2)
    return RiskDifference(estimate, (estimate - down, estimate + up))
