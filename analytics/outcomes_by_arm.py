"""What urine tests say of each arm and of each arm beside the reference arm. Pure.

Hazard ratios are Cox's (Efron ties) of one arm to the reference; below 1 means that the event comes
later. Numbers that the data do not hold are null, with a sentence among the `missing`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
from scipy import stats

from analytics.abstinence import difference_of_means
from analytics.card_attempts import attempt
from analytics.many_calendars import Calendars, Ints
from analytics.survival import (
    ChiSquare,
    CoxFit,
    NotEstimableError,
    Risks,
    Z,
    comparable,
    cox,
    kaplan_meier,
    log_rank,
    proportional_hazards,
)

EVENTS = ("lapse", "relapse")
RISK_STEPS = 6  # the number at risk is said at about so many days


@dataclass(frozen=True)
class ArmTable:
    """The arms, the reference first (one nameless group without), and what their tests say.

    `arm` and `strata` are those of the calendars' participants, an arm being its place in `arms`.
    """

    arms: Sequence[str | None]
    calendars: Calendars
    arm: Ints
    strata: Sequence[str]
    counted: dict[object, Risks] = field(default_factory=dict, repr=False, compare=False)

    def of(self, arm: int) -> Calendars:
        return self.calendars.where(self.arm == arm)

    def risks(self, event: str, arms: Sequence[int], stratified: bool = False) -> Risks:
        """Of some arms (ascending), numbered by their place among these; counted once."""
        asked = (event, *arms, stratified)
        if asked not in self.counted:
            self.counted[asked] = self._count(event, arms, stratified)
        return self.counted[asked]

    def _count(self, event: str, arms: Sequence[int], stratified: bool) -> Risks:
        chosen = np.isin(self.arm, arms)
        days, happened = self.calendars.where(chosen).until(event)
        place = np.searchsorted(arms, self.arm[chosen])
        strata = [self.strata[at] for at in np.flatnonzero(chosen).tolist()] if stratified else None
        return Risks.of(days, happened, place, len(arms), strata)

    @property
    def held(self) -> list[int]:
        """Arms in which anybody has a known result."""
        return [int(arm) for arm in np.unique(self.arm)]

    @property
    def is_stratified(self) -> bool:
        return len(set(self.strata)) > 1


def alone(table: ArmTable, members: Sequence[int]) -> list[dict[str, Any]]:
    """Each arm by itself: counts, longest abstinence, time to lapse and relapse."""
    return [
        {
            "arm": arm,
            "n": members[number],
            "n_with_tests": (n := len((own := table.of(number)).person)),
            "n_tests": int(own.n_tests.sum()),
            "n_positive": int(own.n_positive.sum()),
            "n_missed": int(own.n_missed.sum()),
            "longest_abstinence": _spread(own.longest_abstinence),
            **{event: _time_to(table, number, event) if n else None for event in EVENTS},
        }
        for number, arm in enumerate(table.arms)
    ]


def _spread(days: Ints) -> dict[str, float | None]:
    """Mean days, standard deviation and standard error of the mean."""
    values = np.array(days, dtype=float)
    mean = float(values.mean()) if len(values) else None
    sd = float(values.std(ddof=1)) if len(values) > 1 else None
    return {"mean": mean, "sd": sd, "se": None if sd is None else sd / float(np.sqrt(len(values)))}


def _time_to(table: ArmTable, arm: int, event: str) -> dict[str, Any]:
    days, happened = table.of(arm).until(event)
    curve = kaplan_meier(table.risks(event, [arm]), 0)
    return {
        "n": int(happened.sum()),
        "share": float(happened.mean()),
        "median": curve.median,
        "median_interval": list(curve.median_interval),
        "curve": {
            "day": curve.time,
            "without": curve.share,
            "low": curve.low,
            "high": curve.high,
        },
        "at_risk": [{"day": day, "n": int((days >= day).sum())} for day in _round_days(table)],
        "last_day": int(days.max()),
    }


def _round_days(table: ArmTable) -> list[int]:
    """Days at which the number at risk is said, the same for all arms: whole weeks."""
    last = int(table.calendars.last_day.max())
    step = 7 * max(1, round(last / 7 / RISK_STEPS))
    return list(range(0, last + 1, step))


def beside_reference(table: ArmTable, missing: list[str]) -> list[dict[str, Any]]:
    """Each arm beside the reference: hazard ratios, and days of longest abstinence."""
    found = []
    for number, arm in enumerate(table.arms):
        if number == 0:
            continue
        if number not in table.held or 0 not in table.held:
            missing.append(f"Arm {arm} cannot be compared: it or the reference has no results yet.")
            continue
        found.append(
            {
                "arm": arm,
                "reference": table.arms[0],
                "longest_abstinence": _longer_by(table, number, missing),
                **{event: _hazard(table, number, event, missing) for event in EVENTS},
            }
        )
    return found


def _longer_by(table: ArmTable, arm: int, missing: list[str]) -> dict[str, Any] | None:
    one, reference = (table.of(each).longest_abstinence for each in (arm, 0))
    found = attempt(
        f"The difference of longest abstinence under {table.arms[arm]}",
        lambda: difference_of_means(one, reference),
        missing,
    )
    return found and found._asdict() | {"interval": list(found.interval)}


def _hazard(table: ArmTable, arm: int, event: str, missing: list[str]) -> dict[str, Any] | None:
    """The hazard ratio to the reference among these two arms, by stratum too where there are."""
    what = f"The hazard ratio of {event} under {table.arms[arm]}"
    plain = attempt(what, lambda: cox(table.risks(event, [0, arm])), missing)
    strata = None
    if table.is_stratified:
        strata = attempt(
            f"{what} by stratum", lambda: cox(table.risks(event, [0, arm], True)), missing
        )
    return plain and _ratio(plain) | {"by_stratum": strata and _ratio(strata)}


def _ratio(fit: CoxFit) -> dict[str, Any]:
    log_ratio, error = float(fit.log_ratio[0]), float(np.sqrt(fit.covariance[0, 0]))
    return {
        "hazard_ratio": float(np.exp(log_ratio)),
        "interval": [float(np.exp(log_ratio + side * Z * error)) for side in (-1, 1)],
        "log_ratio": log_ratio,
        "standard_error": error,
        "p": float(2 * stats.norm.sf(abs(log_ratio / error))),
    }


def together(table: ArmTable, missing: list[str]) -> dict[str, Any]:
    """Of all arms together: log-rank, by stratum too, and whether hazards stay proportional."""
    if len(table.held) < 2:
        return dict.fromkeys(EVENTS)
    return {
        event: {
            "log_rank": _chi(log_rank(table.risks(event, table.held))),
            "log_rank_by_stratum": _chi(log_rank(table.risks(event, table.held, True)))
            if table.is_stratified
            else None,
            "proportional_hazards": attempt(
                f"The check of proportional hazards of {event}",
                partial(_proportional, table, event),
                missing,
            ),
        }
        for event in EVENTS
    }


def _proportional(table: ArmTable, event: str) -> dict[str, float] | None:
    """Over the arms that have a finite ratio to the reference."""
    whole = table.risks(event, table.held)
    arms = [table.held[place] for place in comparable(whole)]
    if len(arms) < 2:
        raise NotEstimableError("no two arms have a finite hazard ratio")
    return _chi(proportional_hazards(cox(table.risks(event, arms))).together)


def _chi(test: ChiSquare | None) -> dict[str, float] | None:
    return None if test is None else test._asdict()
