"""Does the model fit? A figure of residuals, of slopes against the normal, of ends and of memory.

As in `analytics.figures`. Arms differ by shape, not by colour alone.
"""

from collections.abc import Iterator, Mapping, Sequence
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

FIT = "How well the model fits"
LEFT, FOOT, LINE = MARGIN + 30, 40, 20
Report = Mapping[str, Any]
Drawn = tuple[str, float, str]  # what is drawn, how high it is, and in words


def fit_panels(report: Report) -> str:
    """Residuals over the predictor, slopes against a normal distribution, ends, lag-1."""
    top, parts, told = 0.0, [], []
    for drawn, height, words in _panels(report):
        parts.append(f'<g transform="translate(0 {top:g})">{drawn}</g>')
        told.append(words)
        top += height
    return svg("fit", FIT, " ".join(told), top, parts)


def fit_rows(report: Report) -> list[dict[str, Any]]:
    """Every number of the panels: which panel, of which arm, at what, and how much."""
    found = report["diagnostics"]
    rows = [
        _number("residual", one["arm"], f"{one['from']:g} to {one['to']:g}", one["mean"])
        for one in found["residuals"]
    ]
    rows += [
        _number("slope", None, f"{one['normal']:.4f}", one["deviation"]) for one in found["slopes"]
    ]
    for one in report["arms"]:
        rows.append(_number("share", one["arm"], "lowest", one["at_floor"]))
        rows.append(_number("share", one["arm"], "highest", one["at_ceiling"]))
    rows += [_number("lag-1", one["arm"], "", one["lag1"]) for one in found["residual_lag1"]]
    return rows


def _number(panel: str, arm: str | None, at: str, value: float | None) -> dict[str, Any]:
    return {"panel": panel, "arm": arm or "", "at": at, "value": value}


def _panels(report: Report) -> Iterator[Drawn]:
    yield _residuals(report)
    yield _quantiles(report["diagnostics"]["slopes"])
    shares = [
        (f"{name}, {_named(one)}", one[value])
        for name, value in (("lowest", "at_floor"), ("highest", "at_ceiling"))
        for one in report["arms"]
        if one[value] is not None
    ]
    outcome = report["outcome"]
    yield _bars(f"Share of {outcome} at its lowest and highest", shares, percent=True)
    memory = report["diagnostics"]["residual_lag1"]
    of_arms = [(_named(one), one["lag1"]) for one in memory if one["lag1"] is not None]
    if of_arms:
        yield _bars("Lag-1 autocorrelation of residuals within days", of_arms)


def _named(one: Report) -> str:
    return one["arm"] or "all participants"


def _residuals(report: Report) -> Drawn:
    """Means with 95 % intervals in each range of the predictor; around zero where a line fits."""
    rows = [one for one in report["diagnostics"]["residuals"] if one["mean"] is not None]
    names = list(dict.fromkeys(one["arm"] for one in rows))
    spots = sorted({(row["from"], row["to"]) for row in rows})
    ends = [end for row in rows for end in (row["mean"], *(row["interval"] or ()))]
    axis, head = Axis.around(ends), HEAD + KEY_ROW * len(names)
    predictor = str(report["predictor"]).replace("_", " ")
    zero = height_of(axis, 0, head)
    parts = [
        _heading(f"Mean residual at each level of {predictor}"),
        *key([name or "" for name in names]),
        upward(axis, head),
        (
            f'<line class="zero" x1="{LEFT}" x2="{WIDTH - MARGIN}" y1="{zero:.1f}" '
            f'y2="{zero:.1f}" stroke="currentColor" stroke-dasharray="3 3"/>'
        ),
    ]
    room = (WIDTH - MARGIN - LEFT) / len(spots)
    for row in rows:
        number = names.index(row["arm"])
        beside = (number - (len(names) - 1) / 2) * min(8.0, room / (len(names) + 1))
        x = LEFT + room * (spots.index((row["from"], row["to"])) + 0.5) + beside
        parts.append(_mean(row, x, axis, head, number))
    for place, (low, high) in enumerate(spots):
        label = f"{low:g}" if low == high else f"{low:g}–{high:g}"
        parts.append(
            f'<text class="tick" x="{LEFT + room * (place + 0.5):.1f}" y="{head + PLOT + 16}" '
            f'font-size="9" text-anchor="middle">{label}</text>'
        )
    largest = max(rows, key=lambda row: abs(row["mean"]))
    told = (
        f"Mean residuals at {len(spots)} levels of {predictor}: the largest is "
        f"{signed(largest['mean'], 2)} at {largest['from']:g} to {largest['to']:g}."
    )
    return "".join(parts), head + PLOT + FOOT, told


