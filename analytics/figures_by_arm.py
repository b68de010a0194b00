"""Figures of people and of levels by arm: a caterpillar of shrunken slopes, the outcome by stress.

As in `analytics.figures`. Arms differ by shape, not by colour alone.
"""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from analytics.figures import (
    HEAD,
    KEY_ROW,
    MARGIN,
    PLOT,
    WIDTH,
    Axis,
    across,
    height_of,
    key,
    shape,
    signed,
    svg,
    upward,
)

FOOT = 34
NORMAL = 1.959963984540054
SLOPES = "Everybody's shrunken slope with 95 % intervals"
LEVELS = "The outcome at each level of the predictor by arm"
Report = Mapping[str, Any]


def slope_rows(report: Report) -> list[dict[str, Any]]:
    """Everybody's shrunken slope with its 95 % prediction interval, by arm, the smallest first."""
    order = {arm: place for place, arm in enumerate(_groups(report))}
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
    for arm in _groups(report):
        of_arm = [row for row in rows if row["arm"] == (arm or "")]
        if not of_arm:
            continue
        name = arm or "all participants"
        parts.append(f'<g transform="translate(0 {top})">{_people(name, of_arm, axis)}</g>')
        slopes = [row["shrunken_slope"] for row in of_arm]
        told.append(
            f"{name}: {len(of_arm)} participants, slopes from {signed(min(slopes))} to "
            f"{signed(max(slopes))}, {sum(slope < 0 for slope in slopes)} below zero"
        )
        top += HEAD + PLOT + FOOT
    return svg("slopes", SLOPES, "; ".join(told) + ".", top, parts)


def _groups(report: Report) -> list[str | None]:
    """The arms of the report, and those of its participants where treatments are compared."""
    named = [one["arm"] for one in report["arms"]]
    return [*named, *sorted({one["arm"] for one in report.get("participants", ())} - set(named))]


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
        + across(axis, HEAD + PLOT)
    )


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
    parts = [_outcome_text(report), *key(names), upward(up, head)]
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
    return svg("levels", LEVELS, "; ".join(told) + ".", height, parts)


def _outcome_text(report: Report) -> str:
    outcome = escape(str(report.get("outcome", "craving")))
    return f'<text class="heading" x="{MARGIN}" y="14" font-weight="bold">Mean {outcome}</text>'


def _spot(place: int, size: int, names: Sequence[str], arm: str) -> float:
    """Where a level's mark is, arms a little beside each other."""
    left, room = MARGIN + 30, WIDTH - 2 * MARGIN - 30
    beside = (names.index(arm) - (len(names) - 1) / 2) * min(8.0, room / size / (len(names) + 1))
    return left + room * (place + 0.5) / size + beside


def _mark(row: Mapping[str, Any], at: float, axis: Axis, head: float, number: int) -> str:
    middle = height_of(axis, row["mean"], head)
    bar = ""
    if row["low"] is not None:
        low, high = height_of(axis, row["low"], head), height_of(axis, row["high"], head)
        bar = (
            f'<line class="interval" x1="{at:.1f}" x2="{at:.1f}" y1="{low:.1f}" y2="{high:.1f}" '
            'stroke="currentColor"/>'
        )
    name = escape(row["arm"] or "all participants")
    return (
        f"<g><title>{name}, {row['from']:g} to {row['to']:g}: {row['mean']:.2f}, "
        f"{row['n_participants']} participants</title>{bar}{shape(number, at, middle)}</g>"
    )
