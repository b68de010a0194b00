"""The report card: everything that a comparison by a plan says beside its model. Pure.

Numbers that cannot be had from the data are null, with the reason in `warnings`, never NaN.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from math import isfinite
from typing import Any, NamedTuple, TypeVar

import numpy as np
from scipy.stats import t as student

from analytics import effect_sizes, multiplicity
from analytics.companion import Counts, fit_companion
from analytics.fixed_effects import WITHIN, within_arm_term
from analytics.kenward_roger import FTest
from analytics.mixed_model import Combination, Estimate, Method, MixedModel
from analytics.permutation import own_slopes, permutation_test, slope_scores
from analytics.plan import Plan
from analytics.plan_model import Fitted, Level

METHODS = (Method.CR2, Method.SATTERTHWAITE, Method.KENWARD_ROGER)
MANY_AT_FLOOR, FLOORS_APART = 0.20, 0.10
T = TypeVar("T")


class Warned(NamedTuple):
    """A named warning and its sentence."""

    code: str
    sentence: str

    def content(self) -> dict[str, str]:
        return self._asdict()


def estimates(
    model: MixedModel, combinations: Sequence[Combination], method: Method
) -> list[Estimate | None]:
    """Contrasts by a method; None where the data hold no standard error of that kind."""
    if not combinations:
        return []
    with np.errstate(all="ignore"):
        try:
            found = model.contrasts_of(combinations, method)
        except (np.linalg.LinAlgError, ZeroDivisionError, ValueError):
            if len(combinations) == 1:
                return [None]
            return [one for each in combinations for one in estimates(model, [each], method)]
    return [each if _is_finite(each) else None for each in found]


def _is_finite(estimate: Estimate) -> bool:
    numbers = (*estimate[:5], *estimate.interval)
    return all(isfinite(value) for value in numbers) and estimate.standard_error > 0


def content_of(estimate: Estimate | None) -> dict[str, Any] | None:
    if estimate is None:
        return None
    return {
        "standard_error": estimate.standard_error,
        "df": estimate.df,
        "p": estimate.p,
        "interval": list(estimate.interval),
    }


def differences(
    fitted: Fitted, plan: Plan, main: Method, strata: Mapping[str, str], missing: list[str]
) -> list[dict[str, Any]]:
    """What belongs to each difference from the reference arm beside its main estimate."""
    model = fitted.model
    arms = [arm for arm in model.arms[1:] if within_arm_term(arm) in model.terms]
    combinations: list[Combination] = [{within_arm_term(arm): 1.0} for arm in arms]
    by_method = {method: estimates(model, combinations, method) for method in METHODS}
    return [
        _difference(fitted, plan, arm, place, by_method, main, strata, missing)
        for place, arm in enumerate(arms)
    ]


def _difference(
    fitted: Fitted,
    plan: Plan,
    arm: str,
    place: int,
    by_method: Mapping[Method, Sequence[Estimate | None]],
    main: Method,
    strata: Mapping[str, str],
    missing: list[str],
) -> dict[str, Any]:
    model, within = fitted.model, fitted.design.pairs
    chosen = by_method[main][place] or by_method[Method.SATTERTHWAITE][place]
    attenuated = attempt(
        f"The attenuation under {arm}", lambda: effect_sizes.attenuation(model, arm, main), missing
    )
    moved = effect_sizes.influence(model, {within_arm_term(arm): 1.0})
    return {
        "methods": {str(each): content_of(found[place]) for each, found in by_method.items()},
        "attenuation": attenuated
        and {
            "estimate": attenuated.estimate,
            "interval": attenuated.interval and list(attenuated.interval),
        },
        "standardised": chosen and effect_sizes.standardised(chosen.estimate, within),
        "detectable": chosen and effect_sizes.detectable(chosen.standard_error, chosen.df),
        "randomisation": _randomisation(fitted, plan, arm, strata, missing),
        "leave_one_out": moved._asdict(),
    }


def _randomisation(
    fitted: Fitted, plan: Plan, arm: str, strata: Mapping[str, str], missing: list[str]
) -> dict[str, Any]:
    """Shuffled labels: of own slopes and, in a model of two arms alone, of the slopes' scores."""
    model = fitted.model
    of, codes = np.array(model.arm_of), model.participants
    slopes, has = own_slopes(fitted.design.pairs)
    both = (of == arm) | (of == model.arms[0])

    def test(values: Any, chosen: Any) -> dict[str, Any] | None:
        groups = [strata.get(str(codes[i]), "") for i in np.flatnonzero(chosen)]
        found = attempt(
            f"A randomisation test of {arm}",
            lambda: permutation_test(
                values[chosen],
                of[chosen] == arm,
                seed=plan.permutation_seed,
                draws=plan.permutation_draws,
                strata=groups,
            ),
            missing,
        )
        return found and found._asdict()

    scores = None
    if len(model.arms) == 2 and not fitted.moderations:
        values = attempt("The score test", lambda: slope_scores(fitted.design), missing)
        scores = None if values is None else test(values, both)
    return {"own_slopes": test(slopes, both & has), "scores": scores}


