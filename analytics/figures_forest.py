"""Forest plots: couplings by arm and their differences, and differences in subgroups.

As in `analytics.figures`. A subgroup is never shown without the test of the interaction, and has no
p of its own.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from analytics.figures import HEAD, MARGIN, WIDTH, Axis, across, signed, svg
from analytics.wording import p_value

ROW, FOOT, SUB = 40, 34, 16
LONGEST_LABEL = 26
Report = Mapping[str, Any]


@dataclass(frozen=True)
class Row:
    """One estimate with its 95 % interval."""

    label: str
    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Panel:
    """Rows below a heading, which may have a second line."""

    heading: str
    rows: tuple[Row, ...]
    second: str = ""


def forest(report: Report) -> str:
    """A panel of couplings by arm and one of their differences, each with its own axis."""
    arms = [
        Row(
            f"{one['arm'] or 'all participants'} (n = {one['n']})",
            one["coupling"],
            *one["interval"],
        )
        for one in report["arms"]
        if one["coupling"] is not None
    ]
    contrasts = [
        Row(f"{one['arm']} minus {one['reference']}", one["difference"], *one["interval"])
        for one in report["contrasts"]
    ]
    panels = [
        Panel(coupling_heading(report), tuple(arms)),
        Panel("Difference: negative = weaker coupling", tuple(contrasts)),
    ]
    shown = [panel for panel in panels if panel.rows]
    axes = [_around(panel) for panel in shown]
    return _drawn("forest", "Coupling in each arm with 95 % intervals", shown, axes)


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


def subgroup_forest(report: Report) -> str:
    """The difference (with one group, the coupling) in each subgroup; one axis for all panels."""
    panels = _subgroup_panels(report)
    axis = _around(*panels)
    return _drawn("subgroups", SUBGROUPS, panels, [axis] * len(panels))


SUBGROUPS = "What moderates: estimates in subgroups with the tests of interaction"


def subgroup_rows(report: Report) -> list[dict[str, Any]]:
    return [
        {
            "moderator": one["moderator"],
            "interaction_p": one["test"]["p"],
            "interaction_p_holm": one["p_holm"],
            "subgroup": each["subgroup"],
            "arm": each["arm"] or "",
            "minus": each["reference"] or "",
            "estimate": each["estimate"],
            "low": each["interval"][0],
            "high": each["interval"][1],
        }
        for one in report["moderation"]
        for each in shown_subgroups(one)
    ]


def shown_subgroups(one: Report) -> list[Report]:
    """Those with an interval, of a moderator whose interaction is tested; none in old reports."""
    if not one["test"]:
        return []
    return [each for each in one.get("subgroups", ()) if each["interval"]]


def _subgroup_panels(report: Report) -> list[Panel]:
    panels = []
    for one in report["moderation"]:
        by_arm: dict[tuple[str | None, str | None], list[Row]] = {}
        for each in shown_subgroups(one):
            row = Row(each["subgroup"], each["estimate"], *each["interval"])
            by_arm.setdefault((each["arm"], each["reference"]), []).append(row)
        tested = p_value(one["test"]["p"]) if one["test"] else ""
        second = f"interaction: p {tested}, by Holm {p_value(one['p_holm'])}" if tested else ""
        for (arm, reference), rows in by_arm.items():
            what = f"{arm} minus {reference}" if arm else "Coupling"
            name = one["moderator"].replace("_", " ")
            panels.append(Panel(f"{what}, by {name}", tuple(rows), second))
    return panels


def coupling_heading(report: Mapping[str, Any]) -> str:
    """What the couplings of a report are; reports of before plans were of stress and craving."""
    predictor = str(report.get("predictor", "stress")).replace("_", " ")
    return f"Coupling: {report.get('outcome', 'craving')} points per {predictor} point"


def describe(rows: Sequence[Row]) -> str:
    """The figure in words, for those who cannot see it."""
    return "; ".join(f"{row.label}: {_interval(row)}" for row in rows) + "."


def _around(*panels: Panel) -> Axis:
    rows = [row for panel in panels for row in panel.rows]
    return Axis.around([value for row in rows for value in (row.low, row.high)])


def _drawn(name: str, title: str, panels: Sequence[Panel], axes: Sequence[Axis]) -> str:
    top, parts = 0, []
    for panel, axis in zip(panels, axes, strict=True):
        parts.append(f'<g transform="translate(0 {top})">{_panel(panel, axis)}</g>')
        top += HEAD + (SUB if panel.second else 0) + ROW * len(panel.rows) + FOOT
    told = " ".join(
        f"{panel.second and f'{panel.heading}, {panel.second}: '}{describe(panel.rows)}"
        for panel in panels
    )
    return svg(name, title, told, top, parts)


def _panel(panel: Panel, axis: Axis) -> str:
    head = HEAD + (SUB if panel.second else 0)
    bottom = head + ROW * len(panel.rows)
    second = f'<text x="{MARGIN}" y="30" font-size="11">{escape(panel.second)}</text>'
    parts = [
        (
            f'<text class="heading" x="{MARGIN}" y="14" font-weight="bold">'
            f"{escape(panel.heading)}</text>"
        ),
        second if panel.second else "",
        *(_row(row, axis, head + ROW * place) for place, row in enumerate(panel.rows)),
        across(axis, bottom),
    ]
    return "".join(parts)


def _row(row: Row, axis: Axis, top: float) -> str:
    """Label and numbers above, interval, estimate and zero below: readable on a phone."""
    line, low, high, estimate = top + 26, axis.at(row.low), axis.at(row.high), axis.at(row.estimate)
    zero = f"{axis.at(0):.1f}"
    short = row.label
    if len(short) > LONGEST_LABEL:
        short = f"{short[: LONGEST_LABEL - 1]}…"
    return (
        f"<g><title>{escape(row.label)}: {_interval(row)}</title>"
        f'<text x="{MARGIN + 6}" y="{top + 12}">{escape(short)}</text>'
        f'<text x="{WIDTH - MARGIN - 6}" y="{top + 12}" text-anchor="end">{_interval(row)}</text>'
        f'<line class="zero" x1="{zero}" x2="{zero}" y1="{top + 17}" y2="{top + ROW - 3}" '
        'stroke="currentColor" stroke-dasharray="3 3"/>'
        f'<line class="interval" x1="{low:.1f}" x2="{high:.1f}" y1="{line}" y2="{line}" '
        'stroke="currentColor" stroke-width="2"/>'
        f'<rect class="estimate" x="{estimate - 4:.1f}" y="{line - 4}" width="8" height="8"/></g>'
    )


def _interval(row: Row) -> str:
    return f"{signed(row.estimate)} ({signed(row.low)} to {signed(row.high)})"
