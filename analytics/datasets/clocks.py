"""What clocks showed: the offsets of a study's zones, from when until when, by Python's zones."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from zoneinfo import ZoneInfo

from django.db.models import Max, Min

from ema.models import AdverseEvent, Participant, Prompt, Study
from ema.models.schedule_change import ScheduleChange

MARGIN = timedelta(days=400)
DAY = timedelta(days=1)


class Stretch(NamedTuple):
    """A zone's offset in minutes, from `since` up to `until`."""

    zone: str
    since: datetime
    until: datetime
    offset_min: int


def as_sql(study: Study) -> str:
    """A table `clock` for the FROM of a query, to be joined by zone and instant."""
    rows = ", ".join(
        f"('{one.zone}', timestamptz '{one.since.isoformat()}', "
        f"timestamptz '{one.until.isoformat()}', {one.offset_min})"
        for one in stretches_of(study)
    )
    return f"(VALUES {rows}) AS clock (zone, since, until, offset_min)"


def at(zone: str, instant: str) -> str:
    """The condition of that join."""
    return f"clock.zone = {zone} AND {instant} >= clock.since AND {instant} < clock.until"


def stretches_of(study: Study) -> list[Stretch]:
    prompts = Prompt.objects.filter(participant__study=study)
    people = Participant.objects.filter(study=study)
    changes = ScheduleChange.objects.filter(participant__study=study)
    zones = {"UTC", *people.order_by().values_list("zone", flat=True).distinct()}
    zones |= set(prompts.order_by().values_list("zone", flat=True).distinct())
    zones |= set(changes.order_by().values_list("zone", flat=True).distinct())
    span = prompts.aggregate(first=Min("due_at"), last=Max("due_at"))
    span |= people.aggregate(enrolled=Min("enrolled_at"), left=Max("withdrawn_at"))
    events = AdverseEvent.objects.filter(participant__study=study)
    span |= events.aggregate(reported=Max("reported_at"))
    known = [at for at in span.values() if at is not None] or [datetime(2000, 1, 1, tzinfo=UTC)]
    since, until = min(known) - MARGIN, max(known) + MARGIN
    return [one for zone in sorted(zones) for one in stretches(zone, since, until)]


def stretches(zone: str, since: datetime, until: datetime) -> Iterator[Stretch]:
    """The stretches of one zone that cover since to until: looked for day by day."""
    here, begun = ZoneInfo(zone), since
    while begun < until:
        offset, end = begun.astimezone(here).utcoffset(), begun + DAY
        while end < until and end.astimezone(here).utcoffset() == offset:
            end += DAY
        low, high = end - DAY, end
        while end < until and high - low > timedelta(seconds=1):
            middle = low + (high - low) / 2
            if middle.astimezone(here).utcoffset() == offset:
                low = middle
            else:
                high = middle
        end = high.replace(microsecond=0) if end < until else until
        yield Stretch(zone, begun, end, int((offset or timedelta(0)).total_seconds()) // 60)
        begun = end