def several_arms(
    fitted: Fitted, plan: Plan, main: Method, missing: list[str]
) -> dict[str, Any] | None:
    """Omnibus F, all arms against the reference together, all pairs, trend; None for two arms."""
    model = fitted.model
    slopes = [within_arm_term(arm) for arm in model.arms[1:]]
    held = [term for term in slopes if term in model.terms]
    if len(held) < 2:
        return None
    every: list[Combination] = [{term: 1.0} for term in held]
    omnibus = attempt("The omnibus test", lambda: model.omnibus(every), missing)
    together = attempt(
        "The arms against the reference",
        lambda: multiplicity.against_reference(model, main),
        missing,
    )
    pairs = trend = None
    if plan.all_pairs:
        pairs = attempt("All pairs", lambda: multiplicity.all_pairs(model, main), missing)
    if plan.doses:
        trend = attempt("The trend", lambda: multiplicity.trend(model, plan.doses, main), missing)
    return {
        "omnibus": test_of(omnibus),
        "against_reference": [_adjusted(each) for each in together or []],
        "all_pairs": [_adjusted(each) for each in pairs or []],
        "trend": trend and {"estimate": trend.estimate} | (content_of(trend) or {}),
    }


def moderation(fitted: Fitted, main: Method, missing: list[str]) -> list[dict[str, Any]]:
    """Of each moderator: does it change the difference between arms; p also by Holm over all."""
    rows: list[dict[str, Any]] = []
    model = fitted.model
    for name, combinations in fitted.moderations.items():
        test: FTest | None = None
        if combinations:
            by = main if main is not Method.SATTERTHWAITE else Method.KENWARD_ROGER
            test = attempt(
                f"The moderation by {name}", partial(model.omnibus, combinations, by), missing
            )
        terms = [fitted.named(term) for each in combinations for term in each]
        rows.append({"moderator": name, "terms": terms, "test": test_of(test), "p_holm": None})
    tested = [row for row in rows if row["test"]]
    for row, p in zip(tested, multiplicity.holm([row["test"]["p"] for row in tested]), strict=True):
        row["p_holm"] = p
    return rows


def test_of(test: FTest | None) -> dict[str, Any] | None:
    return None if test is None or not all(isfinite(value) for value in test) else test._asdict()


def _adjusted(each: multiplicity.Adjusted) -> dict[str, Any]:
    return {
        "arm": each.arm,
        "other": each.other,
        "difference": each.difference.estimate,
        "p": each.p,
        "interval": each.interval and list(each.interval),
    }


