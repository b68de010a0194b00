"""The power curve as SVG text, in the manner of `analytics.figures`."""

from __future__ import annotations

from html import escape

from analytics.figures import MARGIN, WIDTH, Axis, signed
from analytics.power import Point, Power
from analytics.power_report import asked, percent

LEFT, TOP, HEIGHT, BOTTOM = 46, 26, 180, 44  # in the figure's own units
SHARES = (0.0, 0.2, 0.4, 0.6, 0.8, 1.0)


def curve(power: Power) -> str:
    """How often a difference was found by attenuation, with intervals and the power wanted."""
    values = [100 * point.attenuation for point in power.points]
    axis = Axis.around(values)
    places = [(_across(axis, 100 * point.attenuation), point) for point in power.points]
    line = " ".join(f"{x:.1f},{_up(point.found.share):.1f}" for x, point in places)
    parts = [
        f'<text class="heading" x="{MARGIN}" y="14" font-weight="bold">Power by attenuation</text>',
        *(_level(share) for share in SHARES),
        _line("target", _up(power.question.target), "6 3"),
        _line("alpha", _up(power.question.alpha), "2 3"),
        (
            f'<polyline class="curve" points="{line}" fill="none" stroke="currentColor" '
            'stroke-width="1.5"/>'
        ),
        *(_mark(x, point) for x, point in places),
        _below(axis),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="power" '
        f'viewBox="0 0 {WIDTH} {TOP + HEIGHT + BOTTOM}" role="img" '
        'aria-labelledby="power-title power-desc" font-family="sans-serif" font-size="11" '
        'fill="currentColor" stroke="none">'
        '<title id="power-title">Share of simulated trials that find a difference in coupling, '
        "with 95 % intervals</title>"
        f'<desc id="power-desc">{escape(describe(power))}</desc>{"".join(parts)}</svg>\n'
    )


def describe(power: Power) -> str:
    """The figure in words."""
    told = "; ".join(_told(point) for point in power.points)
    target, alpha = percent(power.question.target), percent(power.question.alpha)
    return f"{asked(power)} {told}. Lines at {target} and {alpha}."


def _told(point: Point) -> str:
    low, high = point.found.interval
    return (
        f"{percent(point.attenuation)} attenuation: {percent(point.found.share, 1)} "
        f"({100 * low:.1f} to {100 * high:.1f})"
    )


def _across(axis: Axis, value: float) -> float:
    low, high = axis.ticks[0], axis.ticks[-1]
    return LEFT + (WIDTH - MARGIN - LEFT) * (value - low) / (high - low)


def _up(share: float) -> float:
    return TOP + HEIGHT * (1 - share)


def _level(share: float) -> str:
    y = _up(share)
    return (
        f'<line x1="{LEFT - 4}" x2="{LEFT}" y1="{y:.1f}" y2="{y:.1f}" stroke="currentColor"/>'
        f'<text class="tick" x="{LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{100 * share:.0f} %'
        "</text>"
    )


def _line(name: str, y: float, dashes: str) -> str:
    return (
        f'<line class="{name}" x1="{LEFT}" x2="{WIDTH - MARGIN}" y1="{y:.1f}" y2="{y:.1f}" '
        f'stroke="currentColor" stroke-dasharray="{dashes}" opacity="0.6"/>'
    )


def _mark(x: float, point: Point) -> str:
    low, high = (_up(bound) for bound in point.found.interval)
    return (
        f"<g><title>{escape(_told(point))}</title>"
        f'<line class="interval" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}" '
        'stroke="currentColor" stroke-width="2"/>'
        f'<rect class="estimate" x="{x - 3:.1f}" y="{_up(point.found.share) - 3:.1f}" '
        'width="6" height="6"/></g>'
    )


def _below(axis: Axis) -> str:
    y = TOP + HEIGHT
    digits = max(len(f"{tick:.10g}".partition(".")[2]) for tick in axis.ticks)
    ends = {axis.ticks[-1]: "end"}
    ticks = [
        f'<line x1="{_across(axis, tick):.1f}" x2="{_across(axis, tick):.1f}" y1="{y}" '
        f'y2="{y + 4}" stroke="currentColor"/>'
        f'<text class="tick" x="{_across(axis, tick):.1f}" y="{y + 17}" '
        f'text-anchor="{ends.get(tick, "middle")}">'
        f"{signed(tick, digits)} %</text>"
        for tick in axis.ticks
    ]
    return (
        f'<line x1="{LEFT}" x2="{WIDTH - MARGIN}" y1="{y}" y2="{y}" stroke="currentColor"/>'
        f'<line x1="{LEFT}" x2="{LEFT}" y1="{TOP}" y2="{y}" stroke="currentColor"/>'
        + "".join(ticks)
        + f'<text x="{WIDTH - MARGIN}" y="{y + 36}" text-anchor="end">attenuation of the coupling'
        "</text>"
    )
