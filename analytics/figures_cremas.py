"""Compliance by study week as SVG text: a bar for each week, on an axis from 0 to 100 %.

As in `analytics.figures`: made without a browser, a clock or a database.
"""

from typing import Any

from analytics.cremas import Cremas, Part, percent
from analytics.figures import HEAD, MARGIN, PLOT, WIDTH, Axis, height_of, svg, upward

TITLE = "Compliance by study week"
LEFT, FOOT, MOST_LABELS = MARGIN + 34, 40, 14
SHARES = Axis((0.0, 20.0, 40.0, 60.0, 80.0, 100.0))


def compliance_rows(report: Cremas) -> list[dict[str, Any]]:
    """The numbers behind the bars; weeks of which no prompt has ended are left out."""
    return [
        {"study_week": week, **part._asdict(), "compliance": round(part.compliance, 4)}
        for week, part in report.weeks.items()
        if part.compliance is not None
    ]


def compliance_bars(report: Cremas) -> str:
    """A bar for each study week; every few weeks are named where there are many."""
    weeks = {week: part for week, part in report.weeks.items() if part.compliance is not None}
    step = (WIDTH - MARGIN - LEFT) / max(len(weeks), 1)
    every = -(-len(weeks) // MOST_LABELS) or 1
    parts = [
        f'<text class="heading" x="{MARGIN}" y="14" font-weight="bold">Compliance, %</text>',
        upward(SHARES, HEAD),
        f'<path d="M{LEFT - 6} {HEAD + PLOT}H{WIDTH - MARGIN}" stroke="currentColor"/>',
    ]
    for place, (week, part) in enumerate(weeks.items()):
        left = LEFT + step * place
        parts.append(_bar(week, part, left, step))
        if place % every == 0:
            parts.append(_below(left + step / 2, 16, week))
    parts.append(_below((LEFT + WIDTH - MARGIN) / 2, 32, "study week"))
    told = [f"week {week}: {percent(part.compliance)}" for week, part in weeks.items()]
    said = "; ".join(told) + "." if told else "No prompt has ended yet."
    return svg("cremas", TITLE, said, HEAD + PLOT + FOOT, parts)


def _bar(week: str, part: Part, left: float, step: float) -> str:
    top = height_of(SHARES, part.compliance or 0.0, HEAD)
    return (
        f'<rect class="estimate" x="{left + 0.1 * step:.1f}" y="{top:.1f}" '
        f'width="{0.8 * step:.1f}" height="{HEAD + PLOT - top:.1f}">'
        f"<title>Week {week}: {percent(part.compliance)}</title></rect>"
    )


def _below(x: float, down: float, text: str) -> str:
    return (
        f'<text class="tick" x="{x:.1f}" y="{HEAD + PLOT + down}" font-size="11" '
        f'text-anchor="middle">{text}</text>'
    )
