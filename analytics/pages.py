"""The pages of investigators and statisticians, in the look of the operators' admin."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.utils import timezone
from django.utils.safestring import mark_safe
from django.views.decorators.http import require_GET, require_POST

from analytics.api.serializers import files_of
from analytics.comparison import ComparisonImpossible, compare, freeze
from analytics.datasets.snapshots import READERS, access_snapshots, request_snapshot
from analytics.figures import forest
from analytics.models import Comparison, Snapshot, SnapshotMasking
from analytics.wording import exclusions, p_value, sentences
from ema import access
from ema.access import NoAccess
from ema.audit import Actor
from ema.models import Study
from ema.pages import answer_page, links_of, operators_page


@require_GET
@operators_page
def studies(request: HttpRequest) -> HttpResponse:
    mine = [
        {
            "study": study,
            "may_compare": _may_compare(request, study),
            "may_read": may_read,
            "links": links_of(study, request.user),
        }
        for study, may_read in _my_studies(request)
    ]
    return _page(request, "studies", "Studies", studies=mine)


@require_GET
@operators_page
def comparison(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.access_comparison(user=request.user, slug=slug)
    try:
        shown = _shown(compare(study))
    except ComparisonImpossible as error:
        shown = {"impossible": str(error)}
    frozen = Comparison.objects.filter(study=study).select_related("made_by")
    return _page(
        request, "comparison", f"Comparison: {study.title}", study=study, frozen=frozen, **shown
    )


@require_GET
@operators_page
def figure(request: HttpRequest, slug: str) -> HttpResponse:
    """The forest plot as a file."""
    study = access.access_comparison(user=request.user, slug=slug)
    try:
        drawn = forest(compare(study))
    except ComparisonImpossible as error:
        raise NoAccess(str(error)) from error
    disposition = f'attachment; filename="{study.slug}_comparison.svg"'
    return HttpResponse(
        drawn, content_type="image/svg+xml", headers={"Content-Disposition": disposition}
    )


@require_POST
@operators_page
def freeze_comparison(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.access_comparison(user=request.user, slug=slug)
    if "confirm" not in request.POST:
        messages.error(request, "Nothing was frozen: tick the box to confirm.")
        return redirect("analytics:comparison", slug=slug)
    try:
        made = freeze(study, _actor(request), timezone.now())
        messages.success(request, f"Frozen with SHA-256 {made.sha256}.")
    except ComparisonImpossible as error:
        messages.error(request, f"Nothing was frozen. {error}")
    return redirect("analytics:comparison", slug=slug)


@require_GET
@operators_page
def frozen_comparison(request: HttpRequest, slug: str, number: int) -> HttpResponse:
    study = access.access_comparison(user=request.user, slug=slug)
    kept = get_object_or_404(Comparison, study=study, pk=number)
    title = f"Frozen comparison: {study.title}"
    return _page(request, "comparison", title, study=study, kept=kept, **_shown(kept.report))


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
    return _page(request, "snapshots", f"Snapshots: {study.title}", study=study, snapshots=listed)


@require_POST
@operators_page
def ask_for_snapshot(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.access_study(user=request.user, slug=slug, roles=READERS)
    request_snapshot(study, _actor(request), SnapshotMasking.MASKED, timezone.now())
    messages.success(request, "Requested: the files are here as soon as they are built.")
    return redirect("analytics:snapshots", slug=slug)


def _page(request: HttpRequest, template: str, title: str, **context: Any) -> HttpResponse:
    return answer_page(request, f"analytics/{template}.html", title, **context)


def _shown(report: dict[str, Any]) -> dict[str, Any]:
    """A report with its sentences and its figure; the figure escapes what it is given."""
    return {
        "report": report,
        "sentences": sentences(report),
        "figure": mark_safe(forest(report)),  # noqa: S308
        "exclusions": exclusions(report),
        "contrasts": [one | {"p_value": p_value(one["p"])} for one in report["contrasts"]],
        "fixed": [one | {"p_value": p_value(one["p"])} for one in report["fixed"]],
    }


def _my_studies(request: HttpRequest) -> list[tuple[Study, bool]]:
    """Every study of this person, and whether its snapshots are theirs to read."""
    readable = set(access.studies_for(request.user, *READERS).values_list("pk", flat=True))
    return [(study, study.pk in readable) for study in access.studies_for(request.user)]


def _may_compare(request: HttpRequest, study: Study) -> bool:
    try:
        access.access_comparison(user=request.user, slug=study.slug)
    except NoAccess:
        return False
    return True


def _state(snapshot: Snapshot) -> str:
    if snapshot.built_at is not None:
        return "built"
    if snapshot.failed_at is not None:
        return "failed"
    return "being built" if snapshot.lease_until else "waiting"


def _actor(request: HttpRequest) -> Actor:
    return Actor(user=request.user if request.user.is_authenticated else None, door="page")
