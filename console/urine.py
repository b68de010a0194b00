"""The urine calendar: a week at a time, and results entered all at once."""

from datetime import date
from typing import Any, NamedTuple
from urllib.parse import urlencode

from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods

from console.urine_calendar import Week, as_rows, counts, due_in, lines
from ema import access
from ema.access import READERS, NoAccess
from ema.csv_cells import csv_file
from ema.models import Participant, Study, UrineTest
from ema.models.study import Role
from ema.models.urine import UrineResult
from ema.pages import actor_of, answer_page, operators_page
from ema.urine import Entry
from ema.urine_batch import BatchRefused, Recorded, record_results
from ema.zone_names import zone_named

COORDINATORS = frozenset({Role.COORDINATOR.value})
A_PAGE = 50  # participants; with seven tests a week each, below Django's 1,000 fields of a form


class Asked(NamedTuple):
    """Which part of the calendar somebody looks at."""

    study: Study
    week: Week
    site: str
    only_open: bool
    code: str
    today: date
    only_sites: list[str]
    people: QuerySet[Participant]

    def address(self, **other: object) -> str:
        said = {
            "on": self.week.monday,
            "site": self.site,
            "show": "open" if self.only_open else "",
            "code": self.code,
        } | other
        kept = {name: value for name, value in said.items() if value}
        return f"{reverse('console:urine', args=[self.study.slug])}?{urlencode(kept)}"


@require_http_methods(["GET", "POST"])
@operators_page
def calendar(request: HttpRequest, slug: str) -> HttpResponse:
    if request.method == "POST":
        access.access_study(user=request.user, slug=slug, roles=COORDINATORS)
        return _enter(request, _asked(request, slug))
    return _show(request, _asked(request, slug))


@require_GET
@operators_page
def calendar_file(request: HttpRequest, slug: str) -> HttpResponse:
    """The week as CSV, of everybody whom the page would show on all its leaves."""
    asked = _asked(request, slug)
    head, *rows = as_rows(list(_listed(asked)), asked.week, timezone.now())
    return csv_file(f"{slug}_urine_{asked.week.monday}", head, rows)


def _asked(request: HttpRequest, slug: str) -> Asked:
    study = access.access_study(user=request.user, slug=slug, roles=READERS)
    today = timezone.now().astimezone(zone_named(study.zone)).date()
    site, code = request.GET.get("site", ""), request.GET.get("code", "").strip()
    people = access.participants_for(request.user).filter(study=study)
    if site:
        people = people.filter(site__code=site)
    if code:
        people = people.filter(code__icontains=code)
    return Asked(
        study=study,
        week=Week.of(_date(request.GET.get("on", "")) or today),
        site=site,
        only_open=request.GET.get("show") == "open",
        code=code,
        today=today,
        only_sites=access.only_sites_of(user=request.user, study=study),
        people=people,
    )


def _listed(asked: Asked) -> QuerySet[Participant]:
    found = due_in(asked.people, asked.week, only_open=asked.only_open, until=asked.today)
    return found.select_related("site", "study").order_by("code")


def _show(
    request: HttpRequest,
    asked: Asked,
    typed: QueryDict | None = None,
    problems: dict[int, str] | None = None,
) -> HttpResponse:
    leaves = Paginator(_listed(asked), A_PAGE)
    leaf = leaves.get_page(request.GET.get("page"))
    days = sorted(set(_days_of(asked)))
    writable = _writable(request, asked.study)
    shown = lines(list(leaf), asked.week, days=days, writable=writable, now=timezone.now())
    rows = [
        (line, [cell and (cell, *_field(cell.test, typed, problems)) for cell in line.cells])
        for line in shown
    ]
    return answer_page(
        request,
        "console/urine.html",
        f"Urine calendar: {asked.study.title}",
        400 if problems else 200,
        study=asked.study,
        asked=asked,
        leaf=leaf,
        days=days,
        rows=rows,
        takes_two=any(cell and cell[0].entered for _, cells in rows for cell in cells)
        or asked.study.double_entry,
        enters=bool(writable),
        n_problems=len(problems or ()),
        may_enter=any(cell and cell[0].may_enter for _, cells in rows for cell in cells),
        results=UrineResult.choices,
        counts=counts(asked.study, asked.people, asked.week, asked.today),
        sites=_sites(request, asked.study),
        links=_links(asked, leaf),
    )


