"""The report card for a terminal, below the table of couplings and differences."""

from collections.abc import Iterator, Mapping
from typing import Any

from analytics.card_floor import odds_in_words
from analytics.report import SIGN, comparison_table, grid
from analytics.wording import p_value, percent, sentences

METHOD_NAMES = {
    "CR2": "CR2, Satterthwaite df",
    "satterthwaite": "model, Satterthwaite df",
    "kenward_roger": "Kenward–Roger",
}
Report = Mapping[str, Any]


def card_table(report: Report) -> str:
    """Everything that a comparison of a study says, sentences last."""
    lines = [
        report["estimand"],
        report["formula"],
        report["population"],
        "",
        comparison_table(report),
        *details(report),
        "",
        *sentences(report),
        *(one["sentence"] for one in report["warnings"]),
        *report["notes"],
        f"Plan {report['plan']['sha256']}; {report['software']}.",
    ]
    return "\n".join(lines)


def details(report: Report) -> Iterator[str]:
    """What stands beside the couplings and the differences."""
    yield from _arms(report)
    yield from _methods(report)
    yield from _several(report)
    yield from _moderation(report)
    yield from _companion(report)


def _arms(report: Report) -> Iterator[str]:
    head = ["arm", "prompts", "at lowest", "at highest", "compliance"]
    rows = [
        [
            one["arm"] or "all participants",
            str(one["n_prompts"]),
            percent(one["at_floor"]),
            percent(one["at_ceiling"]),
            percent(one["compliance"]),
        ]
        for one in report["arms"]
    ]
    yield from ["", *grid(head, rows)]


def _methods(report: Report) -> Iterator[str]:
    for one in report["contrasts"]:
        yield from ["", f"{one['arm']} - {one['reference']} ({SIGN.lower()[:-1]})"]
        head = ["method", "SE", "df", "p", "95 % interval"]
        yield from grid(head, [_method(name, told) for name, told in one["methods"].items()])
        for name, test in one["randomisation"].items():
            if test:
                yield (
                    f"Randomisation test of {name.replace('_', ' ')}: p {p_value(test['p'])} "
                    f"(B = {test['draws']}, seed {test['seed']}, n = {test['n']})"
                )
        moved = one["leave_one_out"]
        yield (
            f"Leaving one participant out: {moved['lowest']:.4f} (without "
            f"{moved['lowest_without']}) to {moved['highest']:.4f} (without "
            f"{moved['highest_without']})"
        )
        if one["standardised"] is not None:
            yield f"Standardised difference: {one['standardised']:.4f} within-person SD per SD"


def _method(name: str, told: Mapping[str, Any] | None) -> list[str]:
    if told is None:
        return [METHOD_NAMES[name], "-", "-", "-", "-"]
    low, high = told["interval"]
    error, df = f"{told['standard_error']:.4f}", f"{told['df']:.1f}"
    return [METHOD_NAMES[name], error, df, p_value(told["p"]), f"{low:.4f} to {high:.4f}"]


def _several(report: Report) -> Iterator[str]:
    if not (several := report["several_arms"]):
        return
    yield ""
    if test := several["omnibus"]:
        yield (
            f"All arms equal (Kenward–Roger): F({test['numerator_df']}, {test['df']:.1f}) = "
            f"{test['f']:.3f}, p {p_value(test['p'])}"
        )
    if test := several.get("omnibus_robust"):
        yield (
            f"All arms equal (CR2, approximate Hotelling): F({test['numerator_df']}, "
            f"{test['df']:.1f}) = {test['f']:.3f}, p {p_value(test['p'])}"
        )
    for name, title in (
        ("against_reference", "Against the reference, judged together (Dunnett)"),
        ("all_pairs", "All pairs (Holm)"),
    ):
        if several[name]:
            yield title
            rows = [
                [f"{one['arm']} - {one['other']}", f"{one['difference']:.4f}", p_value(one["p"])]
                for one in several[name]
            ]
            yield from grid(["difference", "estimate", "p"], rows)
    if trend := several["trend"]:
        low, high = trend["interval"]
        yield (
            f"Trend per unit of dose: {trend['estimate']:.4f} ({low:.4f} to {high:.4f}), "
            f"p {p_value(trend['p'])}"
        )


def _moderation(report: Report) -> Iterator[str]:
    if report["moderation"]:
        head = ["moderator of the difference", "F", "df", "p", "p (Holm)"]
        yield from ["", *grid(head, [_moderator(one) for one in report["moderation"]])]


def _moderator(one: Report) -> list[str]:
    if (test := one["test"]) is None:
        return [one["moderator"], "-", "-", "-", "-"]
    df = f"{test['numerator_df']}, {test['df']:.1f}"
    f, p, by_holm = f"{test['f']:.3f}", p_value(test["p"]), p_value(one["p_holm"])
    return [one["moderator"], f, df, p, by_holm]


def _companion(report: Report) -> Iterator[str]:
    if companion := report["companion"]:
        yield ""
        yield f"Companion model, odds of {odds_in_words(report)} (below 1 = weaker coupling):"
        rows = [
            [
                f"{one['arm']} / {one['reference']}",
                f"{one['ratio_of_odds_ratios']:.4f}",
                p_value(one["p"]),
                "{:.4f} to {:.4f}".format(*one["interval"]),
            ]
            for one in companion["contrasts"]
        ]
        yield from grid(["ratio of odds ratios", "estimate", "p", "95 % interval"], rows)
