"""Double entry: what waits for somebody else's entry, and what two people entered differently."""

from typing import Any, NamedTuple

from django import forms
from django.contrib import messages
from django.core.exceptions import NON_FIELD_ERRORS
from django.core.paginator import Paginator
from django.db.models import Count, F, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.text import capfirst
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from console.adverse_events import SaidForm
from ema import access, double_entry, entry_pairs
from ema.access import User
from ema.adverse_events import EventRefused
from ema.double_entry import EntryRefused, Standing
from ema.models import DoubleEntry, Study
from ema.models.study import Role
from ema.models.urine import UrineResult
from ema.pages import actor_of, answer_page, operators_page
from ema.urine import Entry, UrineRefused
from ema.urine_batch import BatchRefused, record_results

COORDINATORS = frozenset({Role.COORDINATOR.value})
A_PAGE = 50
NOT_COMPARED = {"description": "not compared: both are kept"}
LABELS = {"result": "Result", "collected_on": "Collected on"}
TOLD = {
    Standing.ONCE: "Your entry is kept, and the one before withdrawn.",
    Standing.SETTLED: "Both entries say the same: this stands now.",
    Standing.DIFFERS: "The two entries differ: somebody decides, with a reason.",
    Standing.KNOWN: "Nothing was new: you said the same before.",
}


class Side(NamedTuple):
    """One thing that was said, as both people wrote it."""

    label: str
    first: object
    second: object
    verdict: str


class ResultForm(forms.Form):
    result = forms.ChoiceField(choices=[("", "Choose …"), *UrineResult.choices])
    collected_on = forms.DateField(
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}),
        help_text="The day the sample was collected; a missed test has none.",
    )

    @property
    def said(self) -> dict[str, Any]:
        return {name: self.cleaned_data[name] for name in LABELS}

    def say(self, problems: Any) -> None:
        for text in problems[NON_FIELD_ERRORS]:
            self.add_error(None, text)


def entries_to_make(user: User, study: Study) -> int:
    """How many entries of others this user may enter again or decide between."""
    mine = access.double_entries_for(user).filter(participant__study=study)
    return mine.waiting().exclude(first_by=user.pk, second_by=None).count()


@require_GET
@operators_page
def listed(request: HttpRequest, slug: str) -> HttpResponse:
    study = access.access_study(user=request.user, slug=slug, roles=COORDINATORS)
    mine = access.double_entries_for(request.user).filter(participant__study=study)
    waiting = mine.waiting().order_by(F("second_at").asc(nulls_last=True), "first_at", "pk")
    shown = waiting.select_related("participant__site", "urine_test", "first_by", "second_by")
    return answer_page(
        request,
        "console/entries.html",
        f"Double entry: {study.title}",
        study=study,
        only_sites=access.only_sites_of(user=request.user, study=study),
        leaf=Paginator(shown, A_PAGE).get_page(request.GET.get("page")),
        counts=_counts(mine),
    )


@require_http_methods(["GET", "POST"])
@operators_page
def one(request: HttpRequest, slug: str, entry_number: int) -> HttpResponse:
    """An entry; a second one, or one's own first one anew, is sent here."""
    pair = access.access_double_entry(user=request.user, slug=slug, number=entry_number)
    if request.method != "POST":
        return _show(request, pair, _form(pair))
    form = _form(pair, request.POST)
    if form.is_valid():
        try:
            told = _enter(request, pair, form.said)
            say = messages.warning if told is Standing.DIFFERS else messages.success
            say(request, TOLD[told])
            return redirect("console:entries", slug=slug)
        except EventRefused as error:
            form.say(error.problems)
        except EntryRefused as error:
            now = access.access_double_entry(user=request.user, slug=slug, number=entry_number)
            kept = form if now.state == "entered once" else _form(now)
            return _show(request, now, kept, 400, wrong=str(error))
    return _show(request, pair, form, 400)


