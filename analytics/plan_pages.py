"""The pages on which investigators and statisticians draft, delete and lock analysis plans."""

import json
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from analytics.models import AnalysisPlan
from analytics.plan import STANDARD, PlanRefused, read_text
from analytics.plan_help import HELP
from analytics.plans import (
    PLANNERS,
    PlanLocked,
    UnknownPlan,
    delete,
    lock,
    notes_on,
    plan_named,
    save,
)
from ema import access
from ema.access import NoAccess
from ema.models import Study
from ema.pages import actor_of, answer_page, operators_page


@require_GET
@operators_page
def plans(request: HttpRequest, slug: str) -> HttpResponse:
    study = _study(request, slug)
    found = AnalysisPlan.objects.filter(study=study).select_related("changed_by", "locked_by")
    return answer_page(
        request, "analytics/plans.html", f"Analysis plans: {study.title}", study=study, plans=found
    )


@require_GET
@operators_page
def one_plan(request: HttpRequest, slug: str, key: str, version: int) -> HttpResponse:
    study = _study(request, slug)
    stored = _named(study, f"{key}@{version}")
    return answer_page(
        request,
        "analytics/plan.html",
        f"Plan {stored}: {study.title}",
        study=study,
        stored=stored,
        notes=notes_on(stored, study)[1],
        document=_document(stored.plan.content()),
    )


@require_http_methods(["GET", "POST"])
@operators_page
def write_plan(request: HttpRequest, slug: str) -> HttpResponse:
    """A form with a plan as JSON: the standard one, or the one to go on from."""
    study = _study(request, slug)
    if request.method == "POST":
        key, text = request.POST.get("key", "").strip(), request.POST.get("content", "")
        try:
            now = timezone.now()
            stored = save(
                study=study, key=key, plan=read_text(text), actor=actor_of(request), now=now
            )
        except PlanRefused as error:
            return _form(request, study, key, text, error)
        messages.success(request, f"{stored} is kept as a draft.")
        return redirect("analytics:plan", slug=slug, key=stored.key, version=stored.version)
    name = request.GET.get("plan", "")
    stored_plan = _named(study, name) if name else None
    plan = stored_plan.plan if stored_plan else STANDARD
    key = stored_plan.key if stored_plan else ""
    return _form(request, study, key, _document(plan.written_out()))


@require_POST
@operators_page
def lock_plan(request: HttpRequest, slug: str, key: str, version: int) -> HttpResponse:
    study = _study(request, slug)
    stored = _named(study, f"{key}@{version}")
    try:
        if "confirm" not in request.POST:
            messages.error(request, "Nothing was locked: tick the box to confirm.")
        else:
            locked = lock(stored=stored, actor=actor_of(request), now=timezone.now())
            messages.success(request, f"{locked} is locked under {locked.sha256}.")
    except (PlanLocked, PlanRefused) as error:
        messages.error(request, f"Nothing was locked. {error}")
    return redirect("analytics:plan", slug=slug, key=key, version=version)


@require_POST
@operators_page
def delete_plan(request: HttpRequest, slug: str, key: str, version: int) -> HttpResponse:
    study = _study(request, slug)
    stored = _named(study, f"{key}@{version}")
    try:
        if "confirm" not in request.POST:
            messages.error(request, "Nothing was deleted: tick the box to confirm.")
        else:
            delete(stored=stored, actor=actor_of(request))
            messages.success(request, f"The draft {stored} is deleted.")
            return redirect("analytics:plans", slug=slug)
    except PlanLocked as error:
        messages.error(request, f"Nothing was deleted. {error}")
    return redirect("analytics:plan", slug=slug, key=key, version=version)


def _form(
    request: HttpRequest, study: Study, key: str, text: str, error: PlanRefused | None = None
) -> HttpResponse:
    return answer_page(
        request,
        "analytics/write_plan.html",
        f"Write a plan: {study.title}",
        400 if error else 200,
        study=study,
        key=key,
        text=text,
        help=HELP,
        faults=error.faults if error else (),
    )


def _study(request: HttpRequest, slug: str) -> Study:
    return access.access_study(user=request.user, slug=slug, roles=PLANNERS)


def _named(study: Study, name: str) -> AnalysisPlan:
    try:
        return plan_named(study, name)
    except UnknownPlan as error:
        raise NoAccess(str(error)) from error


def _document(content: dict[str, Any]) -> str:
    return json.dumps(content, indent=2, ensure_ascii=False)
