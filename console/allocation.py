"""Allocation: who is to be allocated, and allocating one."""

from typing import Any

from django import forms
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from console.study_pages import COORDINATORS
from ema import access, allocation, sealing
from ema.access import NoAccess
from ema.allocation import AllocationRefused, Confirmed, Told
from ema.consents import Agreed, newest_consent
from ema.models import Participant, Study
from ema.models.participant import ParticipantQuerySet
from ema.pages import actor_of, answer_page, operators_page


class AllocateForm(forms.Form):
    """What is confirmed before a slot is opened; a choice for each factor of the lists."""

    is_eligible = forms.BooleanField(
        label="Every criterion of the protocol is met: the participant is eligible",
        error_messages={"required": "Confirm it: nobody is allocated who is not eligible."},
    )
    consent_version = forms.CharField(label="Version of the consent form", max_length=40)
    consented_on = forms.DateField(
        label="Consent given on", widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d")
    )
    confirm = forms.BooleanField(
        label="Allocate now: there is no way back",
        error_messages={"required": "Nobody was allocated: tick the box to confirm."},
    )

    def __init__(self, data: Any, factors: dict[str, list[str]], agreed: Agreed | None) -> None:
        version, given_on = agreed or ("", None)
        super().__init__(data, initial={"consent_version": version, "consented_on": given_on})
        self.factors = list(factors)
        for name, values in factors.items():
            choices = [("", "choose"), *((value, value) for value in values)]
            self.fields[f"factor-{name}"] = forms.ChoiceField(label=name, choices=choices)
        self.order_fields(["is_eligible", "consent_version", "consented_on", *self._keys()])

    def _keys(self) -> list[str]:
        return [f"factor-{name}" for name in self.factors]

    def confirmed(self) -> Confirmed:
        said = self.cleaned_data
        return Confirmed(
            is_eligible=said["is_eligible"],
            consent_version=said["consent_version"],
            consented_on=said["consented_on"],
            factors={name: said[f"factor-{name}"] for name in self.factors},
        )


@require_GET
@operators_page
def everybody(request: HttpRequest, slug: str) -> HttpResponse:
    study = _study(request, slug)
    mine = _mine(request, study).select_related("site").order_by("code")
    told = allocation.tell_all(study, mine)
    waiting = [each for each in mine if each.pk not in told and each.withdrawn_at is None]
    return answer_page(
        request,
        "console/allocation.html",
        f"Allocation: {study.title}",
        study=study,
        only_sites=access.only_sites_of(user=request.user, study=study),
        has_lists=study.allocation_lists.exists(),
        waiting=waiting,
        allocated=[(each, told[each.pk]) for each in mine if each.pk in told],
        shows_arms=not study.arms_are_hidden,
    )


@require_http_methods(["GET", "POST"])
@operators_page
def one(request: HttpRequest, slug: str, code: str) -> HttpResponse:
    """The form for one participant or, once there is one, the allocation."""
    study = _study(request, slug)
    participant = _participant(request, study, code)
    if told := allocation.told_of(participant):
        return _show(request, participant, told=told)
    form = AllocateForm(
        request.POST or None, sealing.factors_of(study), newest_consent(participant)
    )
    if request.method == "POST" and form.is_valid():
        try:
            allocation.allocate(
                participant=participant,
                confirmed=form.confirmed(),
                now=timezone.now(),
                actor=actor_of(request),
            )
            return redirect("console:allocate", slug=slug, code=code)
        except AllocationRefused as error:
            form.add_error(None, str(error))
    return _show(request, participant, 400 if form.errors else 200, form=form)


@require_POST
@operators_page
def in_error(request: HttpRequest, slug: str, code: str) -> HttpResponse:
    """Mark an allocation as made in error."""
    participant = _participant(request, _study(request, slug), code)
    try:
        if "confirm" not in request.POST:
            raise AllocationRefused("Tick the box to confirm.")
        allocation.mark_randomised_in_error(
            participant=participant,
            reason=request.POST.get("reason", ""),
            now=timezone.now(),
            actor=actor_of(request),
        )
        messages.success(request, f"{participant} is marked as randomised in error.")
    except AllocationRefused as error:
        messages.error(request, f"Nothing was marked. {error}")
    return redirect("console:allocate", slug=slug, code=code)


def _show(
    request: HttpRequest,
    participant: Participant,
    status: int = 200,
    *,
    told: Told | None = None,
    form: AllocateForm | None = None,
) -> HttpResponse:
    return answer_page(
        request,
        "console/allocation_of_one.html",
        f"Allocation of {participant}",
        status,
        study=participant.study,
        participant=participant,
        told=told,
        form=form,
    )


def _study(request: HttpRequest, slug: str) -> Study:
    return access.access_study(user=request.user, slug=slug, roles=COORDINATORS)


def _mine(request: HttpRequest, study: Study) -> ParticipantQuerySet:
    """Participants of the sites that this person coordinates."""
    sites = access.sites_for(request.user, *COORDINATORS)
    return Participant.objects.filter(study=study, site__in=sites)


def _participant(request: HttpRequest, study: Study, code: str) -> Participant:
    found = _mine(request, study).filter(code=code).select_related("study", "site").first()
    if found is None:
        raise NoAccess(f"There is no participant {code!r} at a site that you coordinate.")
    return found
