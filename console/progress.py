"""How participants do: where each stands, what reached them, what they answered, last contact."""

from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Count, Max, Min, Q, QuerySet

from ema.models import (
    Device,
    DoubleEntry,
    Participant,
    Pause,
    PhaseStart,
    Prompt,
    Quarantine,
    UrineTest,
)
from ema.prompt_state import REACHED_A_PHONE
from ema.zone_names import zone_named

DAY = timedelta(days=1)
WEEK = 7 * DAY
SILENT_HOURS = (72, 48, 24)
DELIVERED = REACHED_A_PHONE | Q(answered_at__isnull=False)
STATUSES = {
    "active": "active",
    "no phone": "no phone: issue a code",
    "not begun": "enrolled, no phase has begun",
    "paused": "paused",
    "finished": "all phases are over",
    "withdrawn": "withdrawn",
}


class Share(NamedTuple):
    """Prompts that were due, that reached a phone, and that were answered."""

    due: int = 0
    delivered: int = 0
    answered: int = 0

    @property
    def compliance(self) -> float | None:
        """Answered of what reached a phone; None where nothing did."""
        return self.answered / self.delivered if self.delivered else None

    @property
    def percent(self) -> str:
        return "–" if self.compliance is None else f"{self.compliance:.0%}".replace("%", " %")


class Progress(NamedTuple):
    """A participant as the roster shows them; instants are UTC."""

    participant: Participant
    status: str
    day: int
    days: int | None
    week: Share
    heard_at: datetime | None
    silent_hours: int
    app_version: str
    next_urine_on: date | None
    flags: tuple[str, ...]

    @property
    def urgency(self) -> tuple[Any, ...]:
        """Worst first: active and silent longest, then least compliant; who left comes last."""
        compliance = self.week.compliance
        return (
            list(STATUSES).index(self.status),
            -self.silent_hours,
            1.0 if compliance is None else compliance,
            self.participant.code,
        )


class Gathered(NamedTuple):
    """What the rows of a roster are made of, by participant; each is one statement."""

    prompts: dict[int, dict[str, Any]]
    phones: dict[int, Device]
    paused: set[int]
    last_on: dict[int, date]
    begun_on: dict[int, date]
    urine: dict[int, dict[str, Any]]
    quarantined: Counter[int]


def progress_of(people: QuerySet[Participant], now: datetime) -> list[Progress]:
    """Everybody's, worst first."""
    listed = list(people.select_related("site"))
    found = _gather(listed, people, now)
    return sorted((_one(person, found, now) for person in listed), key=lambda each: each.urgency)


def _gather(
    listed: Sequence[Participant], people: QuerySet[Participant], now: datetime
) -> Gathered:
    ids = people.order_by().values("pk")
    starts = PhaseStart.objects.filter(participant__in=ids).order_by("begins_on")
    last_on: dict[int, date] = {}
    begun_on: dict[int, date] = {}
    for person, begins_on, days in starts.values_list("participant", "begins_on", "phase__days"):
        begun_on.setdefault(person, begins_on)
        last_on[person] = max(begins_on + (days - 1) * DAY, last_on.get(person, begins_on))
    entered = DoubleEntry.objects.waiting().filter(participant__in=ids).exclude(urine_test=None)
    open_tests = UrineTest.objects.filter(participant__in=ids, result="").order_by()
    open_tests = open_tests.exclude(pk__in=entered.values("urine_test"))
    today = now.date()
    return Gathered(
        prompts=_prompts([person.pk for person in listed], ids, now),
        phones={
            each.participant_id: each
            for each in Device.objects.active().filter(participant__in=ids).select_related("push")
        },
        paused=set(
            Pause.objects.open(now)
            .filter(participant__in=ids, begins_at__lte=now)
            .values_list("participant", flat=True)
        ),
        last_on=last_on,
        begun_on=begun_on,
        urine={
            each["participant"]: dict(each)
            for each in open_tests.values("participant").annotate(
                next_on=Min("due_on", filter=Q(due_on__gte=today)),
                overdue=Count("pk", filter=Q(due_on__lt=today)),
            )
        },
        quarantined=Counter(
            Quarantine.objects.filter(participant__in=ids, resolved_at=None).values_list(
                "participant", flat=True
            )
        ),
    )


