"""Adverse events of a study: the list with its totals, reporting one, correcting one."""

import uuid
from collections import Counter
from typing import Any

from django import forms
from django.contrib import messages
from django.core.paginator import Paginator
from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from ema import access, adverse_events, double_entry, entry_pairs
from ema.access import READERS, NoAccess
from ema.adverse_events import SAID, EventRefused
from ema.csv_cells import csv_file
from ema.models import AdverseEvent, Participant, Study
from ema.models.adverse_event import Relatedness, Severity
from ema.models.study import Role
from ema.pages import actor_of, answer_page, operators_page

COORDINATORS = frozenset({Role.COORDINATOR.value})
A_PAGE = 50


class SaidForm(forms.ModelForm[AdverseEvent]):
    """What is said of an event; the step decides whether it can be kept."""

    class Meta:
        model = AdverseEvent
        fields = list(SAID)
        widgets = {
            "started_on": forms.DateInput(attrs={"type": "date"}),
            "ended_on": forms.DateInput(attrs={"type": "date"}),
            "description": forms.Textarea(attrs={"rows": 4}),
        }

    def say(self, problems: Any) -> None:
        """Show what the step refused, each beside its field."""
        for name, texts in problems.items():
            for text in texts:
                self.add_error(name if name in self.fields else None, text)

    @property
    def said(self) -> dict[str, Any]:
        return {name: self.cleaned_data[name] for name in SAID}

    def _post_clean(self) -> None:
        """Leave the record alone: it is checked, and changed, in the step."""


class ReportForm(SaidForm):
    participant = forms.ModelChoiceField(Participant.objects.none())
    key = forms.UUIDField(widget=forms.HiddenInput)
    field_order = ["participant", *SAID, "key"]


class CorrectForm(SaidForm):
    reason = forms.CharField(
        max_length=500,
        required=False,
        label="Reason for the correction",
        help_text="What the event said before is kept beside it.",
    )


