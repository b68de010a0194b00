"""Time to an event by arm: Kaplan–Meier, log-rank, Cox. Pure.

An arm is all that Cox's model is told of a participant, so everything follows from who is at risk
and who has the event, by stratum, time and arm. A participant is at risk up to and including the
own day. Agrees with R's package survival (`survfit`, `survdiff`, `coxph`, `cox.zph`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

Floats = NDArray[np.float64]
MOST_STEPS = 50
Z = float(stats.norm.ppf(0.975))


class Risks(NamedTuple):
    """Who is at risk and who has the event: at every event time of every stratum, by arm.

    `stratum` and `time` have length T, `at_risk` and `events` shape (T, arms).
    """

    stratum: Floats
    time: Floats
    at_risk: Floats
    events: Floats

    @classmethod
    def of(
        cls,
        days: ArrayLike,
        happened: ArrayLike,
        arms: ArrayLike,
        n_arms: int,
        strata: Sequence[str] | None = None,
    ) -> "Risks":
        """From a day, whether the event happened on it, and the arm's number, per participant."""
        time, event = np.asarray(days, dtype=float), np.asarray(happened, dtype=bool)
        arm = np.asarray(arms)
        _, stratum = np.unique(strata or [""] * len(time), return_inverse=True)
        found = []
        for own in range(int(stratum.max(initial=-1)) + 1):
            inside = stratum == own
            at = np.unique(time[inside & event])
            counts = np.zeros((2, len(at), n_arms))
            for number in range(n_arms):
                mine = inside & (arm == number)
                counts[:, :, number] = _risks_at(at, time[mine], time[mine & event])
            found.append(cls(np.full(len(at), float(own)), at, *counts))
        if not found:
            return cls(np.zeros(0), np.zeros(0), np.zeros((0, n_arms)), np.zeros((0, n_arms)))
        return cls(*(np.concatenate(parts) for parts in zip(*found, strict=True)))


def _risks_at(at: Floats, until: Floats, events: Floats) -> tuple[Floats, Floats]:
    """How many are still at risk, and how many have the event, at each of these times."""
    until, events = np.sort(until), np.sort(events)
    at_risk = len(until) - np.searchsorted(until, at, side="left")
    happen = np.searchsorted(events, at, side="right") - np.searchsorted(events, at, side="left")
    return at_risk.astype(np.float64), happen.astype(np.float64)


class Curve(NamedTuple):
    """The share without the event after each event time; lists of the same length.

    `low` and `high` are the 95 % interval on the log-log scale, None where the share is 0 or 1.
    `median` is the time at which half are left, None while more are.
    """

    time: list[float]
    share: list[float]
    low: list[float | None]
    high: list[float | None]
    median: float | None
    median_interval: tuple[float | None, float | None]


def kaplan_meier(risks: Risks, arm: int) -> Curve:
    """The curve of an arm, from risks without strata (Greenwood's variance)."""
    seen = risks.events[:, arm] > 0
    time, n, d = risks.time[seen], risks.at_risk[seen, arm], risks.events[seen, arm]
    share = np.cumprod(1 - d / n)
    inside = (share > 0) & (share < 1)
    variance = np.cumsum(np.divide(d, n * (n - d), out=np.zeros_like(d), where=n > d))
    log_log = np.log(-np.log(share, where=inside, out=np.full_like(share, -1.0)))
    half = Z * np.sqrt(variance) * np.exp(-log_log)
    low = [float(v) if ok else None for v, ok in zip(_back(log_log + half), inside, strict=True)]
    high = [float(v) if ok else None for v, ok in zip(_back(log_log - half), inside, strict=True)]
    medians = [_half(time, shares) for shares in (share.tolist(), low, high)]
    return Curve(time.tolist(), share.tolist(), low, high, medians[0], (medians[1], medians[2]))


def _back(log_log: Floats) -> Floats:
    return np.exp(-np.exp(log_log))


def _half(time: Floats, shares: list[float] | list[float | None]) -> float | None:
    """When half are left: the first time at or below it; the middle where the share stays at 0.5.

    Sums of rounding count as half (R's rule, and R's tolerance).
    """
    pairs = zip(map(float, time), shares, strict=True)
    below = [(at, share) for at, share in pairs if share is not None and share < 0.5 + 1e-8]
    if not below:
        return None
    at, share = below[0]
    falls = [later for later, lower in below if lower < share]
    return (at + falls[0]) / 2 if abs(share - 0.5) < 1e-8 and falls else at


class ChiSquare(NamedTuple):
    statistic: float
    df: int
    p: float

    @classmethod
    def of(cls, score: Floats, variance: Floats) -> "ChiSquare | None":
        """The test of a score whose variance may be singular; None where nothing can differ."""
        df = int(np.linalg.matrix_rank(variance, tol=1e-9 * max(1.0, np.abs(variance).max())))
        if not df:
            return None
        statistic = float(score @ np.linalg.pinv(variance, rcond=1e-10, hermitian=True) @ score)
        return cls(statistic, df, float(stats.chi2.sf(statistic, df)))


