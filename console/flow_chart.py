"""The flow of participants as SVG text: boxes from screening to analysis, losses beside them."""

from collections.abc import Sequence
from html import escape

from console.flow_counts import STAGES, Flow, Group

WIDTH, BOX, GAP, LINE, EDGE = 640, 260, 36, 15, 8
LEFT, SIDE, SIDE_BOX = 8, 330, 302
LONGEST, MOST_REASONS = 42, 6


def chart(flow: Flow) -> str:
    """Readable without a stylesheet, and by the table beside it without seeing it."""
    parts, y = list[str](), EDGE
    for lines, beside in _upper(flow):
        height = max(_height(lines), _height(beside))
        parts += [_box(LEFT, y, BOX, lines), _box(SIDE, y, SIDE_BOX, beside), _across(y + 14)]
        parts.append(_down(LEFT + BOX // 2, y + _height(lines), y + height + GAP))
        y += height + GAP
    drawn, bottom = _lower(flow.groups, y)
    summary = f"{flow.screened} screened, {flow.n_excluded} excluded, {flow.enrolled} enrolled"
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="flow" viewBox="0 0 {WIDTH} {bottom}" '
        'role="img" font-family="sans-serif" font-size="11" fill="currentColor">'
        f"<title>Flow of participants</title><desc>{summary}; the table has every number.</desc>"
        f"{''.join([*parts, *drawn])}</svg>"
    )


def _upper(flow: Flow) -> list[tuple[list[str], list[str]]]:
    reasons = [f"{one.reason}: {one.n}" for one in flow.excluded[:MOST_REASONS]]
    if len(flow.excluded) > MOST_REASONS:
        rest = sum(one.n for one in flow.excluded[MOST_REASONS:])
        reasons.append(f"{len(flow.excluded) - MOST_REASONS} more reasons: {rest}")
    return [
        ([f"Screened: {flow.screened}"], [f"Excluded: {flow.n_excluded}", *reasons]),
        (
            [f"Eligible: {flow.eligible}", f"Enrolled: {flow.enrolled}"],
            [f"Not randomised: {flow.not_randomised}"],
        ),
    ]


def _lower(groups: Sequence[Group], y: int) -> tuple[list[str], int]:
    """A column for each group."""
    width = min(BOX, (WIDTH - EDGE) // len(groups) - EDGE)
    height = 0
    parts = []
    for number, group in enumerate(groups):
        left = LEFT + number * (width + EDGE)
        first = [f"Randomised: {group.randomised}"]
        lost = [
            f"{stage.capitalize()}: {n}" for stage, n in zip(STAGES[1:3], group[2:4], strict=True)
        ]
        last = [f"Analysed: {group.analysed}"]
        if len(groups) > 1:
            first.insert(0, group.name)
        if number:  # a branch of the line that comes from above
            parts.append(_down(left + width // 2, y - GAP // 2, y))
        place = y
        for lines in (first, lost, last):
            parts.append(_box(left, place, width, lines))
            place += _height(lines) + GAP
            if lines is not last:
                parts.append(_down(left + width // 2, place - GAP, place))
        height = place - GAP
    last_middle = LEFT + (len(groups) - 1) * (width + EDGE) + width // 2
    branch = f"M{LEFT + BOX // 2} {y - GAP // 2}H{last_middle}"
    parts.append(f'<path d="{branch}" fill="none" stroke="currentColor"/>')
    return parts, height + EDGE


def _height(lines: Sequence[str]) -> int:
    return LINE * len(lines) + 14


def _box(left: int, y: int, width: int, lines: Sequence[str]) -> str:
    texts = "".join(
        f'<text x="{left + 10}" y="{y + 20 + LINE * number}">{escape(_short(line))}</text>'
        for number, line in enumerate(lines)
    )
    edge = f'<rect x="{left}" y="{y}" width="{width}" height="{_height(lines)}" rx="4" '
    return f'{edge}fill="none" stroke="currentColor"/>{texts}'


def _short(line: str) -> str:
    return line if len(line) <= LONGEST else f"{line[: LONGEST - 1]}…"


def _down(x: int, start: int, end: int) -> str:
    return f'<path d="M{x} {start}V{end - 1}m-4 -6l4 6l4 -6" fill="none" stroke="currentColor"/>'


def _across(y: int) -> str:
    return (
        f'<path d="M{LEFT + BOX} {y}H{SIDE - 1}m-6 -4l6 4l-6 4" fill="none" stroke="currentColor"/>'
    )