@require_GET
@operators_page
def listed(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.access_study(user=request.user, slug=slug, roles=READERS)
    found, asked = _asked(request, study)
    leaf = Paginator(found, A_PAGE).get_page(request.GET.get("page"))
    return answer_page(
        request,
        "console/adverse_events.html",
        f"Adverse events: {study.title}",
        study=study,
        only_sites=access.only_sites_of(user=request.user, study=study),
        leaf=leaf,
        asked=asked,
        totals=totals(access.adverse_events_for(request.user).filter(participant__study=study)),
        severities=Severity.choices,
        sites=_sites(request, study),
        may_report=not study.locked_at and _people(request, study).exists(),
    )


@require_GET
@operators_page
def file(request: HttpRequest, slug: str) -> HttpResponse:
    """The list as CSV, as it is filtered."""
    study = access.access_study(user=request.user, slug=slug, roles=READERS)
    found, _ = _asked(request, study)
    rows = (
        (
            *(event.pk, event.participant.code, event.participant.site.code),
            *(getattr(event, name) for name in SAID),
            event.struck_at is not None,
        )
        for event in found
    )
    head = ("number", "participant", "site", *SAID, "struck")
    return csv_file(f"{slug}_adverse_events", head, rows)


@require_http_methods(["GET", "POST"])
@operators_page
def report(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.access_study(user=request.user, slug=slug, roles=COORDINATORS)
    start = {"key": uuid.uuid4(), "participant": request.GET.get("participant")}
    form = ReportForm(request.POST or None, initial=start)
    form.fields["participant"].queryset = _people(request, study)  # type: ignore[attr-defined]
    if request.method == "POST" and form.is_valid():
        try:
            told = double_entry.report_event(
                participant=form.cleaned_data["participant"],
                key=form.cleaned_data["key"],
                said=form.said,
                now=timezone.now(),
                actor=actor_of(request),
            )
            messages.success(request, entry_pairs.in_words(told))
            where = "adverse-events" if isinstance(told, AdverseEvent) else "entries"
            return redirect(f"console:{where}", slug=slug)
        except EventRefused as error:
            form.say(error.problems)
    title = f"Report an adverse event: {study.title}"
    waiting = access.double_entries_for(request.user).filter(participant__study=study)
    begun = waiting.entered_once().filter(urine_test=None).select_related("participant", "first_by")
    return _form_page(request, study, form, title, begun=begun)


@require_http_methods(["GET", "POST"])
@operators_page
def one(request: HttpRequest, slug: str, event_number: int) -> HttpResponse:
    study, found = _one(request, slug, event_number)
    form = CorrectForm(request.POST or None, instance=found)
    may_correct = _may_correct(request, found)
    if request.method == "POST":
        if not may_correct:
            raise NoAccess("Adverse events are corrected by a coordinator of the site.")
        if form.is_valid():
            try:
                adverse_events.correct(
                    event=found,
                    said=form.said,
                    reason=form.cleaned_data["reason"],
                    now=timezone.now(),
                    actor=actor_of(request),
                )
                messages.success(request, f"Adverse event {event_number} is corrected.")
                return redirect("console:adverse-event", slug=slug, event_number=event_number)
            except EventRefused as error:
                form.say(error.problems)
    title = f"Adverse event {event_number} of {found.participant.code}: {study.title}"
    mine = access.audit_events_for(request.user).filter(study=study)
    history = mine.filter(subject=adverse_events.subject_of(found))
    return _form_page(
        request,
        study,
        form,
        title,
        event=found,
        may_correct=may_correct and not study.locked_at,
        said=[(form.fields[name].label, _shown(found, name)) for name in SAID],
        history=history.select_related("actor").order_by("pk"),
    )


@require_POST
@operators_page
def strike(request: HttpRequest, slug: str, event_number: int) -> HttpResponse:
    _, found = _one(request, slug, event_number)
    if not _may_correct(request, found):
        raise NoAccess("Adverse events are struck out by a coordinator of the site.")
    reason = request.POST.get("reason", "")
    try:
        adverse_events.strike(
            event=found, reason=reason, now=timezone.now(), actor=actor_of(request)
        )
        messages.success(
            request, f"Adverse event {event_number} is struck out and counted nowhere."
        )
    except EventRefused as error:
        messages.error(request, f"Nothing was struck out. {_all_of(error)}")
    return redirect("console:adverse-event", slug=slug, event_number=event_number)


def totals(events: QuerySet[AdverseEvent]) -> dict[str, Any]:
    """Of a study, or of one's sites of it, whatever the arm: severity by relatedness."""
    standing = events.filter(struck_at=None).order_by()
    counted = standing.values_list("severity", "relatedness").annotate(n=Count("pk"))
    cells = Counter({(severity, related): n for severity, related, n in counted})
    return {
        "head": [label for _, label in Relatedness.choices],
        "rows": [
            (label, [cells[severity, related] for related in Relatedness.values])
            for severity, label in Severity.choices
        ],
        "events": sum(cells.values()),
        "serious": standing.filter(is_serious=True).count(),
        "participants": standing.values("participant").distinct().count(),
    }


def _asked(request: HttpRequest, study: Study) -> tuple[QuerySet[AdverseEvent], dict[str, str]]:
    """The events that the filters leave, and the filters."""
    names = ("site", "severity", "serious", "code", "ongoing", "struck")
    asked = {name: request.GET.get(name, "").strip()[:40] for name in names}
    found = access.adverse_events_for(request.user).filter(participant__study=study)
    if not asked["struck"]:
        found = found.filter(struck_at=None)
    if asked["serious"]:
        found = found.filter(is_serious=True)
    if asked["ongoing"]:
        found = found.filter(ended_on=None)
    for name, lookup in (
        ("site", "participant__site__code"),
        ("severity", "severity"),
        ("code", "participant__code__icontains"),
    ):
        if asked[name]:
            found = found.filter(**{lookup: asked[name]})
    return found.select_related("participant__site"), asked


def _one(request: HttpRequest, slug: str, number: int) -> tuple[Study, AdverseEvent]:
    study = access.access_study(user=request.user, slug=slug, roles=READERS)
    mine = access.adverse_events_for(request.user).filter(participant__study=study, pk=number)
    found = mine.select_related("participant__site", "participant__study").first()
    if found is None:
        raise NoAccess(f"There is no adverse event {number} at your sites of this study.")
    return study, found


def _people(request: HttpRequest, study: Study) -> QuerySet[Participant]:
    """Whose events this user may report: also of who withdrew."""
    sites = access.sites_for(request.user, Role.COORDINATOR.value)
    return Participant.objects.filter(study=study, site__in=sites).order_by("code")


def _may_correct(request: HttpRequest, event: AdverseEvent) -> bool:
    sites = access.sites_for(request.user, Role.COORDINATOR.value)
    return event.struck_at is None and sites.filter(pk=event.participant.site_id).exists()


def _sites(request: HttpRequest, study: Study) -> list[str]:
    people = access.participants_for(request.user).filter(study=study)
    return sorted(people.order_by().values_list("site__code", flat=True).distinct())


def _all_of(error: EventRefused) -> str:
    return " ".join(text for texts in error.problems.values() for text in texts)


def _shown(event: AdverseEvent, name: str) -> object:
    label = getattr(event, f"get_{name}_display", None)
    value = label() if label else getattr(event, name)
    return {True: "yes", False: "no"}.get(value, value) if isinstance(value, bool) else value


def _form_page(
    request: HttpRequest, study: Study, form: SaidForm, title: str, **context: Any
) -> HttpResponse:
    status = 400 if form.is_bound and form.errors else 200
    page = "console/adverse_event.html"
    return answer_page(request, page, title, status, study=study, form=form, **context)
