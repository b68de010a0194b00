"""The page of outcomes: survival curves with their tables, for who may compare arms."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.safestring import mark_safe
from django.views.decorators.http import require_GET

from analytics.figures_survival import figures_of_outcomes
from analytics.models import AnalysisPlan
from analytics.outcomes import OutcomesImpossible, outcomes
from analytics.outcomes_wording import (
    ARM_HEAD,
    RATIO_HEAD,
    arm_rows,
    ratio_rows,
    sentences,
    tests_together,
)
from analytics.pages import KINDS, figure_file, plan_asked_for
from ema import access
from ema.access import NoAccess
from ema.pages import answer_page, operators_page


@require_GET
@operators_page
def show(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.access_comparison(user=request.user, slug=slug)
    chosen = request.GET.get("plan", "")
    try:
        shown = _shown(outcomes(study, timezone.now(), plan_asked_for(study, chosen)))
    except OutcomesImpossible as error:
        shown = {"impossible": str(error)}
    return answer_page(
        request,
        "analytics/outcomes.html",
        f"Outcomes: {study.title}",
        study=study,
        plans=AnalysisPlan.objects.filter(study=study).select_related("study"),
        chosen=chosen,
        **shown,
    )


@require_GET
@operators_page
def figure(request: HttpRequest, slug: str, event: str, kind: str) -> HttpResponse:
    """A curve as a file: drawn, or the numbers it shows."""
    study = access.access_comparison(user=request.user, slug=slug)
    try:
        report = outcomes(study, timezone.now(), plan_asked_for(study, request.GET.get("plan", "")))
    except OutcomesImpossible as error:
        raise NoAccess(str(error)) from error
    if (drawn := figures_of_outcomes(report).get(event)) is None or kind not in KINDS:
        raise NoAccess(f"There is no figure {event}.{kind} of these outcomes.")
    return figure_file(drawn, report, kind, f"{study.slug}_{event}")


def _shown(report: dict[str, Any]) -> dict[str, Any]:
    """A report with its sentences, tables and curves; the figures escape what they are given."""
    return {
        "report": report,
        "sentences": sentences(report),
        "figures": [
            {"name": name, "title": figure.title, "svg": mark_safe(figure.draw(report))}  # noqa: S308
            for name, figure in figures_of_outcomes(report).items()
        ],
        "tables": [
            {"caption": caption, "head": head, "rows": rows}
            for caption, head, rows in (
                ("By arm; days of longest abstinence on average", ARM_HEAD, arm_rows(report)),
                ("Hazard ratios: below 1 = later", RATIO_HEAD, ratio_rows(report)),
            )
            if rows
        ],
        "tests": tests_together(report),
    }
