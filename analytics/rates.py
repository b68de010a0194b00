"""Rates of simulated trials with the uncertainty that their number leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from math import sqrt
from multiprocessing import get_context
from typing import NamedTuple, TypeVar

from scipy.stats import norm

T = TypeVar("T")
R = TypeVar("R")


class Rate(NamedTuple):
    """`hits` of `trials`, as a share, with Wilson's (1927) interval of 95 %."""

    hits: int
    trials: int
    share: float
    interval: tuple[float, float]


def rate(hits: int, trials: int) -> Rate:
    """Raises ValueError without trials, or for more hits than trials."""
    if not 0 <= hits <= trials or trials == 0:
        raise ValueError(f"{hits} of {trials} is not a rate")
    z, share = float(norm.ppf(0.975)), hits / trials
    middle = share + z * z / (2 * trials)
    reach = z * sqrt(share * (1 - share) / trials + z * z / (4 * trials**2))
    scale = 1 + z * z / trials
    # At 0 and 1 the bound is exact; what rounding leaves of it is not.
    low = 0.0 if hits == 0 else (middle - reach) / scale
    high = 1.0 if hits == trials else (middle + reach) / scale
    return Rate(hits, trials, share, (low, high))


def side_by_side(
    function: Callable[[T], R], items: Iterable[T], *, processes: int = 1
) -> Iterator[R]:
    """function of each item, in order; with several processes they are fresh ones."""
    if processes == 1:
        yield from map(function, items)
        return
    with ProcessPoolExecutor(processes, mp_context=get_context("spawn")) as pool:
        yield from pool.map(function, items)
