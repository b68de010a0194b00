"""Enrolling: a participant, the code to hand over, another code, other waking hours."""

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.utils import timezone
from django.utils.safestring import mark_safe
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_GET, require_http_methods

from console.enrol_forms import ChangeHoursForm, EnrolForm, HoursForm
from console.study_pages import COORDINATORS
from ema import access, enrolment, handover, travel
from ema.enrolment import EnrolmentRefused
from ema.models import Participant
from ema.pages import actor_of, answer_page, operators_page
from ema.travel import ChangeRefused

NEWEST = 20


@never_cache
@require_http_methods(["GET", "POST"])
@operators_page
def enrol(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.access_study(user=request.user, slug=slug, roles=COORDINATORS)
    sites = access.sites_for(request.user, *COORDINATORS).filter(study=study)
    form = EnrolForm(request.POST or None, study=study, sites=sites, now=timezone.now())
    if request.method == "POST" and form.is_valid():
        try:
            return _hand_over(request, _enrolled(request, form.cleaned_data))
        except EnrolmentRefused as error:
            form.add_error(None, str(error))
    newest = Participant.objects.filter(site__in=sites).select_related("site")
    return answer_page(
        request,
        "console/enrol.html",
        f"Enrol: {study.title}",
        400 if form.errors else 200,
        study=study,
        form=form,
        newest=newest.order_by("-enrolled_at", "-pk")[:NEWEST],
    )


@never_cache
@require_http_methods(["GET", "POST"])
@operators_page
def new_code(request: HttpRequest, slug: str, code: str) -> HttpResponse:
    """Another one-time code: a new phone, or the first code ran out."""
    person = _participant(request, slug, code)
    if request.method == "POST":
        try:
            return _hand_over(request, person)
        except EnrolmentRefused as error:
            messages.error(request, str(error))
    return answer_page(
        request,
        "console/new_code.html",
        f"New code for {person.code}?",
        study=person.study,
        participant=person,
        phones=person.devices.active().count(),
        hours=_hours_valid(),
    )


@require_http_methods(["GET", "POST"])
@operators_page
def waking_hours(request: HttpRequest, slug: str, code: str) -> HttpResponse:
    person = _participant(request, slug, code)
    form = ChangeHoursForm(request.POST or None, initial=HoursForm.said_of(person.windows))
    if request.method == "POST" and form.is_valid():
        try:
            return _changed(request, person, form.cleaned_data)
        except ChangeRefused as error:
            form.add_error(None, str(error))
    return answer_page(
        request,
        "console/waking_hours.html",
        f"Waking hours of {person.code}",
        400 if form.errors else 200,
        study=person.study,
        participant=person,
        form=form,
        is_in_detail=bool(person.windows) and not form.initial,
    )


@require_GET
def scanned(request: HttpRequest) -> HttpResponse:
    """Where a QR code leads whoever scans it without the app."""
    return render(
        request, "console/scanned.html", {"server": request.build_absolute_uri("/").rstrip("/")}
    )


def _participant(request: HttpRequest, slug: str, code: str) -> Participant:
    """Of a site that this user coordinates; of another they look as if they were not there."""
    study = access.access_study(user=request.user, slug=slug, roles=COORDINATORS)
    sites = access.sites_for(request.user, *COORDINATORS).filter(study=study)
    found = Participant.objects.filter(site__in=sites, code=code)
    person = found.select_related("study", "site").first()
    if person is None:
        raise access.NoAccess(f"There is no participant {code!r} at a site that you coordinate.")
    return person


def _enrolled(request: HttpRequest, said: dict[str, Any]) -> Participant:
    return enrolment.enrol(
        site=said["site"],
        code=said["code"],
        zone=said["zone"],
        language=said["language"],
        windows=said.get("windows"),
        agreed=said["agreed"],
        now=timezone.now(),
        actor=actor_of(request),
    )


def _hand_over(request: HttpRequest, person: Participant) -> HttpResponse:
    """The page with the code, which is shown this once."""
    code = enrolment.issue_code(participant=person, now=timezone.now(), actor=actor_of(request))
    address = handover.enrol_address(request.build_absolute_uri("/"), code)
    title = f"Code of participant {person.code}"
    return answer_page(
        request,
        "console/hand_over.html",
        title,
        study=person.study,
        participant=person,
        code=handover.written(code),
        qr=mark_safe(handover.qr_svg(address, title=title)),  # noqa: S308 - segno escapes
        server=address.partition("/enrol#")[0],
        hours=_hours_valid(),
    )


def _changed(request: HttpRequest, person: Participant, said: dict[str, Any]) -> HttpResponse:
    change = travel.change_hours(
        participant=person,
        windows=said.get("windows"),
        now=timezone.now(),
        actor=actor_of(request),
        reason=said["reason"],
    )
    text = (
        f"They hold from {change.effective_on:%Y-%m-%d} at the earliest: days that a phone has "
        "already keep their times."
        if change
        else "They are so already: nothing changed."
    )
    messages.success(request, text)
    return redirect("console:waking-hours", slug=person.study.slug, code=person.code)


def _hours_valid() -> int:
    return int(enrolment.CODE_LIFETIME.total_seconds() // 3600)
