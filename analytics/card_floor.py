"""Near the floor: how many answers are there, and a companion model that a floor does not mislead.

Pure.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from analytics.card_attempts import Warned
from analytics.companion import Companion, Counts, LogOdds, fit_companion
from analytics.companion_rows import fit_rows
from analytics.fixed_effects import WITHIN, within_arm_term
from analytics.gram import units_of
from analytics.ordinal import LevelCounts, fit_ordinal
from analytics.plan_model import Fitted
from analytics.wording import percent

MANY_AT_FLOOR, FLOORS_APART = 0.20, 0.10
ANY, CUMULATIVE = "any", "cumulative"
Arms = Mapping[str, str] | None


class Given(NamedTuple):
    """How often a participant gave this level of the outcome at this level of the predictor."""

    participant: str
    predictor: int
    outcome: int
    n: int


def floor_warning(arms: Sequence[Mapping[str, Any]], outcome: str) -> Warned | None:
    """Where many answers are at the outcome's lowest value, or more in one arm than in another."""
    shares = {one["arm"]: one["at_floor"] for one in arms if one["at_floor"] is not None}
    if not shares:
        return None
    many = max(shares.values()) > MANY_AT_FLOOR
    apart = max(shares.values()) - min(shares.values()) > FLOORS_APART
    if not (many or apart):
        return None
    said = ", ".join(
        f"{percent(share)} {f'under {arm}' if arm else 'of answers'}"
        for arm, share in shares.items()
    )
    return Warned(
        "possible_floor_artefact",
        f"Possible floor artefact: {outcome} is at its lowest value in {said}. Something that only "
        "lowers the mean near the floor looks like a weaker coupling.",
    )


def beside_companion(warned: Warned, report: Mapping[str, Any]) -> Warned:
    """The warning with what the companion says of each difference."""
    companion = report["companion"]
    if companion is None:
        return Warned(warned.code, f"{warned.sentence} No companion model is fitted.")
    ratios = {one["arm"]: one for one in companion["contrasts"]}
    said = [warned.sentence]
    for one in report["contrasts"]:
        if (odds := ratios.get(one["arm"])) is None:
            continue
        low, high = odds["interval"]
        numbers = f"{odds['ratio_of_odds_ratios']:.3f} (95 % interval {low:.3f} to {high:.3f})"
        verdict = _verdict(one["interval"], odds["interval"])
        said.append(
            f"The companion model of {odds_in_words(report)}, which a floor does not mislead, "
            f"{verdict}: ratio of odds ratios under {one['arm']} {numbers}, below 1 = weaker."
        )
    return Warned(warned.code, " ".join(said))


def _verdict(difference: Sequence[float], ratio: Sequence[float]) -> str:
    """Whether two intervals point the same way; open ones point nowhere."""
    way = (difference[1] < 0) - (difference[0] > 0)
    odds = (ratio[1] < 1) - (ratio[0] > 1)
    if way != odds:
        return "does not agree"
    return "agrees" if way else "leaves the direction open as well"


def odds_in_words(report: Mapping[str, Any]) -> str:
    """What the companion's odds are odds of."""
    outcome = report["outcome"]
    if report["companion"].get("kind", ANY) == CUMULATIVE:
        return f"a higher {outcome} (cumulative odds over its levels)"
    return f"any {outcome}"


def odds_of_any(
    counts: Counts, x_scale: float, arm_of: Arms, reference: str | None
) -> dict[str, Any]:
    """The odds of any of the outcome per point of the predictor, by arm.

    Raises ValueError, in words, where the data hold none.
    """
    model = fit_companion(counts, arm_of, reference, x_scale=x_scale)
    return {"kind": ANY} | _told(model, (arm_of or {}).values(), reference)


def odds_of_higher(
    given: Sequence[Given], x_scale: float, arm_of: Arms, reference: str | None
) -> dict[str, Any]:
    """The cumulative odds of a higher level of the outcome; see ``odds_of_any``."""
    rows = [each for each in given if arm_of is None or each.participant in arm_of]
    columns = zip(*rows, strict=True) if rows else ((), (), (), ())
    counts = LevelCounts.from_rows(*map(list, columns))
    model = fit_ordinal(counts, arm_of, reference, x_scale=x_scale)
    levels = {"n_levels": len(counts.n[0])}
    return {"kind": CUMULATIVE} | levels | _told(model, (arm_of or {}).values(), reference)


def odds_with_terms(
    fitted: Fitted,
    names: Sequence[str],
    rows: Sequence[tuple[Any, ...]],
    scales: Mapping[str, float],
    kind: str,
) -> dict[str, Any]:
    """The odds with the terms of the plan's own model, of ``card_sums.alike_rows``.

    Raises ValueError, in words, where the data hold none.
    """
    model, design = fitted.model, fitted.design
    place = {str(code): at for at, code in enumerate(model.participants)}
    known = sorted((place[row[0]], *row[1:]) for row in rows if row[0] in place)
    person, *columns, level, times = (np.array(column) for column in zip(*known, strict=True))
    given, of = np.unique(level, return_inverse=True)
    n = np.zeros((len(known), len(given)), dtype=np.int64)
    n[np.arange(len(known)), of] = times
    units = units_of(names, scales)
    functions = {
        name: column.astype(np.float64) / unit
        for name, column, unit in zip(names, columns, units, strict=True)
    }
    people = tuple(str(code) for code in model.participants)
    counts = LevelCounts(people, person, functions[design.predictor], n)
    found = fit_rows(design, model.terms, counts, functions)
    told = {"kind": kind, "n_levels": len(given)} | _told(found, model.arms, model.reference)
    return told | {"terms": [fitted.named(term) for term in found.terms]}


def _told(model: Companion, arms: Iterable[str], reference: str | None) -> dict[str, Any]:
    ratios = []
    for arm in sorted(set(arms) - {reference}):
        if within_arm_term(arm) in model.terms:
            odds = model.contrast({within_arm_term(arm): 1.0})
            names = {"arm": arm, "reference": reference, "ratio_of_odds_ratios": _exp(odds)}
            ratios.append(names | {"interval": _interval(odds), "p": odds.p})
    own = model.contrast({WITHIN: 1.0})
    return {
        "odds_ratio_in_reference": _exp(own),
        "interval": _interval(own),
        "contrasts": ratios,
        "singular": model.singular,
    }


def _exp(odds: LogOdds) -> float:
    return float(np.exp(odds.estimate))


def _interval(odds: LogOdds) -> list[float]:
    return [float(value) for value in np.exp(odds.interval)]
