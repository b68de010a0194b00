"""Outcomes as a page shows them, live or frozen."""

from typing import Any

from django.utils.safestring import mark_safe

from analytics.figures_survival import figures_of_outcomes
from analytics.outcomes_wording import (
    ARM_HEAD,
    DAYS_HEAD,
    PEOPLE_HEAD,
    RATIO_HEAD,
    arm_rows,
    days_rows,
    people_rows,
    ratio_rows,
    sentences,
    tests_together,
)


def shown_outcomes(report: dict[str, Any]) -> dict[str, Any]:
    """A report with its sentences, tables and curves; the figures escape what they are given."""
    if "impossible" in report:
        return report
    return {
        "report": report,
        "sentences": sentences(report),
        "figures": [
            {"name": name, "title": figure.title, "svg": mark_safe(figure.draw(report))}  # noqa: S308
            for name, figure in figures_of_outcomes(report).items()
        ],
        "tables": [
            {"caption": caption, "head": head, "rows": rows}
            for caption, head, rows in (
                (
                    "By arm; days of longest abstinence: mean, SD, SE of the mean",
                    ARM_HEAD,
                    arm_rows(report),
                ),
                ("Hazard ratios: below 1 = later", RATIO_HEAD, ratio_rows(report)),
                ("Longest abstinence: positive = longer", DAYS_HEAD, days_rows(report)),
            )
            if rows
        ],
        "tests": tests_together(report),
        "people": {"head": PEOPLE_HEAD, "rows": people_rows(report)},
    }
