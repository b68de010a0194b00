"""How two numbers go together over participants: Spearman's rank correlation. Pure."""

from collections.abc import Sequence
from math import atanh, sqrt, tanh
from typing import NamedTuple

from scipy import stats

from analytics.survival import Z

FEWEST = 4  # participants, for an interval


class RankCorrelation(NamedTuple):
    """Spearman's ρ with its 95 % interval and p; all None where there is a `reason` instead."""

    n: int
    spearman: float | None = None
    interval: tuple[float, float] | None = None
    p: float | None = None
    reason: str | None = None


def rank_correlation(pairs: Sequence[tuple[float, float]]) -> RankCorrelation:
    """Interval: Fisher's z with the variance (1 + ρ²/2)/(n − 3) (Bonett & Wright 2000)."""
    n = len(pairs)
    if n < FEWEST:
        return RankCorrelation(n, reason=f"fewer than {FEWEST} participants have both")
    one, other = zip(*pairs, strict=True)
    if len(set(one)) == 1 or len(set(other)) == 1:
        return RankCorrelation(n, reason="everybody has the same")
    found = stats.spearmanr(one, other)
    rho = float(found.statistic)
    half = Z * sqrt((1 + rho * rho / 2) / (n - 3))
    z = atanh(max(min(rho, 1 - 1e-15), 1e-15 - 1))
    return RankCorrelation(n, rho, (tanh(z - half), tanh(z + half)), float(found.pvalue))
