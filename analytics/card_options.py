"""What the report card says of a plan's options, and the tables that show it. Pure."""

from collections.abc import Iterator, Mapping
from typing import Any

from analytics.card_attempts import attempt, test_of
from analytics.fixed_effects import SQUARE, arm_term
from analytics.mixed_model import Combination, Method
from analytics.plan import Plan
from analytics.plan_model import Fitted
from analytics.wording import p_value

Report = Mapping[str, Any]
RULES = {
    "compliance_50": "compliance of 50 % or more",
    "compliance_33": "compliance of 33 % or more",
    "compliance_adjusted": "adjusted for compliance",
}
Told = tuple[str, list[str], list[list[str]], tuple[str, ...]]  # title, head, rows, notes


def quadratic(
    report: Report, fitted: Fitted, plan: Plan, main: Method, missing: list[str]
) -> dict[str, Any] | None:
    """The terms of the square, and a test that the arms do not differ in it; None unless planned.

    What is not linear can pass for a difference in slopes (Bauer & Cai 2009).
    """
    if not plan.quadratic:
        return None
    model = fitted.model
    named = {fitted.named(term) for term in model.terms if term.startswith(SQUARE)}
    by_arm = [f"{SQUARE}:{arm_term(arm)}" for arm in model.arms[1:]]
    held: list[Combination] = [{term: 1.0} for term in by_arm if term in model.terms]
    by = main if main is not Method.SATTERTHWAITE else Method.KENWARD_ROGER
    test = None
    if held:
        test = attempt("The test of the square by arm", lambda: model.omnibus(held, by), missing)
    terms = [one for one in report["fixed"] if one["term"] in named]
    return {"terms": terms, "test": test_of(test)}


def option_tables(report: Report) -> Iterator[Told]:
    """Tables of the card for what a plan asks for beside the standard analysis."""
    yield from _treatments_table(report)
    yield from _phases_table(report)
    yield from _quadratic_table(report)
    yield from _sensitivity_table(report)


def _quadratic_table(report: Report) -> Iterator[Told]:
    if not (told := report.get("quadratic")):
        return
    rows = [
        [
            one["term"],
            f"{one['estimate']:.6f}",
            f"{one['standard_error']:.6f}",
            p_value(one["p"]),
            "{:.6f} to {:.6f}".format(*one["interval"]),
        ]
        for one in told["terms"]
    ]
    notes = ["Couplings and differences are slopes at each participant's own mean."]
    if test := told["test"]:
        notes.append(
            f"That the arms do not differ in the square: F({test['numerator_df']}, "
            f"{test['df']:.1f}) = {test['f']:.3f}, p {p_value(test['p'])}."
        )
    yield (
        f"The square of {report['predictor'].replace('_', ' ')}",
        ["term", "estimate", "SE", "p", "95 % interval"],
        rows,
        tuple(notes),
    )


def _sensitivity_table(report: Report) -> Iterator[Told]:
    if not (told := report.get("sensitivity")):
        return
    rows = [["as planned", str(report["n_participants"]), *_told(o)] for o in report["contrasts"]]
    for one in told:
        name, n = RULES[one["rule"]], str(one["n_participants"])
        rows += [[name, n, *_told(each)] for each in one["contrasts"]]
        rows += [[name, n, *"–––––"]] if one["not_computed"] else []
    head = ["participants with", "n", "difference", "estimate", "SE", "p", "95 % interval"]
    notes = [f"{RULES[one['rule']].capitalize()}: {one['not_computed']}" for one in told]
    notes = [note for note, one in zip(notes, told, strict=True) if one["not_computed"]]
    notes.append(
        "Compliance is seen after allocation: leaving people out by it is a check, not an analysis."
    )
    yield "Sensitivity to compliance", head, rows, tuple(notes)


def _told(one: Report) -> list[str]:
    return [
        f"{one['arm']} minus {one['reference']}",
        f"{one['difference']:.4f}",
        f"{one['standard_error']:.4f}",
        p_value(one["p"]),
        "{:.4f} to {:.4f}".format(*one["interval"]),
    ]


def _phases_table(report: Report) -> Iterator[Told]:
    if not (since := report.get("baseline_phase")):
        return
    rows = [
        [
            one["arm"] or "all participants",
            *_slope(one["baseline"]),
            *_slope(one),
            *_slope(one["change"]),
        ]
        for one in report["arms"]
        if "change" in one
    ]
    head = [
        "arm",
        f"in {since}",
        "95 % interval",
        "after",
        "95 % interval",
        "change",
        "95 % interval",
    ]
    note = "The arms' difference is that of the changes; couplings elsewhere are those after."
    yield f"Coupling in phase {since} and after", head, rows, (note,)


def _slope(one: Report) -> list[str]:
    number = one["estimate"] if "estimate" in one else one["coupling"]
    return [f"{number:.4f}", "{:.4f} to {:.4f}".format(*one["interval"])]


def _treatments_table(report: Report) -> Iterator[Told]:
    if not (told := report.get("treatments")):
        return
    periods = list(next(iter(told.values())))
    rows = [[sequence, *(own[period] for period in periods)] for sequence, own in told.items()]
    note = "Arms are sequences; couplings and differences are those of treatments."
    yield "Treatment in each phase", ["sequence", *periods], rows, (note,)
