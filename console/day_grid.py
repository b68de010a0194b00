"""Participants × study days as one drawing: how much of what reached them they answered."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, NamedTuple
from xml.sax.saxutils import escape

from django.db.models import Count, F, Q, QuerySet

from console.progress import DELIVERED, Share
from ema.models import Participant, Prompt

CELL, GAP, LEFT, TOP = 9, 1, 76, 26
# Shades of one hue, which differ in lightness for everybody; the page's own say so for both looks.
FILLS = ("#d9d9d9", "#f3e3b3", "#a9d3a5", "#5fb0a0", "#2f7f8f", "#1f4e79")
DESCRIBED = (
    "Each row is a participant, each column a study day; the darker, the more of the prompts that "
    "reached the phone were answered. The same numbers are in the CSV beside it."
)
LEVELS = ("none delivered", "none", "up to a third", "up to two thirds", "most", "all")
Days = dict[int, Share]


class Person(NamedTuple):
    """A row of the grid: shares by study day."""

    code: str
    site: str
    days: Days


def days_of(people: Sequence[Participant], now: datetime) -> list[Person]:
    """What was due, delivered and answered on each study day, of these participants."""
    found: dict[int, Days] = defaultdict(dict)
    for each in _counted(Prompt.objects.filter(participant__in=people), now, "participant", "day"):
        found[each["participant"]][each["day"]] = _share(each)
    return [Person(person.code, person.site.code, found[person.pk]) for person in people]


def weeks_of(people: QuerySet[Participant], now: datetime) -> dict[int, dict[str, Share]]:
    """The same of everybody together, by study week and site."""
    found: dict[int, dict[str, Share]] = defaultdict(dict)
    prompts = Prompt.objects.filter(participant__in=people.order_by().values("pk"))
    for each in _counted(prompts, now, "week", "participant__site__code"):
        found[each["week"]][each["participant__site__code"]] = _share(each)
    return dict(sorted(found.items()))


def _counted(prompts: QuerySet[Prompt], now: datetime, *by: str) -> Any:
    """One statement; a study week is seven study days."""
    due: Any = prompts.filter(cancelled_at=None, due_at__lte=now).order_by()
    due = due.annotate(day=F("study_day"), week=(F("study_day") - 1) / 7 + 1)
    return due.values(*by).annotate(
        due=Count("pk"),
        delivered=Count("pk", filter=DELIVERED),
        answered=Count("pk", filter=Q(answered_at__isnull=False)),
    )


def _share(each: Mapping[str, Any]) -> Share:
    return Share(each["due"], each["delivered"], each["answered"])


def level_of(share: Share) -> int:
    """Which of LEVELS a day is."""
    if not share.delivered:
        return 0
    if share.answered == share.delivered:
        return 5
    return min(4, 1 + -(-share.answered * 3 // share.delivered)) if share.answered else 1


def drawn(people: Sequence[Person], title: str) -> str:
    """The grid as SVG: a path for each level, so that many cells weigh little."""
    last = max((day for person in people for day in person.days), default=1)
    step = CELL + GAP
    width, height = LEFT + last * step + 4, TOP + len(people) * step + 4
    cells: list[list[str]] = [[] for _ in LEVELS]
    for row, person in enumerate(people):
        for day, share in person.days.items():
            x, y = LEFT + (day - 1) * step, TOP + row * step
            cells[level_of(share)].append(f"M{x} {y}h{CELL}v{CELL}h-{CELL}z")
    paths = "".join(
        f'<path fill="{FILLS[level]}" d="{"".join(drawing)}"/>'
        for level, drawing in enumerate(cells)
        if drawing
    )
    codes = "".join(
        f'<text x="{LEFT - 6}" y="{TOP + row * step + 8}" text-anchor="end">'
        f"{escape(person.code)}</text>"
        for row, person in enumerate(people)
    )
    ticks = "".join(
        f'<text x="{LEFT + (day - 1) * step}" y="{TOP - 8}">{day}</text>'
        for day in range(1, last + 1, 7)
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="days" role="img" width="{width}" '
        f'height="{height}" viewBox="0 0 {width} {height}" font-size="9" '
        f'font-family="system-ui, sans-serif" fill="currentColor">'
        f"<title>{escape(title)}</title><desc>{DESCRIBED}</desc>{ticks}{codes}{paths}</svg>"
    )


def rows_of(people: Sequence[Person]) -> list[tuple[Any, ...]]:
    """The numbers behind the grid."""
    return [
        (person.code, person.site, day, *person.days[day])
        for person in people
        for day in sorted(person.days)
    ]