def companion_of(
    levels: Sequence[Level],
    x_scale: float,
    arm_of: Mapping[str, str] | None,
    reference: str | None,
) -> dict[str, Any]:
    """The floor companion: odds of any of the outcome per point of the predictor, by arm.

    Raises ValueError, in words, where the data hold none.
    """
    cells = sorted(each for each in levels if arm_of is None or each.participant in arm_of)
    people = sorted({each.participant for each in cells})
    place = {code: number for number, code in enumerate(people)}
    counts = Counts(
        tuple(people),
        np.array([place[each.participant] for each in cells], dtype=np.int64),
        np.array([each.predictor for each in cells], dtype=np.float64),
        np.array([each.n for each in cells], dtype=np.int64),
        np.array([each.above_floor for each in cells], dtype=np.int64),
    )
    model = fit_companion(counts, arm_of, reference, x_scale=x_scale)
    ratios = []
    for arm in sorted(set((arm_of or {}).values()) - {reference}):
        if within_arm_term(arm) in model.terms:
            odds = model.contrast({within_arm_term(arm): 1.0})
            ratios.append(
                {
                    "arm": arm,
                    "reference": reference,
                    "ratio_of_odds_ratios": float(np.exp(odds.estimate)),
                    "interval": [float(value) for value in np.exp(odds.interval)],
                    "p": odds.p,
                }
            )
    own = model.contrast({WITHIN: 1.0})
    return {
        "odds_ratio_in_reference": float(np.exp(own.estimate)),
        "interval": [float(value) for value in np.exp(own.interval)],
        "contrasts": ratios,
        "singular": model.singular,
    }


def by_level(
    levels: Sequence[Level],
    ranges: Sequence[tuple[int, int]],
    scales: tuple[float, float],
    groups: Sequence[str | None],
    arm_of: Mapping[str, str] | None,
) -> list[dict[str, Any]]:
    """The outcome at each range of the predictor by arm: means of participants' own means.

    ``levels`` stand at the ranges' first integers; ``scales`` of predictor and outcome. Intervals
    are t intervals over participants, null where fewer than two are in the range.
    """
    at: dict[tuple[str | None, int], list[Level]] = defaultdict(list)
    for each in levels:
        arm = None if arm_of is None else arm_of.get(each.participant)
        at[arm, each.predictor].append(each)
    x_scale, y_scale = scales
    return [
        {"arm": arm, "from": low / x_scale, "to": high / x_scale} | _mean_of(at[arm, low], y_scale)
        for arm in groups
        for low, high in ranges
    ]


def _mean_of(inside: Sequence[Level], scale: float) -> dict[str, Any]:
    means = np.array([each.total / each.n / scale for each in inside])
    interval = None
    if len(means) > 1:
        reach = float(student.ppf(0.975, len(means) - 1) * means.std(ddof=1) / np.sqrt(len(means)))
        interval = [float(means.mean()) - reach, float(means.mean()) + reach]
    return {
        "n_participants": len(means),
        "n_prompts": sum(each.n for each in inside),
        "mean": float(means.mean()) if len(means) else None,
        "interval": interval,
    }


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
        f"{share:.0%} {f'under {arm}' if arm else 'of answers'}" for arm, share in shares.items()
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
        weaker = one["interval"][1] < 0
        stronger = one["interval"][0] > 0
        agrees = (high < 1) == weaker and (low > 1) == stronger
        verdict = "agrees" if agrees else "does not agree"
        said.append(
            f"The companion model of any {report['outcome']}, which a floor does not mislead, "
            f"{verdict}: ratio of odds ratios under {one['arm']} {numbers}, below 1 = weaker."
        )
    return Warned(warned.code, " ".join(said))


def attempt(what: str, make: Callable[[], T], missing: list[str]) -> T | None:
    """What the data hold; None, with a sentence among the missing, where they hold too little."""
    with np.errstate(all="ignore"):
        try:
            return make()
        except (ValueError, ZeroDivisionError, np.linalg.LinAlgError) as error:
            missing.append(f"{what} could not be computed: {error}.")
            return None
