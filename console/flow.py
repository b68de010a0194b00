"""The flow of participants, and the screening log that it begins with."""

from typing import Any

from django import forms
from django.contrib import messages
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.safestring import mark_safe
from django.views.decorators.http import require_GET, require_http_methods

from analytics.figure_list import as_csv
from analytics.pages import file_answer
from console.flow_chart import chart
from console.flow_counts import Flow, count, rows
from console.study_pages import COORDINATORS
from ema import access, screenings
from ema.arm_labels import names_shown
from ema.models import Screening, Site, Study
from ema.models.screening import Outcome
from ema.pages import actor_of, answer_page, operators_page
from ema.screenings import Screened, ScreeningRefused

LARGEST, NEWEST = 1_000_000, 50


class ScreeningForm(forms.Form):
    number = forms.CharField(max_length=40, help_text="It names nobody: P-17, not initials.")
    site = forms.ModelChoiceField(Site.objects.none(), empty_label=None)
    screened_on = forms.DateField(
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"), label="Screened on"
    )
    outcome = forms.ChoiceField(choices=Outcome.choices)
    reason = forms.CharField(
        max_length=100, required=False, help_text="Why excluded; the same words count together."
    )

    def __init__(self, data: Any, sites: QuerySet[Site]) -> None:
        super().__init__(data, initial={"screened_on": timezone.now().date()})
        self.fields["site"].queryset = sites  # type: ignore[attr-defined]


class FileForm(forms.Form):
    file = forms.FileField(
        label="CSV file", help_text=f"Its first line is {','.join(screenings.COLUMNS)}."
    )

    def clean_file(self) -> str:
        sent = self.cleaned_data["file"]
        if sent.size > LARGEST:
            raise forms.ValidationError("The file is larger than 1 MB: send it in parts.")
        try:
            return str(sent.read().decode("utf-8"))
        except UnicodeDecodeError as error:
            raise forms.ValidationError("Save the file as UTF-8.") from error


@require_GET
@operators_page
def show(request: HttpRequest, slug: str) -> HttpResponse:
    study, flow = _flow(request, slug)
    return answer_page(
        request,
        "console/flow.html",
        f"Flow of participants: {study.title}",
        study=study,
        only_sites=access.only_sites_of(user=request.user, study=study),
        flow=flow,
        rows=list(rows(flow)),
        svg=mark_safe(chart(flow)),  # noqa: S308 - the chart escapes what it is given
        is_by_arm=access.may_compare(
            study=study, held=access.roles_in(user=request.user, study=study)
        ),
        may_enter=_own_sites(request, study).exists(),
    )


@require_GET
@operators_page
def download(request: HttpRequest, slug: str, kind: str) -> HttpResponse:
    study, flow = _flow(request, slug)
    if kind == "svg":
        return file_answer(chart(flow), "svg", f"{study.slug}_flow")
    if kind == "csv":
        table = [{"stage": stage, "of": of, "n": n} for stage, of, n in rows(flow)]
        return file_answer(as_csv(table), "csv", f"{study.slug}_flow")
    raise access.NoAccess(f"The flow is there as svg and csv, not as {kind}.")


@require_http_methods(["GET", "POST"])
@operators_page
def log(request: HttpRequest, slug: str) -> HttpResponse:
    """The screening log: what was entered last, one entry more, or a file of them."""
    study = access.access_study(user=request.user, slug=slug, roles=COORDINATORS)
    sites = _own_sites(request, study)
    form = ScreeningForm(request.POST if "number" in request.POST else None, sites)
    files = request.FILES or None
    sent = FileForm(request.POST if files or "upload" in request.POST else None, files)
    for said in (form, sent):
        if said.is_valid() and (done := _entered(request, study, sites, said)):
            return done
    return answer_page(
        request,
        "console/screening.html",
        f"Screening log: {study.title}",
        400 if form.errors or sent.errors else 200,
        study=study,
        only_sites=access.only_sites_of(user=request.user, study=study),
        form=form,
        file_form=sent,
        newest=Screening.objects.filter(site__in=sites)
        .select_related("site")
        .order_by("-recorded_at", "-pk")[:NEWEST],
    )


def _entered(
    request: HttpRequest, study: Study, sites: QuerySet[Site], form: forms.Form
) -> HttpResponse | None:
    """Enter what a valid form says; refused, the form says why."""
    actor = actor_of(request)
    try:
        entries = (
            screenings.read_csv(form.cleaned_data["file"], {site.code: site for site in sites})
            if isinstance(form, FileForm)
            else [Screened(**form.cleaned_data)]
        )
        n = screenings.enter(study=study, entries=entries, now=timezone.now(), actor=actor)
    except ScreeningRefused as error:
        for fault in error.faults:
            form.add_error(None, fault)
        return None
    messages.success(request, f"Entered: {n}.")
    return redirect("console:screening", slug=study.slug)


def _flow(request: HttpRequest, slug: str) -> tuple[Study, Flow]:
    study = access.access_study(user=request.user, slug=slug, roles=access.READERS)
    held = access.roles_in(user=request.user, study=study)
    sites = access.sites_for(request.user, *access.READERS)
    flow = count(
        screenings=Screening.objects.filter(study=study, site__in=sites),
        people=access.participants_for(request.user).filter(study=study),
        now=timezone.now(),
        arms=names_shown(study) if access.may_compare(study=study, held=held) else None,
    )
    return study, flow


def _own_sites(request: HttpRequest, study: Study) -> QuerySet[Site]:
    return access.sites_for(request.user, *COORDINATORS).filter(study=study)
