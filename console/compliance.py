"""The compliance heat map: every participant's days, and weeks by site."""

from typing import Any

from django.core.paginator import Page, Paginator
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.http import urlencode
from django.utils.safestring import mark_safe
from django.views.decorators.http import require_GET

from console.day_grid import FILLS, LEVELS, days_of, drawn, rows_of, weeks_of
from console.progress import Share
from ema import access
from ema.access import READERS, NoAccess
from ema.csv_cells import csv_file
from ema.models import Participant, Study
from ema.pages import answer_page, operators_page

PAGE = 100
HEAD = ("participant", "site", "study_day", "due", "delivered", "answered")


@require_GET
@operators_page
def heat_map(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.access_study(user=request.user, slug=slug, roles=READERS)
    now = timezone.now()
    page = _page(request, study)
    shown = days_of(list(page), now)
    everybody = access.participants_for(request.user).filter(study=study)
    weeks = weeks_of(everybody, now)
    sites = sorted({site for by_site in weeks.values() for site in by_site})
    return answer_page(
        request,
        "console/compliance.html",
        f"Compliance: {study.title}",
        study=study,
        only_sites=access.only_sites_of(user=request.user, study=study),
        page=page,
        pages=[(number, _address(request, number)) for number in page.paginator.page_range],
        asked=_address(request, page.number),
        drawing=mark_safe(drawn(shown, f"Compliance in {study.title}")),  # noqa: S308 - escaped
        legend=list(zip(FILLS, LEVELS, strict=True)),
        has_days=any(person.days for person in shown),
        sites=sites,
        weeks=[_week(number, by_site, sites) for number, by_site in weeks.items()],
    )


@require_GET
@operators_page
def heat_map_file(request: HttpRequest, slug: str, kind: str) -> HttpResponse:
    """The page's grid as a file: drawn, or the numbers it shows."""
    study = access.access_study(user=request.user, slug=slug, roles=READERS)
    shown = days_of(list(_page(request, study)), timezone.now())
    name = f"{slug}_compliance"
    if kind == "csv":
        return csv_file(name, HEAD, rows_of(shown))
    if kind != "svg":
        raise NoAccess(f"There is no compliance.{kind}: there are svg and csv.")
    return HttpResponse(
        drawn(shown, f"Compliance in {study.title}"),
        content_type="image/svg+xml",
        headers={"Content-Disposition": f'attachment; filename="{name}.svg"'},
    )


def _page(request: HttpRequest, study: Study) -> Page[Participant]:
    """A hundred participants, by site; all at once where asked for."""
    people = access.participants_for(request.user).filter(study=study).select_related("site")
    if site := request.GET.get("site"):
        people = people.filter(site__code=site)
    size = PAGE if "all" not in request.GET else max(people.count(), 1)
    return Paginator(people.order_by("site__code", "code"), size).get_page(request.GET.get("page"))


def _address(request: HttpRequest, page: int) -> str:
    asked = {name: request.GET[name] for name in ("site", "all") if name in request.GET}
    return f"?{urlencode(asked | {'page': str(page)})}"


def _week(number: int, by_site: dict[str, Share], sites: list[str]) -> dict[str, Any]:
    """A row of the table: the week together, then each site."""
    parts = [by_site.get(site, Share()) for site in sites]
    whole = Share(*(sum(column) for column in zip(*parts, strict=True)))
    return {"number": number, "whole": whole, "parts": parts}
