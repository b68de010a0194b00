"""Setting up a study, step by step, for administrators."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from console.set_up_forms import PART_FORMS, PartForm, StudyForm
from ema import access, arms, phases, set_up, studies
from ema.audit import Actor
from ema.models import Arm, Phase, Site, Study
from ema.pages import actor_of, answer_page, operators_page
from ema.studies import NotReady


@require_http_methods(["GET", "POST"])
@operators_page
def new(request: HttpRequest) -> HttpResponse:
    access.refuse_all_but_administrators(request.user)
    form = StudyForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        study = form.save(commit=False)
        studies.save(study=study, actor=actor_of(request))
        messages.success(request, f"Study {study} is there; these are the next steps.")
        return redirect("console:set-up", slug=study.slug)
    status = 400 if form.errors else 200
    return answer_page(request, "console/new_study.html", "New study", status, form=form)


@require_GET
@operators_page
def show(request: HttpRequest, slug: str) -> HttpResponse:
    return _show(request, access.access_set_up(user=request.user, slug=slug))


@require_POST
@operators_page
def add(request: HttpRequest, slug: str, step: str) -> HttpResponse:
    """Add an arm, a phase or a site."""
    study = access.access_set_up(user=request.user, slug=slug)
    if step not in PART_FORMS:
        raise access.NoAccess(f"Nothing is added at step {step!r}.")
    form = PART_FORMS[step](request.POST, study=study)
    if not form.is_valid():
        return _show(request, study, filled_in={step: form})
    part = form.save(commit=False)
    SAVE[type(part)](part, actor_of(request))
    messages.success(request, f"Added: {part}.")
    return redirect("console:set-up", slug=slug)


@require_POST
@operators_page
def start(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.access_set_up(user=request.user, slug=slug)
    if "confirm" not in request.POST:
        messages.error(request, "Nothing was started: tick the box to confirm.")
        return redirect("console:set-up", slug=slug)
    try:
        studies.start(study=study, now=timezone.now(), actor=actor_of(request))
        messages.success(request, f"Study {study} has started.")
    except NotReady as error:
        messages.error(request, str(error))
    return redirect("console:set-up", slug=slug)


SAVE: dict[type, Callable[[Any, Actor], None]] = {
    Arm: lambda arm, actor: arms.save(arm=arm, actor=actor),
    Phase: lambda phase, actor: phases.save(phase=phase, actor=actor),
    Site: lambda site, actor: studies.add_site(site=site, actor=actor),
}


def _show(
    request: HttpRequest, study: Study, filled_in: dict[str, PartForm] | None = None
) -> HttpResponse:
    steps = set_up.steps(study, timezone.now())
    forms = {name: form(None, study=study) for name, form in PART_FORMS.items()}
    return answer_page(
        request,
        "console/set_up.html",
        f"Set-up: {study.title}",
        400 if filled_in else 200,
        study=study,
        steps=[(step, (forms | (filled_in or {})).get(step.key)) for step in steps],
        may_start=study.started_at is None and not any(step.missing for step in steps),
    )
