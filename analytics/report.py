"""The comparison as JSON and as a plain-text table: one shape for every door."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from analytics.card_attempts import estimates
from analytics.effect_sizes import mean_reliability
from analytics.fixed_effects import WITHIN, within_arm_term
from analytics.mixed_model import Combination, Estimate, Method, MixedModel
from analytics.moments import Label
from analytics.multiplicity import coupling_in
from analytics.personal import PersonalCoupling

METHODS = {
    Method.CR2: "REML; cluster-robust CR2 standard errors, Satterthwaite df",
    Method.SATTERTHWAITE: "REML; the model's standard errors, Satterthwaite df",
    Method.KENWARD_ROGER: "REML; Kenward–Roger standard errors and df",
}
SIGN = "A negative difference means a weaker coupling than in the reference arm."


def comparison_report(
    model: MixedModel,
    *,
    excluded: Mapping[str, int] | None = None,
    personal: Iterable[PersonalCoupling] | None = None,
    method: Method = Method.CR2,
) -> dict[str, Any]:
    """Everything one fit says, in the items' units, as valid JSON (no NaN).

    ``excluded`` counts rows left out by reason. ``personal`` asks for the participants' part.
    ``model_standard_error`` and ``model_df`` are those of REML, Satterthwaite's df;
    ``standard_error``, ``df``, ``p`` and ``interval`` belong to ``method``.
    ``correlation`` is null where a random effect has no variance, an arm's
    ``coupling`` where its data hold none; ``dropped`` names terms the data cannot estimate.
    """
    fixed = _fixed(model, method)
    report: dict[str, Any] = {
        "n_participants": len(model.participants),
        "n_pairs": model.n_pairs,
        "n_excluded": dict(excluded or {}),
        "method": METHODS[method],
        "log_likelihood": model.log_likelihood,
        "fixed": fixed,
        "dropped": list(model.dropped),
        "random": {
            "sd_intercept": model.sd_intercept,
            "sd_slope": model.sd_slope,
            "correlation": model.correlation,
            "sd_residual": model.sd_residual,
        },
        "reliability": mean_reliability(model),
        "singular": model.singular,
        "arms": _arms(model, method),
        "contrasts": _contrasts(model, fixed),
    }
    if personal is not None:
        report["participants"] = _participants(model, personal)
    return report


def comparison_table(report: Mapping[str, Any], *, told: bool = True) -> str:
    """The report for a terminal: couplings by arm, contrasts, and (``told``) a sentence on each."""
    people, pairs = report["n_participants"], report["n_pairs"]
    lines = [
        f"{people} participants, {pairs} complete pairs{_left_out(report['n_excluded'])}",
        f"Method: {report['method']}; log-likelihood {report['log_likelihood']:.4f}",
        "",
        *grid(["arm", "n", "coupling", "SE", "95 % interval"], map(_arm_row, report["arms"])),
    ]
    if report["contrasts"]:
        head = ["difference in coupling", "estimate", "SE", "df", "p", "95 % interval"]
        lines += ["", *grid(head, map(_contrast_row, report["contrasts"])), ""]
        since = report.get("baseline_phase")
        lines += [_sentence(one, since) for one in report["contrasts"] if told] + [SIGN]
    lines += ["", _random_line(report["random"])]
    if report["singular"]:
        lines.append(
            "Singular fit: a variance of zero or a correlation of ±1 describes these best."
        )
    if report["dropped"]:
        lines.append(f"Not estimable from these data: {', '.join(report['dropped'])}.")
    if "participants" in report:
        head = ["participant", "n", "slope", "SE", "shrunken slope", "reliability"]
        lines += ["", *grid(head, map(_participant_row, report["participants"]))]
    return "\n".join(lines)


def _fixed(model: MixedModel, method: Method) -> list[dict[str, Any]]:
    own = model.fixed_effects()
    chosen = best(model, [{term: 1.0} for term in own], method)
    return [
        {
            "term": term,
            "estimate": effect.estimate,
            "model_standard_error": effect.standard_error,
            "model_df": effect.df,
            "standard_error": one.standard_error,
            "df": one.df,
            "p": one.p,
            "interval": list(one.interval),
        }
        for (term, effect), one in zip(own.items(), chosen, strict=True)
    ]


def best(model: MixedModel, combinations: Sequence[Combination], method: Method) -> list[Estimate]:
    """By the method; where the data hold no standard error of that kind, the model's own."""
    own = model.contrasts_of(combinations)
    if method is Method.SATTERTHWAITE:
        return own
    found = estimates(model, combinations, method)
    return [one or other for one, other in zip(found, own, strict=True)]