def log_rank(risks: Risks) -> ChiSquare | None:
    """Mantel's test; stratified when the risks are. None where no event could tell arms apart."""
    if not len(risks.time):
        return None
    n, d = risks.at_risk.sum(axis=1), risks.events.sum(axis=1)
    share = risks.at_risk / n[:, None]
    score = (risks.events - d[:, None] * share).sum(axis=0)
    scale = d * np.divide(n - d, n - 1, out=np.zeros_like(n), where=n > 1)
    return ChiSquare.of(score, _spread(share, scale))


def _spread(share: Floats, weight: Floats) -> Floats:
    """Σ weight · (diag(share) − share share'), over the rows of `share`."""
    weighted = share * weight[:, None]
    return np.diag(weighted.sum(axis=0)) - weighted.T @ share


class CoxFit(NamedTuple):
    """Log hazard ratios of the arms after the first (arm 0), and their covariance."""

    log_ratio: Floats
    covariance: Floats
    risks: Risks


class NotEstimableError(ValueError):
    """The data hold no finite hazard ratio; the message says why."""


def comparable(risks: Risks) -> list[int]:
    """Arm 0 and the arms with a finite hazard ratio to it; only arm 0 when there is none.

    Finite for arms that lead to each other, through others if need be, where a leads to b when
    somebody in a has an event while somebody in b is at risk in the same stratum.
    """
    leads = (risks.events > 0).T.astype(float) @ (risks.at_risk > 0)
    arms = len(leads)
    reach = np.linalg.matrix_power(np.eye(arms) + (leads > 0), arms) > 0
    return [arm for arm in range(arms) if arm == 0 or (reach[0, arm] and reach[arm, 0])]


def cox(risks: Risks) -> CoxFit:
    """Cox's model with Efron's ties, arm 0 as the reference; stratified when the risks are.

    Raises NotEstimableError where an arm is not `comparable` with arm 0.
    """
    if len(comparable(risks)) < risks.at_risk.shape[1]:
        raise NotEstimableError(
            "the hazard ratio has no finite estimate: events of one arm alone, or of none, "
            "happened while both were at risk"
        )
    beta = np.zeros(risks.at_risk.shape[1] - 1)
    for _ in range(MOST_STEPS):
        share, rows = _efron_shares(risks, beta)
        score = (risks.events.sum(axis=0) - share.sum(axis=0))[1:]
        information = _spread(share, np.ones(len(rows)))[1:, 1:]
        covariance: Floats = np.asarray(np.linalg.inv(information), dtype=np.float64)
        step = covariance @ score
        if np.abs(step).max(initial=0.0) < 1e-10:
            return CoxFit(beta, covariance, risks)
        beta += np.clip(step, -1, 1)
    raise NotEstimableError("the hazard ratio does not settle on these data")


def _efron_shares(risks: Risks, beta: Floats) -> tuple[Floats, NDArray[np.int64]]:
    """One row per event: the arms' shares of the hazard, and the row of `risks` it belongs to.

    Of D events at once, the k-th (k = 0 … D−1) is set against all at risk less k/D of the events.
    """
    together = risks.events.sum(axis=1).astype(int)
    rows = np.repeat(np.arange(len(together)), together)
    first = np.repeat(np.cumsum(together) - together, together)
    part = (np.arange(len(rows)) - first) / together[rows]
    hazard = risks.at_risk[rows] - part[:, None] * risks.events[rows]
    hazard = hazard * np.exp(np.concatenate([[0.0], beta]))
    return hazard / hazard.sum(axis=1, keepdims=True), rows


class Hazards(NamedTuple):
    """Score tests that the hazard ratios stay the same: of each arm after the first, of all."""

    each: list[ChiSquare | None]
    together: ChiSquare | None


def proportional_hazards(fit: CoxFit, pooled: Risks | None = None) -> Hazards:
    """Grambsch and Therneau's score test against time as 1 − Kaplan–Meier: R's `cox.zph` (3.x).

    `pooled` are the same participants' risks without strata, for a fit that has strata.
    """
    share, rows = _efron_shares(fit.risks, fit.log_ratio)
    g = _time_as_share(fit.risks.time, pooled or fit.risks)
    g = g - (g[rows].mean() if len(rows) else 0.0)
    score = (g @ fit.risks.events - g[rows] @ share)[1:]
    ones = np.ones(len(rows))
    plain, once, twice = (_spread(share, w)[1:, 1:] for w in (ones, g[rows], g[rows] ** 2))
    variance = twice - once @ np.linalg.solve(plain, once)
    each = [_one_test(plain, once, twice, score, arm) for arm in range(len(score))]
    return Hazards(each, ChiSquare.of(score, variance))


def _one_test(
    plain: Floats, once: Floats, twice: Floats, score: Floats, arm: int
) -> ChiSquare | None:
    """The test of one arm's ratio, when only this one may change with time."""
    variance = twice[arm, arm] - once[:, arm] @ np.linalg.solve(plain, once[:, arm])
    return ChiSquare.of(score[[arm]], np.array([[variance]]))


def _time_as_share(at: Floats, pooled: Risks) -> Floats:
    """1 − the Kaplan–Meier share of everybody just before each of these times."""
    left = np.cumprod(1 - pooled.events.sum(axis=1) / pooled.at_risk.sum(axis=1))
    before = np.searchsorted(pooled.time, at, side="left")
    return 1 - np.concatenate([[1.0], left])[before]
