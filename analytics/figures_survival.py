"""Survival curves as SVG text: the share without the event, and how many are still at risk.

As in `analytics.figures`: made without a browser or a clock, readable without a stylesheet. Arms
differ by their dashes, not by colour alone.
"""

from collections.abc import Mapping, Sequence
from functools import partial
from html import escape
from typing import Any

from analytics.figure_list import Figure
from analytics.figures import HEAD, MARGIN, WIDTH, round_step

PLOT, KEY_ROW, RISK_ROW, LEFT = 180, 16, 15, 44
DASHES = ("", "6 3", "2 3", "9 3 2 3", "1 5")
SHARES = (0.0, 0.25, 0.5, 0.75, 1.0)
MIDDLE = 'font-size="11" text-anchor="middle"'
Report = Mapping[str, Any]


def figures_of_outcomes(report: Report) -> dict[str, Figure]:
    """By event; only those that any arm has a curve of."""
    return {
        event: figure
        for event, figure in FIGURES.items()
        if any(one[event] is not None for one in report["arms"])
    }


def rows_of(report: Report, event: str) -> list[dict[str, Any]]:
    """The numbers behind a curve: a row per arm and day on which its share falls."""
    return [
        {"arm": one["arm"] or "", "day": day, "without": share, "low": low, "high": high}
        for one in report["arms"]
        if one[event] is not None
        for day, share, low, high in zip(
            *(one[event]["curve"][name] for name in ("day", "without", "low", "high")), strict=True
        )
    ]


def curves(report: Report, event: str) -> str:
    """A step for every day with an event; below, the number at risk by arm."""
    arms = [one for one in report["arms"] if one[event] is not None]
    last = max(one[event]["last_day"] for one in arms)
    step = round_step(last / 6) if last > 6 else 1
    end = step * -(-last // step)
    head = HEAD + KEY_ROW * len(arms)
    parts = [
        _text(MARGIN, 14, f"Share without a {event}", 'class="heading" font-weight="bold"'),
        *(_key(number, one) for number, one in enumerate(arms)),
        *_frame(head, end, step),
        *(_curve(number, one, event, head, end) for number, one in enumerate(arms)),
        *_at_risk(arms, event, head + PLOT + 46, end),
    ]
    height = head + PLOT + 52 + RISK_ROW * (len(arms) + 1)
    title = FIGURES[event].title
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="survival" viewBox="0 0 {WIDTH} {height}" '
        f'role="img" aria-labelledby="{event}-title {event}-desc" font-family="sans-serif" '
        'font-size="12" fill="currentColor" stroke="none">'
        f'<title id="{event}-title">{escape(title)}</title>'
        f'<desc id="{event}-desc">{escape(_told(arms, event))}</desc>{"".join(parts)}</svg>'
    )


def _text(x: float, y: float, text: str, how: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" {how}>{escape(text)}</text>'


def _name(one: Mapping[str, Any]) -> str:
    return str(one["arm"] or "all participants")


def _told(arms: Sequence[Mapping[str, Any]], event: str) -> str:
    said = [
        f"{_name(one)}: {one[event]['n']} of {one['n_with_tests']} had a {event}, "
        + (
            "median not reached"
            if one[event]["median"] is None
            else f"half of all by day {one[event]['median']:g}"
        )
        for one in arms
    ]
    return "; ".join(said) + "."


def _stroke(number: int) -> str:
    dashes = DASHES[number % len(DASHES)]
    return f'class="arm-{number}" fill="none" stroke="currentColor" stroke-width="1.6"' + (
        f' stroke-dasharray="{dashes}"' if dashes else ""
    )


def _key(number: int, one: Mapping[str, Any]) -> str:
    y = HEAD + KEY_ROW * number + 2
    return f'<path {_stroke(number)} d="M{MARGIN} {y}h28"/>' + _text(
        MARGIN + 36, y + 4, _name(one), 'font-size="11"'
    )


def _x(day: float, end: float) -> float:
    return LEFT + (WIDTH - MARGIN - LEFT) * day / end


def _y(share: float, head: float) -> float:
    return head + PLOT * (1 - share)


def _frame(head: float, end: float, step: float) -> list[str]:
    bottom = head + PLOT
    parts = [
        f'<path d="M{LEFT} {head}V{bottom}H{WIDTH - MARGIN}" fill="none" stroke="currentColor"/>'
    ]
    parts += [
        _text(LEFT - 5, _y(share, head) + 4, f"{share:.0%}", 'font-size="11" text-anchor="end"')
        for share in SHARES
    ]
    parts += [_text(_x(day, end), bottom + 15, f"{day:g}", MIDDLE) for day in _ticks(end, step)]
    middle = (LEFT + WIDTH - MARGIN) / 2
    return [
        *parts,
        _text(middle, bottom + 30, "days since the beginning", MIDDLE),
    ]


def _ticks(end: float, step: float) -> list[float]:
    return [step * number for number in range(round(end / step) + 1)]


def _curve(number: int, one: Mapping[str, Any], event: str, head: float, end: float) -> str:
    """From everybody on day 0 down, and flat until the last day anybody was followed."""
    found = one[event]
    path = f"M{_x(0, end):.1f} {_y(1, head):.1f}"
    for day, share in zip(found["curve"]["day"], found["curve"]["without"], strict=True):
        path += f"H{_x(day, end):.1f}V{_y(share, head):.1f}"
    path += f"H{_x(found['last_day'], end):.1f}"
    drawn = f'<path {_stroke(number)} d="{path}"><title>{escape(_name(one))}</title></path>'
    return _band(number, found, head, end) + drawn


def _band(number: int, found: Mapping[str, Any], head: float, end: float) -> str:
    """The 95 % interval as an area of steps, where there is one."""
    curve = found["curve"]
    until = [*curve["day"][1:], found["last_day"]]
    boxes = "".join(
        f"M{_x(day, end):.1f} {_y(high, head):.1f}H{_x(later, end):.1f}V{_y(low, head):.1f}"
        f"H{_x(day, end):.1f}z"
        for day, later, low, high in zip(
            curve["day"], until, curve["low"], curve["high"], strict=False
        )
        if low is not None
    )
    return f'<path class="band-{number}" d="{boxes}" fill-opacity="0.12"/>' if boxes else ""


def _at_risk(arms: Sequence[Mapping[str, Any]], event: str, top: float, end: float) -> list[str]:
    """A row per arm under its days; the arm is named by its line, as in the key."""
    parts = [_text(MARGIN, top, "At risk", 'font-size="11" font-weight="bold"')]
    for number, one in enumerate(arms):
        y = top + RISK_ROW * (number + 1)
        parts.append(f'<path {_stroke(number)} d="M{MARGIN} {y - 4}h18"/>')
        parts += [
            _text(_x(at["day"], end), y, str(at["n"]), MIDDLE) for at in one[event]["at_risk"]
        ]
    return parts


FIGURES = {
    event: Figure(
        f"Time to {event} by arm (Kaplan–Meier, 95 % intervals), with the number at risk",
        partial(curves, event=event),
        partial(rows_of, event=event),
    )
    for event in ("lapse", "relapse")
}
