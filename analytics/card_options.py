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
    yield from _quadratic_table(report)


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
