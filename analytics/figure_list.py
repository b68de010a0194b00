"""The figures of a report: what each is called, how it is drawn, and the numbers behind it."""

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import Any, NamedTuple

from analytics.figures import signed
from analytics.figures_by_arm import LEVELS, SLOPES, caterpillar, level_rows, levels, slope_rows
from analytics.figures_fit import FIT, fit_panels, fit_rows
from analytics.figures_forest import (
    SUBGROUPS,
    coupling_rows,
    forest,
    shown_subgroups,
    subgroup_forest,
    subgroup_rows,
)

Report = Mapping[str, Any]


class Figure(NamedTuple):
    """How a figure is drawn and which rows it shows; its title says what it is."""

    title: str
    draw: Callable[[Report], str]
    rows: Callable[[Report], list[dict[str, Any]]]


FIGURES = {
    "coupling": Figure("Coupling in each arm with 95 % intervals", forest, coupling_rows),
    "subgroups": Figure(SUBGROUPS, subgroup_forest, subgroup_rows),
    "slopes": Figure(SLOPES, caterpillar, slope_rows),
    "levels": Figure(LEVELS, levels, level_rows),
    "fit": Figure(FIT, fit_panels, fit_rows),
}


def figures_of(report: Report) -> dict[str, Figure]:
    """The figures that a report holds numbers for: old frozen ones hold fewer."""
    held = {
        "coupling": True,
        "subgroups": any(shown_subgroups(one) for one in report.get("moderation") or ()),
        "slopes": bool(report.get("participants")),
        "levels": any(one["mean"] is not None for one in report.get("levels", ())),
        "fit": bool(report.get("diagnostics", {}).get("residuals")),
    }
    return {name: figure for name, figure in FIGURES.items() if held[name]}


def write_figures(
    figures: Mapping[str, Figure], report: Report, folder: Path
) -> Iterator[tuple[str, Path]]:
    """Write each as SVG and as CSV; title and file, without its ending. OSError where it cannot."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, figure in figures.items():
        (folder / f"{name}.svg").write_text(figure.draw(report), encoding="utf-8")
        (folder / f"{name}.csv").write_text(as_csv(figure.rows(report)), encoding="utf-8")
        yield figure.title, folder / name


def numbers_table(rows: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[str]]]:
    """Head and rows of the numbers behind a figure, as people write them."""
    head = [name.replace("_", " ") for name in rows[0]] if rows else []
    return head, [[_written(value) for value in row.values()] for row in rows]


def _written(value: object) -> str:
    if value is None or value == "":
        return "–"
    return signed(value) if isinstance(value, float) else str(value)


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """The numbers behind a figure."""
    out = StringIO()
    if rows:
        writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return out.getvalue()