def _prompts(
    everybody: Sequence[int], ids: QuerySet[Participant, Any], now: datetime
) -> dict[int, dict[str, Any]]:
    """The last week's prompts by participant; of who answered none, when they last did."""
    prompts = Prompt.objects.standing().filter(participant__in=ids).order_by()
    week = prompts.filter(due_at__gt=now - WEEK, due_at__lte=now).values("participant")
    found = {
        each["participant"]: dict(each)
        for each in week.annotate(
            due=Count("pk"),
            delivered=Count("pk", filter=DELIVERED),
            answered=Count("pk", filter=Q(answered_at__isnull=False)),
            last_answer_at=Max("answered_at"),
        )
    }
    quiet = [pk for pk in everybody if not found.get(pk, {}).get("last_answer_at")]
    before = Prompt.objects.filter(participant__in=quiet, answered_at__isnull=False).order_by()
    if quiet:
        for pk, at in before.values_list("participant").annotate(Max("answered_at")):
            found.setdefault(pk, {})["last_answer_at"] = at
    return found


def _one(person: Participant, found: Gathered, now: datetime) -> Progress:
    today = now.astimezone(zone_named(person.zone)).date()
    prompts, phone = found.prompts.get(person.pk, {}), found.phones.get(person.pk)
    status = _status(person, found, today, now)
    heard_at = max(filter(None, _contacts(phone, prompts)), default=None)
    silent = _silent_hours(heard_at, now) if status == "active" else 0
    urine = found.urine.get(person.pk, {})
    last_on = found.last_on.get(person.pk)
    return Progress(
        participant=person,
        status=status,
        day=max((min(today, last_on or today) - person.enrolled_on).days + 1, 1),
        days=(last_on - person.enrolled_on).days + 1 if last_on else None,
        week=Share(*(prompts.get(name, 0) for name in Share._fields)),
        heard_at=heard_at,
        silent_hours=silent,
        app_version=phone.app_version if phone else "",
        next_urine_on=urine.get("next_on"),
        flags=tuple(_flags(person, found, phone, silent)),
    )


def _status(person: Participant, found: Gathered, today: date, now: datetime) -> str:
    if person.withdrawn_at and person.withdrawn_at <= now:
        return "withdrawn"
    if (last_on := found.last_on.get(person.pk)) and today > last_on:
        return "finished"
    if person.pk in found.paused:
        return "paused"
    if person.pk not in found.phones:
        return "no phone"
    begun_on = found.begun_on.get(person.pk)
    return "active" if begun_on and begun_on <= today else "not begun"


def _contacts(phone: Device | None, prompts: dict[str, Any]) -> Iterable[datetime | None]:
    yield prompts.get("last_answer_at")
    if phone:
        yield phone.enrolled_at
        yield phone.schedule_at


def _silent_hours(heard_at: datetime | None, now: datetime) -> int:
    """24, 48 or 72 when nothing was heard for so long, else 0."""
    if heard_at is None:
        return SILENT_HOURS[0]
    gone = now - heard_at
    return next((hours for hours in SILENT_HOURS if gone >= timedelta(hours=hours)), 0)


def _flags(
    person: Participant, found: Gathered, phone: Device | None, silent: int
) -> Iterable[str]:
    if silent:
        yield f"silent for {silent} h"
    if phone and getattr(phone, "push", None) and phone.push.died_at:
        yield "push has ended"
    if overdue := found.urine.get(person.pk, {}).get("overdue"):
        yield f"{overdue} urine result{'' if overdue == 1 else 's'} open"
    if waiting := found.quarantined[person.pk]:
        yield f"{waiting} in quarantine"
