"""The page of reporting numbers, for whoever reads records: all arms together, no answers."""

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.safestring import mark_safe
from django.views.decorators.http import require_GET

from analytics.cremas import (
    HEAD,
    Part,
    attrition_in_words,
    cells,
    csv_rows,
    latency_in_words,
    markdown,
)
from analytics.cremas_counts import Counted, kept
from analytics.figure_list import as_csv
from analytics.figures_cremas import compliance_bars, compliance_rows
from analytics.pages import KINDS, file_answer
from ema import access
from ema.access import READERS, NoAccess
from ema.csv_cells import csv_file
from ema.models import Study
from ema.pages import answer_page, operators_page


@require_GET
@operators_page
def show(request: HttpRequest, slug: str) -> HttpResponse:
    study, only_sites, (report, at) = _counted(request, slug)
    return answer_page(
        request,
        "analytics/cremas.html",
        f"Reporting numbers: {study.title}",
        study=study,
        only_sites=only_sites,
        report=report,
        at=at,
        latency=latency_in_words(report.latency),
        attrition=[line.removeprefix("- ") for line in attrition_in_words(report)],
        figure=mark_safe(compliance_bars(report)),  # noqa: S308 - of numbers alone
        whole=cells(report.whole),
        parts=[
            ("Study week", _rows(report.weeks)),
            ("Time of day", _rows(report.hours)),
            ("Study day", _rows(report.days)),
        ],
        text=markdown(report),
    )


@require_GET
@operators_page
def file(request: HttpRequest, slug: str, kind: str) -> HttpResponse:
    """All numbers as a file: Markdown to paste, or CSV."""
    study, _, (report, _) = _counted(request, slug)
    name = f"{study.slug}_cremas"
    if kind == "csv":
        return csv_file(name, HEAD, csv_rows(report))
    if kind != "md":
        raise NoAccess(f"The reporting numbers are there as md and csv, not as {kind}.")
    return HttpResponse(
        markdown(report),
        content_type="text/markdown; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}.md"'},
    )


@require_GET
@operators_page
def figure(request: HttpRequest, slug: str, kind: str) -> HttpResponse:
    """Compliance by week, drawn or as the numbers behind the bars."""
    study, _, (report, _) = _counted(request, slug)
    if kind not in KINDS:
        raise NoAccess(f"The chart is there as svg and csv, not as {kind}.")
    content = compliance_bars(report) if kind == "svg" else as_csv(compliance_rows(report))
    return file_answer(content, kind, f"{study.slug}_compliance_by_week")


def _rows(parts: dict[str, Part]) -> list[tuple[str, list[str]]]:
    return [(name, cells(part)) for name, part in parts.items()]


def _counted(request: HttpRequest, slug: str) -> tuple[Study, list[str], Counted]:
    study = access.access_study(user=request.user, slug=slug, roles=READERS)
    only_sites = access.only_sites_of(user=request.user, study=study)
    people = access.participants_for(request.user)
    return study, only_sites, kept(study, people, only_sites, timezone.now())
