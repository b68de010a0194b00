"""Visits: recorded once, so that the phases that start at them can begin; dates corrected."""

from datetime import date, datetime
from zoneinfo import ZoneInfo

from django.db import IntegrityError, transaction

from ema import audit, hard_lock
from ema.audit import Actor
from ema.models import Participant, Phase, PhaseStart, Visit


class VisitRefused(ValueError):
    """The visit cannot be recorded like this; the message says what would be right."""


@transaction.atomic
def record_visit(
    *, participant: Participant, key: str, on_date: date, now: datetime, actor: Actor
) -> Visit:
    """A visit of a participant; phases that start at it begin from its date."""
    refuse_wrong_visit(participant=participant, key=key, on_date=on_date, now=now)
    try:
        with transaction.atomic():
            visit = Visit.objects.create(
                participant=participant, key=key, on_date=on_date, recorded_at=now
            )
            audit.record_about(
                participant=participant,
                actor=actor,
                action="visit.recorded",
                after={"key": key, "on_date": on_date.isoformat()},
            )
    except IntegrityError as error:
        if "a_visit_takes_place_once" not in str(error):
            raise
        message = f"Visit {key!r} of participant {participant.code} is recorded already."
        raise VisitRefused(message) from error
    return visit


@transaction.atomic
def correct_visit(
    *, visit: Visit, on_date: date, now: datetime, actor: Actor, reason: str
) -> list[PhaseStart]:
    """Another date for a visit, with a reason; the audit trail keeps the one before.

    Phases not begun begin from the new date. What is planned stands: those phases are returned.
    """
    old = Visit.objects.select_for_update(of=("self",)).get(pk=visit.pk)
    refuse_wrong_correction(visit=old, on_date=on_date, now=now, reason=reason)
    Visit.objects.filter(pk=old.pk).update(on_date=on_date, recorded_at=now)
    audit.record_about(
        participant=old.participant,
        actor=actor,
        action="visit.corrected",
        before={"key": old.key, "on_date": old.on_date.isoformat()},
        after={"key": old.key, "on_date": on_date.isoformat()},
        reason=reason.strip(),
    )
    standing = PhaseStart.objects.filter(participant=old.participant_id, phase__visit=old.key)
    return list(standing.select_related("phase").order_by("begins_on"))


def refuse_wrong_correction(*, visit: Visit, on_date: date, now: datetime, reason: str) -> None:
    """Raise VisitRefused when nothing changes, nobody says why, or the date cannot be."""
    if on_date == visit.on_date:
        raise VisitRefused(f"The visit is recorded on {on_date} already.")
    if not reason.strip():
        raise VisitRefused(
            f"Say why the date is corrected: it was recorded as {visit.on_date}, which is kept."
        )
    refuse_wrong_visit(participant=visit.participant, key=visit.key, on_date=on_date, now=now)


def refuse_wrong_visit(*, participant: Participant, key: str, on_date: date, now: datetime) -> None:
    """VisitRefused when the study is locked, no such visit starts a phase, or the date is wrong."""
    if why := hard_lock.refusal(participant.study):
        raise VisitRefused(why)
    named = Phase.objects.filter(study=participant.study_id).exclude(visit="")
    keys = list(named.order_by("position").values_list("visit", flat=True))
    if key not in keys:
        known = ", ".join(dict.fromkeys(keys)) or "none"
        raise VisitRefused(f"No phase starts at a visit {key!r}. Phases start at: {known}.")
    zone, started_at = ZoneInfo(participant.zone), participant.study.started_at
    if started_at is None:
        raise VisitRefused(
            f"Study {participant.study} has not started, so no phase can start at a visit: record "
            "it once the study has."
        )
    today, began_on = now.astimezone(zone).date(), started_at.astimezone(zone).date()
    if not participant.enrolled_on <= on_date <= today:
        raise VisitRefused(
            f"A visit lies between enrolment ({participant.enrolled_on}) and today ({today}), "
            f"not on {on_date}."
        )
    if on_date < began_on:
        raise VisitRefused(
            f"Study {participant.study} started on {began_on}, so no phase starts at a visit on "
            f"{on_date}: name a visit from that date on."
        )
