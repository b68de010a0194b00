"""Figures of people and of levels by arm: a caterpillar of shrunken slopes, the outcome by stress.

As in `analytics.figures`: SVG text without a browser or a clock, readable without a stylesheet.
Arms differ by shape, not by colour alone; each figure has a title, a description and a CSV.
"""

import csv
from collections.abc import Callable, Mapping, Sequence
from html import escape
from io import StringIO
from typing import Any, NamedTuple

from analytics.figures import HEAD, MARGIN, WIDTH, Axis, forest, signed

PLOT, FOOT, KEY_ROW = 200, 34, 18
NORMAL = 1.959963984540054
Report = Mapping[str, Any]


class Figure(NamedTuple):
    """How a figure is drawn and which rows it shows; its title says what it is."""

    title: str
    draw: Callable[[Report], str]
    rows: Callable[[Report], list[dict[str, Any]]]


def figures_of(report: Report) -> dict[str, Figure]:
    """The figures that a report holds numbers for: old frozen ones hold fewer."""
    found = {"coupling": FIGURES["coupling"]}
    if report.get("participants"):
        found["slopes"] = FIGURES["slopes"]
    if any(one["mean"] is not None for one in report.get("levels", ())):
        found["levels"] = FIGURES["levels"]
    return found


def as_csv(rows: Sequence[Mapping[str, Any]]) -> str:
    """The numbers behind a figure."""
    out = StringIO()
    if rows:
        writer = csv.DictWriter(out, fieldnames=list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return out.getvalue()


# --- the coupling by arm ------------------------------------------------------------------


def coupling_rows(report: Report) -> list[dict[str, Any]]:
    arms = [(one["arm"] or "all participants", "", one, one["coupling"]) for one in report["arms"]]
    contrasts = [
        (one["arm"], one["reference"], one, one["difference"]) for one in report["contrasts"]
    ]
    return [
        {
            "what": "difference" if minus else "coupling",
            "arm": arm,
            "minus": minus,
            "estimate": estimate,
            "low": (one["interval"] or [None, None])[0],
            "high": (one["interval"] or [None, None])[1],
        }
        for arm, minus, one, estimate in [*arms, *contrasts]
    ]


# --- everybody's slope --------------------------------------------------------------------


def slope_rows(report: Report) -> list[dict[str, Any]]:
    """Everybody's shrunken slope with its 95 % prediction interval, by arm, the smallest first."""
    order = {one["arm"]: place for place, one in enumerate(report["arms"])}
    people = sorted(
        report.get("participants", ()), key=lambda one: (order[one["arm"]], one["shrunken_slope"])
    )
    return [
        {
            "participant": one["participant"],
            "arm": one["arm"] or "",
            "n": one["n"],
            "shrunken_slope": one["shrunken_slope"],
            "low": one["shrunken_slope"] - NORMAL * one["prediction_error"],
            "high": one["shrunken_slope"] + NORMAL * one["prediction_error"],
            "reliability": one["reliability"],
        }
        for one in people
    ]


def caterpillar(report: Report) -> str:
    """One thin line per participant, sorted within arms; a panel for each arm."""
    rows = slope_rows(report)
    axis = Axis.around([value for row in rows for value in (row["low"], row["high"])])
    parts, top, told = [], 0, []
    for one in report["arms"]:
        of_arm = [row for row in rows if row["arm"] == (one["arm"] or "")]
        if not of_arm:
            continue
        name = one["arm"] or "all participants"
        parts.append(f'<g transform="translate(0 {top})">{_people(name, of_arm, axis)}</g>')
        slopes = [row["shrunken_slope"] for row in of_arm]
        told.append(
            f"{name}: {len(of_arm)} participants, slopes from {signed(min(slopes))} to "
            f"{signed(max(slopes))}, {sum(slope < 0 for slope in slopes)} below zero"
        )
        top += HEAD + PLOT + FOOT
    return _svg("slopes", FIGURES["slopes"].title, "; ".join(told) + ".", top, parts)


def _people(name: str, rows: Sequence[Mapping[str, Any]], axis: Axis) -> str:
    step = PLOT / len(rows)
    zero = f"{axis.at(0):.1f}"
    lines = "".join(
        f"M{axis.at(row['low']):.1f} {HEAD + step * (place + 0.5):.1f}H{axis.at(row['high']):.1f}"
        for place, row in enumerate(rows)
    )
    dots = "".join(
        f"M{axis.at(row['shrunken_slope']) - 1:.1f} {HEAD + step * (place + 0.5):.1f}h2"
        for place, row in enumerate(rows)
    )
    width = max(0.3, min(2.0, step * 0.5))
    return (
        f'<text class="heading" x="{MARGIN}" y="14" font-weight="bold">{escape(name)} '
        f"(n = {len(rows)})</text>"
        f'<line class="zero" x1="{zero}" x2="{zero}" y1="{HEAD - 4}" y2="{HEAD + PLOT}" '
        'stroke="currentColor" stroke-dasharray="3 3"/>'
        f'<path class="interval" d="{lines}" stroke="currentColor" stroke-opacity="0.45" '
        f'stroke-width="{width:.1f}"/>'
        f'<path class="estimate" d="{dots}" stroke="currentColor" stroke-width="{width + 1:.1f}"/>'
        + _across(axis, HEAD + PLOT)
    )


# --- the outcome at each level of the predictor --------------------------------------------


def level_rows(report: Report) -> list[dict[str, Any]]:
    return [
        {
            "arm": one["arm"] or "",
            "from": one["from"],
            "to": one["to"],
            "n_participants": one["n_participants"],
            "n_prompts": one["n_prompts"],
            "mean": one["mean"],
            "low": (one["interval"] or [None, None])[0],
            "high": (one["interval"] or [None, None])[1],
        }
        for one in report.get("levels", ())
    ]


def levels(report: Report) -> str:
    """Means with 95 % intervals, arms side by side at each level, each with its own mark."""
    rows = [row for row in level_rows(report) if row["mean"] is not None]
    names = [one["arm"] or "" for one in report["arms"]]
    names = [name for name in names if any(row["arm"] == name for row in rows)]
    spots = sorted({(row["from"], row["to"]) for row in rows})
    tops = [row[key] for row in rows for key in ("low", "high", "mean") if row[key] is not None]
    up = Axis.around(tops)
    head = HEAD + KEY_ROW * len(names)
    parts = [_outcome_text(report), *_key(names), _upward(up, head)]
    for row in rows:
        at = _spot(spots.index((row["from"], row["to"])), len(spots), names, row["arm"])
        parts.append(_mark(row, at, up, head, names.index(row["arm"])))
    for place, (low, high) in enumerate(spots):
        at = _spot(place, len(spots), names[:1], names[0])
        label = f"{low:g}" if low == high else f"{low:g}–{high:g}"
        parts.append(
            f'<text class="tick" x="{at:.1f}" y="{head + PLOT + 16}" font-size="9" '
            f'text-anchor="middle">{label}</text>'
        )
    predictor = str(report.get("predictor", "stress")).replace("_", " ")
    parts.append(
        f'<text x="{WIDTH / 2}" y="{head + PLOT + 32}" font-size="11" text-anchor="middle">'
        f"{escape(predictor)}</text>"
    )
    told = [
        f"{name or 'all participants'}: "
        + ", ".join(
            f"{row['from']:g} to {row['to']:g}: {row['mean']:.2f}"
            for row in rows
            if row["arm"] == name
        )
        for name in names
    ]
    height = head + PLOT + 40
    return _svg("levels", FIGURES["levels"].title, "; ".join(told) + ".", height, parts)


def _outcome_text(report: Report) -> str:
    outcome = escape(str(report.get("outcome", "craving")))
    return f'<text class="heading" x="{MARGIN}" y="14" font-weight="bold">Mean {outcome}</text>'


def _key(names: Sequence[str]) -> list[str]:
    return [
        _shape(number, MARGIN + 6, HEAD + KEY_ROW * number + 4)
        + f'<text x="{MARGIN + 18}" y="{HEAD + KEY_ROW * number + 8}" font-size="11">'
        f"{escape(name or 'all participants')}</text>"
        for number, name in enumerate(names)
    ]


def _spot(place: int, size: int, names: Sequence[str], arm: str) -> float:
    """Where a level's mark is, arms a little beside each other."""
    left, room = MARGIN + 30, WIDTH - 2 * MARGIN - 30
    beside = (names.index(arm) - (len(names) - 1) / 2) * min(8.0, room / size / (len(names) + 1))
    return left + room * (place + 0.5) / size + beside


def _height(axis: Axis, value: float, head: float) -> float:
    low, high = axis.ticks[0], axis.ticks[-1]
    return head + PLOT * (1 - (value - low) / (high - low))


def _mark(row: Mapping[str, Any], at: float, axis: Axis, head: float, number: int) -> str:
    middle = _height(axis, row["mean"], head)
    bar = ""
    if row["low"] is not None:
        low, high = _height(axis, row["low"], head), _height(axis, row["high"], head)
        bar = (
            f'<line class="interval" x1="{at:.1f}" x2="{at:.1f}" y1="{low:.1f}" y2="{high:.1f}" '
            'stroke="currentColor"/>'
        )
    name = escape(row["arm"] or "all participants")
    return (
        f"<g><title>{name}, {row['from']:g} to {row['to']:g}: {row['mean']:.2f}, "
        f"{row['n_participants']} participants</title>{bar}{_shape(number, at, middle)}</g>"
    )


def _shape(number: int, x: float, y: float) -> str:
    """A full square, a hollow circle, a triangle; then the same again."""
    if number % 3 == 0:
        return f'<rect class="arm-{number}" x="{x - 3:.1f}" y="{y - 3:.1f}" width="6" height="6"/>'
    if number % 3 == 1:
        return (
            f'<circle class="arm-{number}" cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="none" '
            'stroke="currentColor" stroke-width="1.5"/>'
        )
    return f'<path class="arm-{number}" d="M{x:.1f} {y - 4:.1f}l4 7h-8z"/>'


def _upward(axis: Axis, head: float) -> str:
    digits = max(len(f"{tick:.10g}".partition(".")[2]) for tick in axis.ticks)
    left = MARGIN + 28
    return (
        f'<line x1="{left}" x2="{left}" y1="{head}" y2="{head + PLOT}" stroke="currentColor"/>'
        + (
            "".join(
                f'<text class="tick" x="{left - 4}" y="{_height(axis, tick, head) + 4:.1f}" '
                f'font-size="11" text-anchor="end">{signed(tick, digits)}</text>'
                for tick in axis.ticks
            )
        )
    )


def _across(axis: Axis, top: float) -> str:
    digits = max(len(f"{tick:.10g}".partition(".")[2]) for tick in axis.ticks)
    ends = {axis.ticks[0]: "start", axis.ticks[-1]: "end"}
    return (
        f'<line x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{top}" y2="{top}" stroke="currentColor"/>'
        + "".join(
            f'<text class="tick" x="{axis.at(tick):.1f}" y="{top + 15}" font-size="11" '
            f'text-anchor="{ends.get(tick, "middle")}">{signed(tick, digits)}</text>'
            for tick in axis.ticks
        )
    )


def _svg(name: str, title: str, told: str, height: float, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="{name}" viewBox="0 0 {WIDTH} {height}" '
        f'role="img" aria-labelledby="{name}-title {name}-desc" font-family="sans-serif" '
        'font-size="12" fill="currentColor" stroke="none">'
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-desc">{escape(told)}</desc>{"".join(parts)}</svg>'
    )


FIGURES = {
    "coupling": Figure("Coupling in each arm with 95 % intervals", forest, coupling_rows),
    "slopes": Figure("Everybody's shrunken slope with 95 % intervals", caterpillar, slope_rows),
    "levels": Figure("The outcome at each level of the predictor by arm", levels, level_rows),
}
