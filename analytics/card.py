"""The report card: what a comparison by a plan says of its differences beside the model. Pure."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np

from analytics import effect_sizes, multiplicity
from analytics.card_attempts import attempt, content_of, estimates, test_of
from analytics.card_subgroups import subgroups
from analytics.fixed_effects import within_arm_term
from analytics.kenward_roger import FTest
from analytics.mixed_model import Combination, Estimate, Method
from analytics.permutation import permutation_test, slope_scores
from analytics.plan import Plan
from analytics.plan_model import Fitted

METHODS = (Method.CR2, Method.SATTERTHWAITE, Method.KENWARD_ROGER)


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
    attenuated = None
    if not plan.baseline_phase:
        attenuated = attempt(
            f"The attenuation under {arm}",
            lambda: effect_sizes.attenuation(model, arm, main),
            missing,
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
    if fitted.own is None:
        return {"own_slopes": None, "scores": None}
    slopes, has = fitted.own
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
    if len(model.arms) == 2 and fitted.is_parallel and not fitted.moderations:
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
    robust = attempt(
        "The cluster-robust omnibus test", lambda: model.omnibus(every, Method.CR2), missing
    )
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
        "omnibus_robust": test_of(robust),
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
        row: dict[str, Any] = {
            "moderator": name,
            "terms": terms,
            "test": test_of(test),
            "p_holm": None,
        }
        rows.append(row | {"subgroups": subgroups(fitted, combinations, main) if test else []})
    tested = [row for row in rows if row["test"]]
    for row, p in zip(tested, multiplicity.holm([row["test"]["p"] for row in tested]), strict=True):
        row["p_holm"] = p
    return rows


def _adjusted(each: multiplicity.Adjusted) -> dict[str, Any]:
    return {
        "arm": each.arm,
        "other": each.other,
        "difference": each.difference.estimate,
        "p": each.p,
        "interval": each.interval and list(each.interval),
    }