@require_POST
@operators_page
def decide(request: HttpRequest, slug: str, entry_number: int) -> HttpResponse:
    """Settle two entries that differ by the first, the second, or what the form says."""
    pair = access.access_double_entry(user=request.user, slug=slug, number=entry_number)
    form = _form(pair, request.POST if request.POST.get("which") == "other" else None)
    reason = request.POST.get("reason", "")
    try:
        said = _decided(request.POST.get("which", ""), pair, form)
        if said is not None:
            double_entry.decide(
                pair=pair, said=said, reason=reason, now=timezone.now(), actor=actor_of(request)
            )
            messages.success(request, f"Decided: {pair} stands now.")
            return redirect("console:entries", slug=slug)
        wrong = "Nothing was decided, as it says beside the field."
    except EventRefused as error:
        wrong = " ".join(text for texts in error.problems.values() for text in texts)
    except (EntryRefused, UrineRefused) as error:
        wrong = str(error)
    return _show(request, pair, form, 400, wrong=wrong, reason=reason)


@require_POST
@operators_page
def withdraw(request: HttpRequest, slug: str, entry_number: int) -> HttpResponse:
    pair = access.access_double_entry(user=request.user, slug=slug, number=entry_number)
    reason = request.POST.get("reason", "")
    try:
        double_entry.withdraw(pair=pair, reason=reason, now=timezone.now(), actor=actor_of(request))
        messages.success(request, f"Your entry is withdrawn: {pair}.")
        return redirect("console:entries", slug=slug)
    except EntryRefused as error:
        return _show(request, pair, _form(pair), 400, wrong=str(error), reason=reason)


def _form(pair: DoubleEntry, typed: Any = None) -> Any:
    kind: Any = ResultForm if pair.urine_test_id else SaidForm
    return kind(typed, use_required_attribute=not pair.second_by_id)  # folded in when deciding


def _enter(request: HttpRequest, pair: DoubleEntry, said: dict[str, Any]) -> Standing:
    """By the step that the calendar and files take, where it is a urine test."""
    now, actor = timezone.now(), actor_of(request)
    if pair.urine_test_id is None:
        return double_entry.enter_event(pair=pair, said=said, now=now, actor=actor)
    entry = Entry(pair.urine_test_id, **said)
    try:
        told = record_results(entries=[entry], now=now, actor=actor)
    except BatchRefused as error:
        raise EntryRefused(" ".join(error.problems.values())) from error
    if told.known:
        return Standing.KNOWN
    return Standing.DIFFERS if told.differ else Standing.ONCE if told.once else Standing.SETTLED


def _decided(which: str, pair: DoubleEntry, form: Any) -> dict[str, Any] | None:
    """What was chosen; None where the form does not say it."""
    if which == "other":
        return form.said if form.is_valid() else None
    chosen = {"first": pair.first_said, "second": pair.second_said}.get(which)
    if chosen is None:
        raise EntryRefused("Choose the first entry, the second, or something else.")
    return entry_pairs.read(pair, chosen)


def _show(
    request: HttpRequest, pair: DoubleEntry, form: Any, status: int = 200, **context: Any
) -> HttpResponse:
    study, is_mine = pair.participant.study, pair.first_by_id == request.user.pk
    return answer_page(
        request,
        "console/entry.html",
        f"{capfirst(str(pair))}: {study.title}",
        status,
        study=study,
        entry=pair,
        is_mine=is_mine,
        form=form,
        sides=_sides(pair) if is_mine or pair.second_by_id else [],
        **context,
    )


def _sides(pair: DoubleEntry) -> list[Side]:
    """What both said, side by side: for who said it, and for everybody once there are two."""
    differing = entry_pairs.differing(pair) if pair.second_said else []
    fields = SaidForm().fields
    return [
        Side(
            LABELS.get(name) or str(fields[name].label),
            value,
            (pair.second_said or {}).get(name),
            "differs" if name in differing else NOT_COMPARED.get(name, "yes"),
        )
        for name, value in pair.first_said.items()
    ]


def _counts(mine: Any) -> list[tuple[str, dict[str, int]]]:
    """Of urine results and of events, how many are how far."""
    is_settled = Q(settled_at__isnull=False)
    waits = Q(settled_at=None, withdrawn_at=None)
    kinds = (("Urine results", Q(urine_test__isnull=False)), ("Adverse events", Q(urine_test=None)))
    return [
        (
            title,
            mine.filter(kind).aggregate(
                once=Count("pk", filter=waits & Q(second_by=None)),
                differ=Count("pk", filter=waits & Q(second_by__isnull=False)),
                agreed=Count("pk", filter=is_settled & Q(decided_by=None)),
                decided=Count("pk", filter=is_settled & Q(decided_by__isnull=False)),
            ),
        )
        for title, kind in kinds
    ]
