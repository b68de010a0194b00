"""The comparison as JSON and as a plain-text table: one shape for every door."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from analytics.mixed_model import Estimate, MixedModel
from analytics.moments import Label
from analytics.personal import PersonalCoupling

METHOD = "REML, Satterthwaite df"
SIGN = "A negative difference means a weaker coupling than in the reference arm."


def comparison_report(
    model: MixedModel,
    *,
    excluded: Mapping[str, int] | None = None,
    personal: Iterable[PersonalCoupling] | None = None,
) -> dict[str, Any]:
    """Everything one fit says, in the items' units, as valid JSON (no NaN).

    ``excluded`` counts rows left out by reason. ``personal`` asks for the participants' part.
    ``model_standard_error`` is the one of REML; ``standard_error``, ``df``, ``p`` and ``interval``
    belong to ``method``. ``correlation`` is null where a random effect has no variance, an arm's
    ``coupling`` where its data hold none; ``dropped`` names terms the data cannot estimate.
    """
    report: dict[str, Any] = {
        "n_participants": len(model.participants),
        "n_pairs": model.n_pairs,
        "n_excluded": dict(excluded or {}),
        "method": METHOD,
        "log_likelihood": model.log_likelihood,
        "fixed": [_fixed(term, effect) for term, effect in model.fixed_effects().items()],
        "dropped": list(model.dropped),
        "random": {
            "sd_intercept": model.sd_intercept,
            "sd_slope": model.sd_slope,
            "correlation": model.correlation,
            "sd_residual": model.sd_residual,
        },
        "singular": model.singular,
        "arms": _arms(model),
        "contrasts": _contrasts(model),
    }
    if personal is not None:
        report["participants"] = _participants(model, personal)
    return report


def comparison_table(report: Mapping[str, Any]) -> str:
    """The report for a terminal: couplings by arm, contrasts, and a sentence on each."""
    people, pairs = report["n_participants"], report["n_pairs"]
    lines = [
        f"{people} participants, {pairs} complete pairs{_left_out(report['n_excluded'])}",
        f"Method: {report['method']}; log-likelihood {report['log_likelihood']:.4f}",
        "",
        *_grid(["arm", "n", "coupling", "SE", "95 % interval"], map(_arm_row, report["arms"])),
    ]
    if report["contrasts"]:
        head = ["difference in coupling", "estimate", "SE", "df", "p", "95 % interval"]
        lines += ["", *_grid(head, map(_contrast_row, report["contrasts"])), ""]
        lines += [_sentence(contrast) for contrast in report["contrasts"]] + [SIGN]
    lines += ["", _random_line(report["random"])]
    if report["singular"]:
        lines.append(
            "Singular fit: a variance of zero or a correlation of ±1 describes these best."
        )
    if report["dropped"]:
        lines.append(f"Not estimable from these data: {', '.join(report['dropped'])}.")
    if "participants" in report:
        head = ["participant", "n", "slope", "SE", "shrunken slope", "reliability"]
        lines += ["", *_grid(head, map(_participant_row, report["participants"]))]
    return "\n".join(lines)


def _fixed(term: str, effect: Estimate) -> dict[str, Any]:
    return {
        "term": term,
        "estimate": effect.estimate,
        "model_standard_error": effect.standard_error,
        "standard_error": effect.standard_error,
        "df": effect.df,
        "p": effect.p,
        "interval": list(effect.interval),
    }


def _arms(model: MixedModel) -> list[dict[str, Any]]:
    return [
        {
            "arm": arm,
            "n": n,
            "coupling": coupling and coupling.estimate,
            "standard_error": coupling and coupling.standard_error,
            "interval": coupling and list(coupling.interval),
        }
        for arm, n, coupling in model.couplings()
    ]


def _contrasts(model: MixedModel) -> list[dict[str, Any]]:
    return [
        {
            "arm": arm,
            "reference": reference,
            "difference": difference.estimate,
            "standard_error": difference.standard_error,
            "df": difference.df,
            "p": difference.p,
            "interval": list(difference.interval),
        }
        for arm, reference, difference in model.contrasts()
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


def _sentence(contrast: Mapping[str, Any]) -> str:
    low, high = contrast["interval"]
    size = abs(contrast["difference"])
    direction = "weaker" if contrast["difference"] < 0 else "stronger"
    return (
        f"Coupling in {contrast['arm']} is estimated {size:.4f} {direction} than in "
        f"{contrast['reference']}; the data are compatible with differences from "
        f"{low:.4f} to {high:.4f}."
    )


def _random_line(random: Mapping[str, float | None]) -> str:
    return (
        f"Standard deviations: intercept {_number(random['sd_intercept'])}, "
        f"slope {_number(random['sd_slope'])}, residual {_number(random['sd_residual'])}; "
        f"correlation of intercept and slope {_number(random['correlation'])}"
    )


def _grid(head: list[str], rows: Iterable[list[str]]) -> list[str]:
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
