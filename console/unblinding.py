"""Break the blind: the pharmacist's page for one participant, the page of the two for a study."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods

from console.study_pages import PHARMACISTS
from ema import access, second_factor, unblinding
from ema.access import NoAccess
from ema.models import Study
from ema.pages import actor_of, answer_page, operators_page
from ema.second_factor import CodeRefused
from ema.unblinding import LONGEST_REASON, UnblindingRefused

STEPS = {
    "propose": (unblinding.propose, "Proposed: somebody else must confirm."),
    "confirm": (unblinding.confirm, "The blind is broken."),
    "withdraw": (unblinding.withdraw, "The proposal is withdrawn."),
}


class ReasonForm(forms.Form):
    """Why, and the second factor again where one is required."""

    reason = forms.CharField(
        max_length=LONGEST_REASON,
        widget=forms.Textarea(attrs={"rows": 3}),
        error_messages={"required": "Say in words why."},
    )
    second_factor = forms.CharField(
        label="Six digits of your phone, or a recovery code",
        max_length=24,
        widget=forms.TextInput(attrs={"autocomplete": "one-time-code"}),
    )
    confirm = forms.BooleanField(
        label="I know that there is no way back",
        error_messages={"required": "Nothing was unblinded: tick the box to confirm."},
    )

    def __init__(self, data: Any, user: Any) -> None:
        super().__init__(data)
        self.user = user
        if not settings.MFA_REQUIRED:
            del self.fields["second_factor"]

    def prove(self) -> None:
        """Raise CodeRefused. A code works once, so it is tried when all else is right."""
        if "second_factor" in self.fields:
            second_factor.verify(user=self.user, typed=self.cleaned_data["second_factor"])


class ParticipantForm(ReasonForm):
    code = forms.CharField(label="Code of the participant", max_length=40)
    field_order = ["code", "reason", "second_factor", "confirm"]


class StudyForm(ReasonForm):
    step = forms.ChoiceField(choices=[(name, name) for name in STEPS], widget=forms.HiddenInput)


@never_cache
@require_http_methods(["GET", "POST"])
@operators_page
def one(request: HttpRequest, slug: str) -> HttpResponse:
    """Tell one participant's arm, in the answer and never again."""
    study = access.access_study(user=request.user, slug=slug, roles=PHARMACISTS)
    form = ParticipantForm(request.POST if request.method == "POST" else None, request.user)
    shown: dict[str, Any] = {}
    if form.is_valid():
        try:
            shown = _told(request, study, form)
        except (NoAccess, UnblindingRefused, CodeRefused) as error:
            form.add_error(None, str(error))
    return _page(request, "unblind", f"Emergency unblinding: {study.title}", study, form, **shown)


def _told(request: HttpRequest, study: Study, form: ParticipantForm) -> dict[str, Any]:
    code = form.cleaned_data["code"].strip()
    participant = access.participant_to_unblind(user=request.user, study=study, code=code)
    unblinding.refuse_not_allocated(participant)
    form.prove()
    told = unblinding.unblind(
        participant=participant,
        by=_user(request),
        reason=form.cleaned_data["reason"],
        now=timezone.now(),
        actor=actor_of(request),
    )
    return {"told": told, "not_sent": unblinding.send_word(told.unblinding)}


@never_cache
@require_http_methods(["GET", "POST"])
@operators_page
def whole(request: HttpRequest, slug: str) -> HttpResponse:
    """Propose, confirm or withdraw the unblinding of a locked study."""
    study = access.access_unblinding(user=request.user, slug=slug)
    form = StudyForm(request.POST if request.method == "POST" else None, request.user)
    if form.is_valid():
        step, done = STEPS[form.cleaned_data["step"]]
        try:
            form.prove()
            step(
                study=study,
                by=_user(request),
                reason=form.cleaned_data["reason"],
                now=timezone.now(),
                actor=actor_of(request),
            )
        except (UnblindingRefused, CodeRefused) as error:
            form.add_error(None, str(error))
        else:
            messages.success(request, done)
            return redirect("console:unblind-study", slug=slug)
    title = f"Unblind the study: {study.title}"
    return _page(request, "unblind_study", title, study, form, **_state(request, study))


def _state(request: HttpRequest, study: Study) -> dict[str, Any]:
    """What has been done, and what may be done next."""
    standing = study.unblindings.filter(confirmed_at=None, withdrawn_at=None).first()
    try:
        unblinding.refuse_unbreakable(study)
        why_not = ""
    except UnblindingRefused as error:
        why_not = str(error)
    is_mine = standing is not None and standing.proposed_by_id == request.user.pk
    return {
        "why_not": why_not,
        "standing": standing,
        "is_mine": is_mine,
        "past": study.unblindings.select_related("proposed_by", "confirmed_by"),
    }


def _page(
    request: HttpRequest, name: str, title: str, study: Study, form: forms.Form, **shown: Any
) -> HttpResponse:
    status = 400 if form.errors else 200
    return answer_page(
        request, f"console/{name}.html", title, status, study=study, form=form, **shown
    )


def _user(request: HttpRequest) -> Any:
    return request.user
