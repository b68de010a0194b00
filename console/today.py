"""Today: what was asked, who is silent, which tests are due, and whether the parts run."""

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from django.db.models import Count, Min, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from console.progress import DELIVERED, SILENT_HOURS, Progress, progress_of
from ema import access, heartbeat
from ema.access import CARERS, READERS
from ema.models import (
    DoubleEntry,
    Heartbeat,
    Participant,
    Prompt,
    PushRegistration,
    Quarantine,
    Study,
    UrineTest,
)
from ema.models.study import Role
from ema.pages import answer_page, operators_page
from ema.zone_names import zone_named
from scheduler.models import Delivery

DAY = timedelta(days=1)
MOST_LISTED = 20
COORDINATORS = frozenset({Role.COORDINATOR.value})


class Asked(NamedTuple):
    """Today's prompts of a site, or of all."""

    site: str
    planned: int
    due: int
    delivered: int
    answered: int
    waiting: int

    @property
    def share(self) -> str:
        return f"{self.answered / self.delivered:.0%}".replace("%", " %") if self.delivered else "–"


@require_GET
@operators_page
def today(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.access_study(user=request.user, slug=slug, roles=READERS)
    now = timezone.now()
    begins = now.astimezone(zone_named(study.zone)).replace(
        hour=0, minute=0, second=0, microsecond=0
    )
    people = access.participants_for(request.user).filter(study=study)
    everybody = progress_of(people, now)
    asked = list(_asked(people, begins, now))
    return answer_page(
        request,
        "console/today.html",
        f"Today: {study.title}",
        study=study,
        now=now.astimezone(zone_named(study.zone)),
        only_sites=access.only_sites_of(user=request.user, study=study),
        asked=asked,
        whole=_together(asked),
        statuses=_statuses(everybody),
        silent=_silent(everybody),
        low=[one for one in everybody if _is_low(one)][:MOST_LISTED],
        alerts=_alerts(request, study),
        entries=_entries(request, study),
        urine=_urine(people, begins),
        failures=_failures(people, now),
        health=_health(now),
    )


def _asked(people: QuerySet[Participant], begins: datetime, now: datetime) -> Any:
    prompts = Prompt.objects.standing().filter(
        participant__in=people.order_by().values("pk"), due_at__gte=begins, due_at__lt=begins + DAY
    )
    due = Q(due_at__lte=now)
    counted = (
        prompts.order_by("participant__site__code")
        .values_list("participant__site__code")
        .annotate(
            planned=Count("pk"),
            due=Count("pk", filter=due),
            delivered=Count("pk", filter=due & DELIVERED),
            answered=Count("pk", filter=Q(answered_at__isnull=False)),
            waiting=Count("pk", filter=due & Q(expires_at__gt=now, answered_at=None)),
        )
    )
    return (Asked(*row) for row in counted)


def _together(asked: list[Asked]) -> Asked:
    columns = zip(*(one[1:] for one in asked), strict=True)
    return Asked("all", *(sum(column) for column in columns)) if asked else Asked("all", *[0] * 5)


def _statuses(everybody: list[Progress]) -> dict[str, int]:
    found: dict[str, int] = {}
    for one in everybody:
        found[one.status] = found.get(one.status, 0) + 1
    return found


def _silent(everybody: list[Progress]) -> list[tuple[int, list[Progress]]]:
    """Active participants by how long nothing was heard of them, the longest first."""
    by_hours = {hours: [o for o in everybody if o.silent_hours == hours] for hours in SILENT_HOURS}
    return [(hours, found) for hours, found in by_hours.items() if found]


def _is_low(one: Progress) -> bool:
    """Active, heard of, and answering less than half."""
    compliance = one.week.compliance
    return one.status == "active" and not one.silent_hours and (compliance or 1.0) < 0.5


def _alerts(request: HttpRequest, study: Study) -> dict[str, Any] | None:
    """Open safety alerts and the oldest of them; None for whom they are not."""
    if not access.roles_in(user=request.user, study=study) & CARERS:
        return None
    waiting: Any = access.alerts_for(request.user).filter(rule__study=study)
    found: dict[str, Any] = waiting.open().aggregate(number=Count("pk"), oldest=Min("raised_at"))
    return found


def _entries(request: HttpRequest, study: Study) -> dict[str, int] | None:
    """What two people enter and is not settled; None for whom it is not, or where nobody does."""
    if not access.roles_in(user=request.user, study=study) & COORDINATORS:
        return None
    mine = access.double_entries_for(request.user).filter(participant__study=study)
    found = {"once": mine.entered_once().count(), "differ": mine.differing().count()}
    return found if study.double_entry or any(found.values()) else None


def _urine(people: QuerySet[Participant], begins: datetime) -> dict[str, Any]:
    """By the date of the study's own day. A first entry that waits is told of by itself."""
    ids = people.order_by().values("pk")
    entered = DoubleEntry.objects.waiting().filter(participant__in=ids)
    tests = UrineTest.objects.filter(participant__in=ids)
    tests = tests.exclude(pk__in=entered.exclude(urine_test=None).values("urine_test"))
    on = begins.date()
    counts = tests.aggregate(
        due_today=Count("pk", filter=Q(due_on=on, result="")),
        overdue=Count("pk", filter=Q(due_on__lt=on, result="")),
        missed=Count("pk", filter=Q(due_on__gt=on - 7 * DAY, result="missed")),
    )
    return {name: counts[name] for name in ("due_today", "overdue", "missed")}


def _failures(people: QuerySet[Participant], now: datetime) -> dict[str, int]:
    """What did not get through in the last 24 hours, and what waits for somebody."""
    ids = people.order_by().values("pk")
    return {
        "deliveries": Delivery.objects.filter(
            prompt__due_at__gt=now - DAY,
            prompt__participant__in=ids,
            failed_at__isnull=False,
            attempts__gt=0,
        ).count(),
        "registrations": PushRegistration.objects.filter(
            died_at__isnull=False,
            device__participant__in=ids,
            device__replaced_at=None,
            device__revoked_at=None,
        ).count(),
        "quarantined": Quarantine.objects.filter(participant__in=ids, resolved_at=None).count(),
    }


def _health(now: datetime) -> dict[str, Any]:
    """Whether the parts that run by themselves do: of the whole server, not of this study."""
    return {
        "late": heartbeat.lateness(now),
        "parts": [
            (part.name, part.at)
            for part in Heartbeat.objects.exclude(name=heartbeat.BACKUP).order_by("name")
        ],
        "backup": Heartbeat.objects.filter(name=heartbeat.BACKUP).first(),
    }
