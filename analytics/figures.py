"""Figures as SVG text, made without a browser, a clock or a database.

Colours come from classes (the page's stylesheet); without it everything is drawn in the text's
colour, so a downloaded file can be read too. Axes always hold zero and every interval.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10
from typing import Any

WIDTH, MARGIN, ROW, AXIS, HEAD = 360, 12, 40, 34, 26  # in the figure's own units
LONGEST_LABEL = 26


@dataclass(frozen=True)
class Row:
    """One estimate with its 95 % interval."""

    label: str
    estimate: float
    low: float
    high: float


@dataclass(frozen=True)
class Axis:
    """Maps values onto the width of the figure; ticks at round numbers that enclose everything."""

    ticks: tuple[float, ...]

    @classmethod
    def around(cls, values: Sequence[float]) -> "Axis":
        low, high = min(0.0, *values), max(0.0, *values)
        step = round_step((high - low) / 4 or 1.0)
        first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
        return cls(tuple(round(step * k, 10) for k in range(first, max(last, first + 1) + 1)))

    def at(self, value: float) -> float:
        low, high = self.ticks[0], self.ticks[-1]
        return MARGIN + (WIDTH - 2 * MARGIN) * (value - low) / (high - low)


def round_step(least: float) -> float:
    """The smallest 1, 2 or 5 times a power of ten that is at least this."""
    power = 10.0 ** floor(log10(least))
    return next(digit * power for digit in (1, 2, 5, 10) if digit * power >= least * (1 - 1e-9))


def signed(value: float, digits: int = 3) -> str:
    """A number with a true minus sign, never −0."""
    text = f"{abs(value):.{digits}f}"
    return f"−{text}" if value < 0 and float(text) else text


def forest(report: Mapping[str, Any]) -> str:
    """Forest plot of a comparison: a panel of couplings by arm and one of their differences."""
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
    top, parts = 0, []
    for heading, rows in (
        (
            coupling_heading(report),
            arms,
        ),
        ("Difference: negative = weaker coupling", contrasts),
    ):
        if rows:
            parts.append(f'<g transform="translate(0 {top})">{_panel(heading, rows)}</g>')
            top += HEAD + ROW * len(rows) + AXIS
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="forest" viewBox="0 0 {WIDTH} {top}" '
        'role="img" aria-labelledby="forest-title forest-desc" font-family="sans-serif" '
        'font-size="12" fill="currentColor" stroke="none">'
        '<title id="forest-title">Coupling in each arm with 95 % intervals</title>'
        f'<desc id="forest-desc">{escape(describe(arms + contrasts))}</desc>{"".join(parts)}</svg>'
    )


def coupling_heading(report: Mapping[str, Any]) -> str:
    """What the couplings of a report are; reports of before plans were of stress and craving."""
    predictor = str(report.get("predictor", "stress")).replace("_", " ")
    return f"Coupling: {report.get('outcome', 'craving')} points per {predictor} point"


def describe(rows: Sequence[Row]) -> str:
    """The figure in words, for those who cannot see it."""
    return "; ".join(f"{row.label}: {_interval(row)}" for row in rows) + "."


def _panel(heading: str, rows: Sequence[Row]) -> str:
    axis = Axis.around([value for row in rows for value in (row.low, row.high)])
    bottom = HEAD + ROW * len(rows)
    zero = f"{axis.at(0):.1f}"
    parts = [
        f'<text class="heading" x="{MARGIN}" y="14" font-weight="bold">{escape(heading)}</text>',
        (
            f'<line class="zero" x1="{zero}" x2="{zero}" y1="{HEAD - 4}" y2="{bottom}" '
            'stroke="currentColor" stroke-dasharray="3 3"/>'
        ),
        *(_row(row, axis, HEAD + ROW * place) for place, row in enumerate(rows)),
        _axis(axis, bottom),
    ]
    return "".join(parts)


def _row(row: Row, axis: Axis, top: float) -> str:
    """Label and numbers above, interval and estimate below: readable on a phone."""
    line, low, high, estimate = top + 26, axis.at(row.low), axis.at(row.high), axis.at(row.estimate)
    short = row.label
    if len(short) > LONGEST_LABEL:
        short = f"{short[: LONGEST_LABEL - 1]}…"
    return (
        f"<g><title>{escape(row.label)}: {_interval(row)}</title>"
        f'<text x="{MARGIN + 6}" y="{top + 12}">{escape(short)}</text>'
        f'<text x="{WIDTH - MARGIN - 6}" y="{top + 12}" text-anchor="end">{_interval(row)}</text>'
        f'<line class="interval" x1="{low:.1f}" x2="{high:.1f}" y1="{line}" y2="{line}" '
        'stroke="currentColor" stroke-width="2"/>'
        f'<rect class="estimate" x="{estimate - 4:.1f}" y="{line - 4}" width="8" height="8"/></g>'
    )


def _axis(axis: Axis, top: float) -> str:
    digits = max(len(f"{tick:.10g}".partition(".")[2]) for tick in axis.ticks)
    ends = {axis.ticks[0]: "start", axis.ticks[-1]: "end"}
    ticks = [
        f'<line x1="{axis.at(tick):.1f}" x2="{axis.at(tick):.1f}" y1="{top}" y2="{top + 4}" '
        'stroke="currentColor"/>'
        f'<text class="tick" x="{axis.at(tick):.1f}" y="{top + 17}" font-size="11" '
        f'text-anchor="{ends.get(tick, "middle")}">{signed(tick, digits)}</text>'
        for tick in axis.ticks
    ]
    return (
        f'<line x1="{MARGIN}" x2="{WIDTH - MARGIN}" y1="{top}" y2="{top}" stroke="currentColor"/>'
        + "".join(ticks)
    )


def _interval(row: Row) -> str:
    return f"{signed(row.estimate)} ({signed(row.low)} to {signed(row.high)})"
