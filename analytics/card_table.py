"""The report card as tables, for a terminal and for a page: what stands beside the differences."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from analytics.card_floor import odds_in_words
from analytics.card_options import option_tables
from analytics.figures_forest import shown_subgroups
from analytics.outcomes_wording import sentences as outcome_sentences
from analytics.report import comparison_table, grid
from analytics.safety_wording import safety_table
from analytics.wording import all_of, p_value, percent, sentences

METHOD_NAMES = {
    "CR2": "CR2, Satterthwaite df",
    "satterthwaite": "model, Satterthwaite df",
    "kenward_roger": "Kenward–Roger",
}
Report = Mapping[str, Any]
Rows = list[list[str]]


class Table(NamedTuple):
    """A table with what it is called, and sentences that belong below it."""

    title: str
    head: list[str]
    rows: Rows
    notes: tuple[str, ...] = ()


def card_table(report: Report) -> str:
    """Everything that a comparison of a study says, sentences last."""
    lines = [
        report["estimand"],
        report["formula"],
        report["population"],
        "",
        comparison_table(report, told=False),
    ]
    for table in details(report):
        lines += ["", table.title, *grid(table.head, table.rows), *table.notes]
    return "\n".join(
        [
            *lines,
            "",
            *sentences(report),
            *(one["sentence"] for one in report["warnings"]),
            *report["notes"],
            *_abstinence(report),
            *_adverse_events(report),
            *provenance(report),
        ]
    )


def _abstinence(report: Report) -> list[str]:
    """What the urine tests say, of reports that hold it."""
    if not (told := report.get("abstinence")):
        return []
    heading = ["", "Lapse, relapse and abstinence"]
    if "impossible" in told:
        return [*heading, told["impossible"], ""]
    return [*heading, *outcome_sentences(told), *told["warnings"], told["definition"], ""]


def _adverse_events(report: Report) -> list[str]:
    """The safety table, of reports that hold it."""
    told = report.get("safety")
    return ["", "Adverse events", safety_table(told), ""] if told else []


def details(report: Report) -> list[Table]:
    """What stands beside the couplings and the differences; less for old frozen reports."""
    if "plan" not in report:
        return []
    return [
        _arms(report),
        *(_contrast(one) for one in report["contrasts"]),
        *_several(report),
        *_moderation(report),
        *(Table(*told) for told in option_tables(report)),
        *_companion(report),
        *_diagnostics(report),
    ]


def provenance(report: Report) -> list[str]:
    """Of which plan, data and code a report is."""
    if "plan" not in report:
        return []
    lines = [f"Plan {report['plan']['sha256']}; {report['software']}."]
    if "data_sha256" in report:
        lines.append(f"Data {report['data_sha256']} (SHA-256 of the sums by participant and arm).")
    if snapshot := report.get("snapshot"):
        lines.append(
            f"Newest snapshot of the study: {snapshot['id']}, built {snapshot['built_at'][:16]} "
            f"UTC, SHA-256 {snapshot['sha256']}."
        )
    return lines


def _arms(report: Report) -> Table:
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
    head = ["arm", "prompts", "at lowest", "at highest", "compliance"]
    outcome = report["outcome"]
    note = (
        f"At lowest, at highest: of these prompts' {outcome}. Compliance: answered share of the "
        "prompts that reached a phone."
    )
    return Table("Answers by arm", head, rows, (note,))


def _contrast(one: Report) -> Table:
    """A difference by every method, with what else is known of it."""
    notes = []
    for name, test in one["randomisation"].items():
        if test:
            notes.append(
                f"Randomisation test of {name.replace('_', ' ')}: p {p_value(test['p'])} "
                f"(B = {test['draws']}, seed {test['seed']}, n = {test['n']})."
            )
    moved = one["leave_one_out"]
    notes.append(
        f"Leaving one participant out: {moved['lowest']:.4f} (without "
        f"{moved['lowest_without']}) to {moved['highest']:.4f} (without "
        f"{moved['highest_without']})."
    )
    if one["standardised"] is not None:
        notes.append(f"Standardised difference: {one['standardised']:.4f} within-person SD per SD.")
    return Table(
        f"{one['arm']} minus {one['reference']}, by method",
        ["method", "SE", "df", "p", "95 % interval"],
        [_method(name, told) for name, told in one["methods"].items()],
        tuple(notes),
    )


def _method(name: str, told: Mapping[str, Any] | None) -> list[str]:
    if told is None:
        return [METHOD_NAMES[name], "–", "–", "–", "–"]
    error, df = f"{told['standard_error']:.4f}", f"{told['df']:.1f}"
    return [METHOD_NAMES[name], error, df, p_value(told["p"]), _between(told["interval"])]


def _several(report: Report) -> Iterator[Table]:
    if not (several := report["several_arms"]):
        return
    tests = [
        ("Kenward–Roger", several["omnibus"]),
        ("CR2, approximate Hotelling", several.get("omnibus_robust")),
    ]
    rows = [[name, *_f_test(test)] for name, test in tests if test]
    if rows:
        yield Table("Whether the arms differ at all", ["test", "F", "df", "p"], rows)
    if several["against_reference"]:
        yield Table(
            "Against the reference, judged together (Dunnett)",
            ["difference", "estimate", "p", "95 % interval"],
            [
                [*_pair(one), _between(one["interval"]) if one["interval"] else "–"]
                for one in several["against_reference"]
            ],
        )
    if several["all_pairs"]:
        head = ["difference", "estimate", "p"]
        yield Table("All pairs (Holm)", head, [_pair(one) for one in several["all_pairs"]])
    if trend := several["trend"]:
        row = [f"{trend['estimate']:.4f}", _between(trend["interval"]), p_value(trend["p"])]
        yield Table(
            "Trend per unit of dose", ["change of the coupling", "95 % interval", "p"], [row]
        )


def _pair(one: Report) -> list[str]:
    return [f"{one['arm']} minus {one['other']}", f"{one['difference']:.4f}", p_value(one["p"])]


def _moderation(report: Report) -> Iterator[Table]:
    if report["moderation"]:
        rows = [
            [one["moderator"], *_f_test(one["test"]), p_value(one["p_holm"])]
            if one["test"]
            else [one["moderator"], "–", "–", "–", "–"]
            for one in report["moderation"]
        ]
        what = "difference" if len(report["arms"]) > 1 else "coupling"
        head = ["moderator", "F", "df", "p", "p (Holm)"]
        yield Table(f"What changes the {what}", head, rows)
        yield from _subgroups(report)


def _subgroups(report: Report) -> Iterator[Table]:
    """Estimates by subgroup, beside the interaction and never with a p of their own."""
    rows = [
        [
            one["moderator"].replace("_", " "),
            each["subgroup"],
            f"{each['arm']} minus {each['reference']}" if each["arm"] else "coupling",
            f"{each['estimate']:.4f}",
            _between(each["interval"]),
            p_value(one["p_holm"]),
        ]
        for one in report["moderation"]
        for each in shown_subgroups(one)
    ]
    if rows:
        head = ["moderator", "subgroup", "of", "estimate", "95 % interval", "interaction p (Holm)"]
        note = (
            "Whether subgroups differ is for the interaction to say: an interval that holds zero "
            "in one subgroup and not in another is no evidence of it."
        )
        yield Table("Subgroups", head, rows, (note,))


def _f_test(test: Report) -> list[str]:
    return [f"{test['f']:.3f}", f"{test['numerator_df']}, {test['df']:.1f}", p_value(test["p"])]


def _companion(report: Report) -> Iterator[Table]:
    if not (companion := report["companion"]):
        return
    own = companion["odds_ratio_in_reference"]
    where = "change in" if report.get("baseline_phase") else "in"
    rows = [[f"{where} {report['reference'] or 'all participants'}", f"{own:.4f}", "–"]]
    rows[0].append(_between(companion["interval"]))
    rows += [
        [
            f"{one['arm']} relative to {one['reference']}",
            f"{one['ratio_of_odds_ratios']:.4f}",
            p_value(one["p"]),
            _between(one["interval"]),
        ]
        for one in companion["contrasts"]
    ]
    predictor = report["predictor"].replace("_", " ")
    notes = [f"Odds of {odds_in_words(report)}, times this per point of {predictor}."]
    if companion["contrasts"]:
        notes.append(
            "Relative to the reference: a ratio of odds ratios, below 1 = weaker coupling."
        )
    title = f"Companion model: odds of {odds_in_words(report)}"
    yield Table(title, ["odds ratio", "estimate", "p", "95 % interval"], rows, tuple(notes))


def _diagnostics(report: Report) -> Iterator[Table]:
    if not (found := report.get("diagnostics")):
        return
    rows = [
        ["singular fit", "yes" if report["singular"] else "no"],
        ["variance of the coupling at zero", "yes" if found["slope_variance_is_zero"] else "no"],
    ]
    rows += [
        [
            f"lag-1 autocorrelation of residuals, {all_of(one['arm'])}",
            "–" if one["lag1"] is None else f"{one['lag1']:.3f} ({one['neighbours']} neighbours)",
        ]
        for one in found["residual_lag1"]
    ]
    predictor = report["predictor"].replace("_", " ")
    if curve := found["nonlinearity"]:
        told = f"{curve['estimate']:.6f}, p {p_value(curve['p'])}" if "p" in curve else "–"
        rows.append([f"curve: {report['outcome']} per squared point of {predictor}", told])
    yield Table("How well the model fits", ["diagnostic", "found"], rows, tuple(_reading(report)))


def _reading(report: Report) -> Iterator[str]:
    yield (
        "Residuals of neighbouring prompts of a day that resemble each other make the model's own "
        "errors too small; CR2 does not rest on their being independent."
    )
    yield "A curve can look like a moderator, or like a difference between arms."


def _between(ends: list[float]) -> str:
    return "{:.4f} to {:.4f}".format(*ends)