def _links(asked: Asked, leaf: Any) -> dict[str, str]:
    found = {
        "before": asked.address(on=asked.week.before),
        "now": asked.address(on=""),
        "after": asked.address(on=asked.week.after),
        "here": asked.address(page=leaf.number),
        "file": asked.address().replace("/urine/?", "/urine/calendar.csv?"),
    }
    if leaf.has_previous():
        found["previous_leaf"] = asked.address(page=leaf.previous_page_number())
    if leaf.has_next():
        found["next_leaf"] = asked.address(page=leaf.next_page_number())
    return found


def _days_of(asked: Asked) -> list[date]:
    """The days of the week on which anybody has a test."""
    due = UrineTest.objects.filter(
        participant__study=asked.study, due_on__range=(asked.week.monday, asked.week.days[-1])
    )
    return list(due.order_by().values_list("due_on", flat=True).distinct())


def _sites(request: HttpRequest, study: Study) -> list[str]:
    people = access.participants_for(request.user).filter(study=study)
    return sorted(people.order_by().values_list("site__code", flat=True).distinct())


def _writable(request: HttpRequest, study: Study) -> set[int]:
    sites = access.sites_for(request.user, Role.COORDINATOR.value).filter(study=study)
    if study.locked_at:
        return set()
    return set(sites.values_list("pk", flat=True))


def _field(
    test: UrineTest, typed: QueryDict | None, problems: dict[int, str] | None
) -> tuple[str, str, str]:
    """What stands in the fields of a test, and what is wrong with it."""
    typed = typed if typed is not None else QueryDict()
    return (
        typed.get(f"result-{test.pk}", ""),
        typed.get(f"collected-{test.pk}", test.due_on.isoformat()),
        (problems or {}).get(test.pk, ""),
    )


def _enter(request: HttpRequest, asked: Asked) -> HttpResponse:
    """Record what was typed, or show it again with what is wrong beside each field."""
    entries, problems = [], {}
    for test in _tests_named(request, asked):
        try:
            entries.append(_entry(request.POST, test))
        except ValueError as error:
            problems[test.pk] = str(error)
    now, actor = timezone.now(), actor_of(request)
    try:
        told = record_results(entries=entries, now=now, actor=actor, is_rehearsal=bool(problems))
    except BatchRefused as error:
        problems |= error.problems
    if problems:
        return _show(request, asked, request.POST, problems)
    _tell(request, told)
    return redirect(asked.address(page=request.GET.get("page", "")))


def _tell(request: HttpRequest, told: Recorded) -> None:
    if told.new:
        messages.success(request, f"{told.new} results were recorded.")
    if told.once:
        messages.success(request, f"{told.once} results were entered once, and wait for somebody.")
    if told.differ:
        said = "second entries differ from the first: they wait on the page of double entry."
        messages.warning(request, f"{told.differ} {said}")
    if not any((told.new, told.once, told.differ)):
        messages.info(request, "Nothing was new: no result was chosen, or all were recorded.")


def _tests_named(request: HttpRequest, asked: Asked) -> list[UrineTest]:
    """The tests for which a result was chosen; NoAccess to those of another's site."""
    chosen = {
        int(name.removeprefix("result-"))
        for name, value in request.POST.items()
        if value and name.startswith("result-") and name.removeprefix("result-").isdecimal()
    }
    sites = access.sites_for(request.user, Role.COORDINATOR.value)
    mine = UrineTest.objects.filter(
        pk__in=chosen, participant__study=asked.study, participant__site__in=sites
    )
    found = list(mine.order_by("pk"))
    if len(found) < len(chosen):
        raise NoAccess("You enter results at the sites that you coordinate.")
    return found


def _entry(typed: QueryDict, test: UrineTest) -> Entry:
    """What was typed for a test; ValueError in words."""
    result = typed.get(f"result-{test.pk}", "")
    written = typed.get(f"collected-{test.pk}", "").strip()
    if result not in UrineResult.values:
        raise ValueError("Choose negative, positive or missed.")
    on = _date(written)
    if written and on is None:
        raise ValueError(f"{written!r} is no date: write it as 2026-06-01.")
    if result == UrineResult.MISSED and on == test.due_on:
        on = None  # the field begins with this day
    return Entry(test.pk, result, on)


def _date(text: str) -> date | None:
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None
