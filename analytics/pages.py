"""The pages of investigators and statisticians, in the look of the operators' admin."""

import re
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.safestring import mark_safe
from django.views.decorators.http import require_GET, require_POST

from analytics.api.serializers import files_of
from analytics.card_table import Table, details, provenance
from analytics.datasets.formats import FORMATS
from analytics.datasets.snapshots import (
    SnapshotRefused,
    access_request,
    access_snapshots,
    request_snapshot,
)
from analytics.figure_list import Figure, as_csv, figures_of, numbers_table
from analytics.figures_forest import coupling_heading
from analytics.freezing import freeze
from analytics.models import (
    AnalysisPlan,
    Comparison,
    Deidentified,
    Snapshot,
    SnapshotMasking,
)
from analytics.outcomes import outcomes_or_why
from analytics.plans import UnknownPlan, plan_named
from analytics.report_cache import kept_report
from analytics.safety import safety
from analytics.safety_wording import shown_safety
from analytics.shown_outcomes import shown_outcomes
from analytics.trial import ComparisonImpossible
from analytics.wording import exclusions, p_value, sentences
from ema import access
from ema.access import NoAccess
from ema.models import Study
from ema.pages import actor_of, answer_page, operators_page, pages_of

MINUS = re.compile(r"(?<![\w-])-(?=\d)")
KINDS = {"svg": "image/svg+xml", "csv": "text/csv; charset=utf-8"}


@require_GET
@operators_page
def studies(request: HttpRequest) -> HttpResponse:
    mine = [
        {"study": study, "page_groups": pages_of(study, request.user)}
        for study in access.studies_for(request.user) | access.studies_set_up_by(request.user)
    ]
    sets_up = request.user.is_superuser
    return _page(request, "studies", "Studies", studies=mine, sets_up=sets_up)


