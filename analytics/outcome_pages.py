"""The page of outcomes: survival curves with their tables, for who may compare arms."""

from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.views.decorators.http import require_GET

from analytics.figure_list import as_csv
from analytics.figures_survival import figures_of_outcomes
from analytics.models import AnalysisPlan
from analytics.outcomes import OutcomesImpossible, outcomes, outcomes_or_why
from analytics.pages import KINDS, figure_file, file_answer, plan_asked_for
from analytics.safety import safety
from analytics.safety_wording import shown_safety
from analytics.shown_outcomes import shown_outcomes
from ema import access
from ema.access import NoAccess
from ema.pages import answer_page, operators_page


@require_GET
@operators_page
def show(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.access_comparison(user=request.user, slug=slug)
    chosen = request.GET.get("plan", "")
    stored = plan_asked_for(study, chosen)
    report = outcomes_or_why(study, timezone.now(), stored, participants=True)
    return answer_page(
        request,
        "analytics/outcomes.html",
        f"Outcomes: {study.title}",
        study=study,
        plans=AnalysisPlan.objects.filter(study=study).select_related("study"),
        chosen=chosen,
        abstinence=shown_outcomes(report),
        safety=shown_safety(safety(study)),
    )


@require_GET
@operators_page
def figure(request: HttpRequest, slug: str, event: str, kind: str) -> HttpResponse:
    """A curve as a file: drawn, or the numbers it shows."""
    study = access.access_comparison(user=request.user, slug=slug)
    try:
        stored = plan_asked_for(study, request.GET.get("plan", ""))
        report = outcomes(study, timezone.now(), stored, participants=True)
    except OutcomesImpossible as error:
        raise NoAccess(str(error)) from error
    if (event, kind) == ("participants", "csv"):
        return file_answer(as_csv(report["participants"]), "csv", f"{study.slug}_participants")
    if (drawn := figures_of_outcomes(report).get(event)) is None or kind not in KINDS:
        raise NoAccess(f"There is no figure {event}.{kind} of these outcomes.")
    return figure_file(drawn, report, kind, f"{study.slug}_{event}")