def _mean(row: Report, x: float, axis: Axis, head: float, number: int) -> str:
    bar = ""
    if row["interval"]:
        low, high = (height_of(axis, end, head) for end in row["interval"])
        bar = (
            f'<line class="interval" x1="{x:.1f}" x2="{x:.1f}" y1="{low:.1f}" y2="{high:.1f}" '
            'stroke="currentColor"/>'
        )
    said = f"{_named(row)}, {row['from']:g} to {row['to']:g}: {signed(row['mean'], 2)}"
    mark = shape(number, x, height_of(axis, row["mean"], head))
    return f"<g><title>{escape(said)}</title>{bar}{mark}</g>"


def _quantiles(slopes: Sequence[Report]) -> Drawn:
    """Deviations of slopes against normal quantiles: on a line where they are normal."""
    widest = max(abs(one["normal"]) for one in slopes) or 1.0
    spread = _spread(slopes)
    most = spread * widest
    axis = Axis.around([-most, most, *(one["deviation"] for one in slopes)])
    middle, reach = (LEFT + WIDTH - MARGIN) / 2, (WIDTH - MARGIN - LEFT) / 2 - 6
    dots = "".join(
        f'<circle class="estimate" cx="{middle + reach * one["normal"] / widest:.1f}" '
        f'cy="{height_of(axis, one["deviation"], HEAD):.1f}" r="2"/>'
        for one in slopes
    )
    ends = [height_of(axis, end, HEAD) for end in (-most, most)]
    line = (
        f'<line class="zero" x1="{middle - reach:.1f}" y1="{ends[0]:.1f}" '
        f'x2="{middle + reach:.1f}" y2="{ends[1]:.1f}" stroke="currentColor" '
        'stroke-dasharray="3 3"/>'
    )
    below = (
        f'<text x="{WIDTH / 2}" y="{HEAD + PLOT + 18}" font-size="11" text-anchor="middle">'
        "normal quantiles</text>"
    )
    told = f"Predicted deviations of slopes: their spread is {spread:.3f} per normal quantile."
    heading = _heading("Deviations of slopes against a normal distribution")
    return heading + upward(axis, HEAD) + line + dots + below, HEAD + PLOT + FOOT, told


def _spread(slopes: Sequence[Report]) -> float:
    """The slope of the line through the points and zero."""
    squares = sum(one["normal"] ** 2 for one in slopes)
    if not squares:
        return 0.0
    return float(sum(one["normal"] * one["deviation"] for one in slopes) / squares)


def _bars(heading: str, rows: Sequence[tuple[str, float]], percent: bool = False) -> Drawn:
    """A bar from zero for each, with its name and its number."""
    axis = Axis.around([value for _, value in rows])
    parts, told = [_heading(heading)], []
    for place, (name, value) in enumerate(rows):
        top = HEAD + 2 * LINE * place
        number = f"{100 * value:.0f} %" if percent else signed(value)
        zero, end = sorted((axis.at(0), axis.at(value)))
        parts.append(
            f'<text x="{MARGIN + 6}" y="{top + 12}">{escape(name)}</text>'
            f'<text x="{WIDTH - MARGIN - 6}" y="{top + 12}" text-anchor="end">{number}</text>'
            f'<rect class="estimate" x="{zero:.1f}" y="{top + 18}" '
            f'width="{max(end - zero, 0.5):.1f}" height="10"/>'
        )
        told.append(f"{name}: {number}")
    bottom = HEAD + 2 * LINE * len(rows)
    parts.append(across(axis, bottom))
    return "".join(parts), bottom + FOOT, f"{heading}: {'; '.join(told)}."


def _heading(text: str) -> str:
    return f'<text class="heading" x="{MARGIN}" y="14" font-weight="bold">{escape(text)}</text>'
