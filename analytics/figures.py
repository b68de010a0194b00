"""Figures as SVG text, made without a browser, a clock or a database.

Colours come from classes (the page's stylesheet); without it everything is drawn in the text's
colour, so a downloaded file can be read too. Axes always hold zero and every interval.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from math import ceil, floor, log10

WIDTH, MARGIN, HEAD, PLOT, KEY_ROW = 360, 12, 26, 200, 18  # in the figure's own units


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


def svg(name: str, title: str, told: str, height: float, parts: Sequence[str]) -> str:
    """A whole figure with its title and its description for those who cannot see it."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="figure {name}" '
        f'viewBox="0 0 {WIDTH} {height:g}" role="img" '
        f'aria-labelledby="{name}-title {name}-desc" font-family="sans-serif" '
        'font-size="12" fill="currentColor" stroke="none">'
        f'<title id="{name}-title">{escape(title)}</title>'
        f'<desc id="{name}-desc">{escape(told)}</desc>{"".join(parts)}</svg>'
    )


def across(axis: Axis, top: float) -> str:
    """The axis below a plot."""
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


def key(names: Sequence[str]) -> list[str]:
    """The arms with their marks."""
    return [
        shape(number, MARGIN + 6, HEAD + KEY_ROW * number + 4)
        + f'<text x="{MARGIN + 18}" y="{HEAD + KEY_ROW * number + 8}" font-size="11">'
        f"{escape(name or 'all participants')}</text>"
        for number, name in enumerate(names)
    ]


def height_of(axis: Axis, value: float, head: float) -> float:
    """Where a value is on an axis that goes up."""
    low, high = axis.ticks[0], axis.ticks[-1]
    return head + PLOT * (1 - (value - low) / (high - low))


def shape(number: int, x: float, y: float) -> str:
    """A full square, a hollow circle, a triangle; then the same again."""
    if number % 3 == 0:
        return f'<rect class="arm-{number}" x="{x - 3:.1f}" y="{y - 3:.1f}" width="6" height="6"/>'
    if number % 3 == 1:
        return (
            f'<circle class="arm-{number}" cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="none" '
            'stroke="currentColor" stroke-width="1.5"/>'
        )
    return f'<path class="arm-{number}" d="M{x:.1f} {y - 4:.1f}l4 7h-8z"/>'


def upward(axis: Axis, head: float) -> str:
    """The axis to the left of a plot."""
    digits = max(len(f"{tick:.10g}".partition(".")[2]) for tick in axis.ticks)
    left = MARGIN + 28
    return (
        f'<line x1="{left}" x2="{left}" y1="{head}" y2="{head + PLOT}" stroke="currentColor"/>'
        + (
            "".join(
                f'<text class="tick" x="{left - 4}" y="{height_of(axis, tick, head) + 4:.1f}" '
                f'font-size="11" text-anchor="end">{signed(tick, digits)}</text>'
                for tick in axis.ticks
            )
        )
    )
