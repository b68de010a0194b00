"""The participants of a study, worst first."""

from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_GET

from console.progress import STATUSES, Progress, progress_of
from ema import access
from ema.access import READERS
from ema.csv_cells import csv_file
from ema.models import Study
from ema.pages import answer_page, operators_page

PAGE = 100
ORDERS: dict[str, Any] = {
    "worst": lambda one: one.urgency,
    "code": lambda one: one.participant.code,
    "site": lambda one: (one.participant.site.code, one.participant.code),
    "day": lambda one: (-one.day, one.participant.code),
    "compliance": lambda one: (
        2.0 if one.week.compliance is None else one.week.compliance,
        one.participant.code,
    ),
    "contact": lambda one: (one.heard_at is not None, one.heard_at, one.participant.code),
}
HEAD = (
    "participant",
    "site",
    "status",
    "study_day",
    "of_days",
    "due_7_days",
    "delivered_7_days",
    "answered_7_days",
    "last_contact_utc",
    "app_version",
    "next_urine_on",
    "flags",
)


@require_GET
@operators_page
def participants(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.access_study(user=request.user, slug=slug, roles=READERS)
    everybody = _shown(request, study)
    page = Paginator(everybody, PAGE).get_page(request.GET.get("page"))
    asked = {name: request.GET[name] for name in ("q", "site", "status") if request.GET.get(name)}
    return answer_page(
        request,
        "console/participants.html",
        f"Participants: {study.title}",
        study=study,
        only_sites=access.only_sites_of(user=request.user, study=study),
        page=page,
        pages=[
            (number, _address(request, page=str(number))) for number in page.paginator.page_range
        ],
        asked=asked,
        order=request.GET.get("order", "worst"),
        orders={name: _address(request, order=name) for name in ORDERS},
        statuses=STATUSES,
        sites=study.sites.filter(
            pk__in=access.participants_for(request.user).filter(study=study).values("site")
        ),
        download=_address(request).replace("?", "participants.csv?", 1),
    )


@require_GET
@operators_page
def roster_file(request: HttpRequest, slug: str) -> HttpResponse:
    """The same as CSV, in the same order, of all pages."""
    study = access.access_study(user=request.user, slug=slug, roles=READERS)
    return csv_file(f"{slug}_participants", HEAD, map(_row, _shown(request, study)))


def _shown(request: HttpRequest, study: Study) -> list[Progress]:
    """Whom this person asked for, in the order asked for."""
    people = access.participants_for(request.user).filter(study=study)
    if site := request.GET.get("site"):
        people = people.filter(site__code=site)
    if sought := request.GET.get("q", "").strip():
        people = people.filter(code__icontains=sought)
    found = progress_of(people, timezone.now())
    if status := request.GET.get("status"):
        found = [one for one in found if one.status == status]
    order = request.GET.get("order", "worst")
    return sorted(found, key=ORDERS[order]) if order in ORDERS and order != "worst" else found


def _address(request: HttpRequest, **changes: str) -> str:
    kept = ("q", "site", "status", "order")
    asked = {name: request.GET[name] for name in kept if request.GET.get(name)}
    return f"?{urlencode(asked | changes)}"


def _row(one: Progress) -> tuple[Any, ...]:
    return (
        one.participant.code,
        one.participant.site.code,
        one.status,
        one.day,
        one.days,
        *one.week,
        one.heard_at.isoformat() if one.heard_at else None,
        one.app_version,
        one.next_urine_on,
        "; ".join(one.flags),
    )