def _arms(model: MixedModel, method: Method) -> list[dict[str, Any]]:
    found = model.couplings()
    held = [one.arm for one in found if one.coupling is not None]
    slopes = [coupling_in(model, arm) if arm else {WITHIN: 1.0} for arm in held]
    couplings = dict(zip(held, best(model, slopes, method), strict=True))
    return [
        {
            "arm": one.arm,
            "n": one.n,
            "coupling": coupling and coupling.estimate,
            "standard_error": coupling and coupling.standard_error,
            "interval": coupling and list(coupling.interval),
        }
        for one in found
        for coupling in (couplings.get(one.arm),)
    ]


def _contrasts(model: MixedModel, fixed: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    by_term = {effect["term"]: effect for effect in fixed}
    return [
        {
            "arm": arm,
            "reference": model.arms[0],
            "difference": effect["estimate"],
            **{name: effect[name] for name in ("standard_error", "df", "p", "interval")},
        }
        for arm in model.arms[1:]
        if (effect := by_term.get(within_arm_term(arm)))
    ]


def _participants(model: MixedModel, personal: Iterable[PersonalCoupling]) -> list[dict[str, Any]]:
    """Own and shrunken slopes of the participants in the model, in the order of ``personal``."""
    place: dict[Label, int] = {label: i for i, label in enumerate(model.participants)}
    effects = model.personal
    return [
        {
            "participant": own.participant,
            "n": own.n,
            "slope": own.slope,
            "standard_error": own.standard_error,
            "reason": own.reason and str(own.reason),
            "shrunken_slope": float(effects.shrunken_slope[place[own.participant]]),
            "prediction_error": float(effects.prediction_error[place[own.participant]]),
            "reliability": float(effects.reliability[place[own.participant]]),
        }
        for own in personal
        if own.participant in place
    ]


def _left_out(excluded: Mapping[str, int]) -> str:
    counts = [f"{count} {reason.replace('_', ' ')}" for reason, count in excluded.items() if count]
    return f" (rows left out: {', '.join(counts)})" if counts else ""


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _interval(interval: list[float] | None) -> str:
    return "-" if interval is None else f"{interval[0]:.4f} to {interval[1]:.4f}"


def _p(value: float) -> str:
    return "< 0.0001" if value < 0.0001 else f"{value:.4f}"


def _arm_row(arm: Mapping[str, Any]) -> list[str]:
    name = "all participants" if arm["arm"] is None else arm["arm"]
    coupling, error = _number(arm["coupling"]), _number(arm["standard_error"])
    return [name, str(arm["n"]), coupling, error, _interval(arm["interval"])]


def _contrast_row(contrast: Mapping[str, Any]) -> list[str]:
    return [
        f"{contrast['arm']} - {contrast['reference']}",
        _number(contrast["difference"]),
        _number(contrast["standard_error"]),
        f"{contrast['df']:.1f}",
        _p(contrast["p"]),
        _interval(contrast["interval"]),
    ]


def _participant_row(one: Mapping[str, Any]) -> list[str]:
    own = one["reason"].replace("_", " ") if one["reason"] else _number(one["slope"])
    return [
        str(one["participant"]),
        str(one["n"]),
        own,
        _number(one["standard_error"]),
        _number(one["shrunken_slope"]),
        f"{one['reliability']:.2f}",
    ]


def _sentence(contrast: Mapping[str, Any], since: str | None) -> str:
    low, high = contrast["interval"]
    size = abs(contrast["difference"])
    direction = "weaker" if contrast["difference"] < 0 else "stronger"
    what = f"The change of the coupling since phase {since}" if since else "Coupling"
    return (
        f"{what} in {contrast['arm']} is estimated {size:.4f} {direction} than in "
        f"{contrast['reference']}; the data are compatible with differences from "
        f"{low:.4f} to {high:.4f}."
    )


def _random_line(random: Mapping[str, float | None]) -> str:
    return (
        f"Standard deviations: intercept {_number(random['sd_intercept'])}, "
        f"slope {_number(random['sd_slope'])}, residual {_number(random['sd_residual'])}; "
        f"correlation of intercept and slope {_number(random['correlation'])}{_remembered(random)}"
    )


def _remembered(random: Mapping[str, float | None]) -> str:
    """Of residuals that a plan lets remember."""
    if "phi" in random:
        return f"; residuals AR(1) within the study day, φ {_number(random['phi'])}"
    return f"; days {_number(random['sd_day'])}" if "sd_day" in random else ""


def grid(head: list[str], rows: Iterable[list[str]]) -> list[str]:
    """Columns padded to their widest cell, the first to the left, the others to the right."""
    table = [head, *rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in table
    ]