@require_GET
@operators_page
def comparison(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.access_comparison(user=request.user, slug=slug)
    stored = plan_asked_for(study, request.GET.get("plan", ""))
    try:
        shown = _shown(kept_report(study, stored))
        told = outcomes_or_why(study, timezone.now(), stored)
        shown["abstinence"] = shown_outcomes(told)
        shown["safety"] = shown_safety(safety(study))
    except ComparisonImpossible as error:
        shown = {"impossible": str(error)}
    frozen = Comparison.objects.filter(study=study).select_related("made_by")
    plans = AnalysisPlan.objects.filter(study=study).select_related("study")
    return _page(
        request,
        "comparison",
        f"Comparison: {study.title}",
        study=study,
        frozen=frozen,
        plans=plans,
        chosen=f"{stored.key}@{stored.version}" if stored else "",
        **shown,
    )


@require_GET
@operators_page
def figure(
    request: HttpRequest, slug: str, name: str = "coupling", kind: str = "svg"
) -> HttpResponse:
    """A figure as a file: drawn, or the numbers it shows."""
    study = access.access_comparison(user=request.user, slug=slug)
    stored = plan_asked_for(study, request.GET.get("plan", ""))
    try:
        report = kept_report(study, stored)
    except ComparisonImpossible as error:
        raise NoAccess(str(error)) from error
    if (drawn := figures_of(report).get(name)) is None or kind not in KINDS:
        raise NoAccess(f"There is no figure {name}.{kind} of this comparison.")
    name = "comparison" if name == "coupling" else name
    return figure_file(drawn, report, kind, f"{study.slug}_{name}")


def figure_file(drawn: Figure, report: dict[str, Any], kind: str, name: str) -> HttpResponse:
    """A figure as a file, of one of the KINDS: drawn, or the numbers it shows."""
    content = drawn.draw(report) if kind == "svg" else as_csv(drawn.rows(report))
    return file_answer(content, kind, name)


def file_answer(content: str, kind: str, name: str) -> HttpResponse:
    """A download of one of the KINDS."""
    disposition = f'attachment; filename="{name}.{kind}"'
    return HttpResponse(
        content, content_type=KINDS[kind], headers={"Content-Disposition": disposition}
    )


@require_POST
@operators_page
def freeze_comparison(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.access_comparison(user=request.user, slug=slug)
    name = request.POST.get("plan", "")
    stored = plan_asked_for(study, name)
    if "confirm" not in request.POST:
        messages.error(request, "Nothing was frozen: tick the box to confirm.")
        return _back(slug, name)
    try:
        made = freeze(study, actor_of(request), timezone.now(), stored)
        messages.success(request, f"Frozen with SHA-256 {made.sha256}.")
    except ComparisonImpossible as error:
        messages.error(request, f"Nothing was frozen. {error}")
    return _back(slug, name)


@require_GET
@operators_page
def frozen_comparison(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    study = access.access_comparison(user=request.user, slug=slug)
    kept = get_object_or_404(Comparison, study=study, pk=number)
    title = f"Frozen comparison: {study.title}"
    abstinence = kept.report.get("abstinence")  # frozen since there is one
    shown = _shown(kept.report) | {"abstinence": abstinence and shown_outcomes(abstinence)}
    shown["safety"] = (events := kept.report.get("safety")) and shown_safety(events)
    return _page(request, "comparison", title, study=study, kept=kept, **shown)


@require_GET
@operators_page
def snapshots(request: HttpRequest, slug: str) -> HttpResponse:
    study, found = access_snapshots(user=request.user, slug=slug)
    listed = [
        {
            "snapshot": one,
            "state": _state(one),
            "files": files_of(one),
            "rows": list(one.row_counts.items()),
        }
        for one in found
    ]
    return _page(
        request,
        "snapshots",
        f"Snapshots: {study.title}",
        study=study,
        snapshots=listed,
        maskings=_maskings(request, study),
        levels=Deidentified.choices,
        formats={name: each.title for name, each in FORMATS.items()},
    )


@require_POST
@operators_page
def ask_for_snapshot(request: HttpRequest, slug: str) -> HttpResponse:
    masking = request.POST.get("masking", SnapshotMasking.MASKED.value)
    study = access_request(user=request.user, slug=slug, masking=masking)
    try:
        request_snapshot(
            study,
            actor_of(request),
            masking,
            timezone.now(),
            formats=request.POST.getlist("format"),
            deidentify=request.POST.get("deidentify", ""),
            recipient=request.POST.get("recipient", ""),
        )
        messages.success(request, "Requested: the files are here as soon as they are built.")
    except SnapshotRefused as error:
        messages.error(request, f"Nothing was requested. {error}")
    return redirect("analytics:snapshots", slug=slug)


def _maskings(request: HttpRequest, study: Study) -> list[tuple[str, str]]:
    """The maskings that this person may ask for now."""
    try:
        access.access_comparison(user=request.user, slug=study.slug)
    except NoAccess:
        return []
    hidden = {SnapshotMasking.UNMASKED.value} if study.arms_are_hidden else set()
    return [(value, label) for value, label in SnapshotMasking.choices if value not in hidden]


def _page(request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
    return answer_page(request, f"analytics/{template}.html", title, **context)


def _shown(report: dict[str, Any]) -> dict[str, Any]:
    """A report with its sentences and its figures; the figures escape what they are given.

    Frozen reports stay readable: those of before plans lack what was added since.
    """
    return {
        "report": report,
        "sentences": sentences(report),
        "figures": [
            {
                "name": name,
                "title": figure.title,
                "svg": mark_safe(figure.draw(report)),  # noqa: S308
                "numbers": None if name == "slopes" else numbers_table(figure.rows(report)),
            }
            for name, figure in figures_of(report).items()
        ],
        "coupling_heading": coupling_heading(report),
        "exclusions": exclusions(report),
        "contrasts": [one | {"p_value": p_value(one["p"])} for one in report["contrasts"]],
        "fixed": [one | {"p_value": p_value(one["p"])} for one in report["fixed"]],
        "tables": [_with_minus(table) for table in details(report)],
        "provenance": provenance(report),
    }


def _with_minus(table: Table) -> Table:
    """Numbers with a true minus sign, as everywhere on the page."""
    return table._replace(
        rows=[[MINUS.sub("−", cell) for cell in row] for row in table.rows],
        notes=tuple(MINUS.sub("−", note) for note in table.notes),
    )


def plan_asked_for(study: Study, name: str) -> AnalysisPlan | None:
    """The plan asked for; none for the standard analysis."""
    try:
        return plan_named(study, name) if name else None
    except UnknownPlan as error:
        raise NoAccess(str(error)) from error


def _back(slug: str, plan: str) -> HttpResponse:
    address = reverse("analytics:comparison", args=[slug])
    return redirect(f"{address}?{urlencode({'plan': plan})}" if plan else address)


def _state(snapshot: Snapshot) -> str:
    if snapshot.built_at is not None:
        return "built"
    if snapshot.failed_at is not None:
        return "failed"
    return "being built" if snapshot.lease_until else "waiting"
