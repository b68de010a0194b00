"""Take up a new zone or new waking hours: days that no phone has yet are planned anew.

Same draws, other instants. What a phone has keeps its instants; what is superseded stays a row.
"""

from datetime import date, datetime, timedelta
from zoneinfo import ZoneInfo

from django.db import connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Coalesce

from ema.models import PhaseStart, Prompt, ScheduleChange
from ema.models.prompt import CancelReason
from scheduler.protocols import protocol_of
from scheduler.zones import study_day_windows, zone_named

DAY = timedelta(days=1)
ON_A_PHONE = (
    Q(released_at__isnull=False)
    | Q(armed_at__isnull=False)
    | Q(sent_at__isnull=False)
    | Q(shown_at__isnull=False)
    | Q(opened_at__isnull=False)
    | Q(answered_at__isnull=False)
)


def take_up_changes(now: datetime) -> int:
    """Supersede what was planned before a change; how many prompts. The planner fills the days."""
    waiting = ScheduleChange.objects.filter(
        holds_from=None,
        participant__withdrawn_at=None,
        participant__study__started_at__isnull=False,
        participant__study__locked_at=None,
    )
    return sum(_take_up(pk, now) for pk in waiting.order_by("pk").values_list("pk", flat=True))


@transaction.atomic
def _take_up(pk: int, now: datetime) -> int:
    claimed = ScheduleChange.objects.select_for_update(skip_locked=True)
    change = claimed.filter(pk=pk, holds_from=None).first()
    if change is None:
        return 0
    planned = Prompt.objects.filter(
        participant=change.participant_id, study_on__gte=change.effective_on
    )
    list(planned.select_for_update(no_key=True).order_by("pk").values_list("pk", flat=True))
    last = planned.filter(ON_A_PHONE).order_by("-study_on").first()
    holds_from = max(change.effective_on, last.study_on + DAY) if last else change.effective_on
    ScheduleChange.objects.filter(pk=pk).update(
        holds_from=holds_from, quiet_until=_quiet_until(change, holds_from - DAY)
    )
    overtaken = planned.filter(study_on__gte=holds_from).exclude(
        cancel_reason=CancelReason.SUPERSEDED
    )
    return overtaken.update(
        cancelled_at=Coalesce(F("cancelled_at"), now), cancel_reason=CancelReason.SUPERSEDED
    )


def _quiet_until(change: ScheduleChange, last_on: date) -> datetime:
    """The end of the last day by the old clock, and the minimum gap; at least the change itself."""
    starts = PhaseStart.objects.filter(
        participant=change.participant_id, begins_on__lte=last_on
    ).select_related("phase")
    start = starts.order_by("-begins_on").first()
    if start is None or last_on >= start.begins_on + start.phase.days * DAY:
        return change.reported_at
    try:
        protocol = protocol_of(start.phase, change.windows_before)
        spans = study_day_windows(last_on, protocol.windows, _zone_on(change, last_on))
    except ValueError:  # of a day that could not be planned
        return change.reported_at
    ends = [end + protocol.minimum_gap for _, end in spans]
    return max([change.reported_at, *ends])


def _zone_on(change: ScheduleChange, on: date) -> ZoneInfo:
    """The zone in which a day was planned, if it was: an earlier change may have come between."""
    planned = Prompt.objects.filter(participant=change.participant_id, study_on=on)
    prompt = planned.exclude(cancel_reason=CancelReason.SUPERSEDED).first()
    return zone_named(prompt.zone if prompt else change.zone_before)


CANCEL_OVERLAPPING = """
UPDATE ema_prompt prompt SET cancelled_at = %s, cancel_reason = 'overlap_after_travel'
FROM ema_schedulechange change
WHERE change.participant_id = prompt.participant_id
AND prompt.study_on >= change.holds_from AND prompt.due_at < change.quiet_until
AND prompt.planned_at >= change.reported_at
AND prompt.cancelled_at IS NULL AND prompt.answered_at IS NULL
"""


def cancel_overlapping(now: datetime) -> int:
    """Cancel prompts of new days that would come before the day before has ended; how many."""
    with connection.cursor() as cursor:
        cursor.execute(CANCEL_OVERLAPPING, [now])
        cancelled: int = cursor.rowcount
    return cancelled
