"""The audit trail of a study: what was done, what became of the rows, and files of both."""

from collections.abc import Callable
from typing import Any, NamedTuple

from django import forms
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.views.decorators.http import require_GET

from ema import access, audit_checkpoints, audit_trail
from ema.access import TRAIL_READERS, NoAccess, User
from ema.audit_trail import Asked
from ema.models import AuditEvent, Study
from ema.pages import answer_page, operators_page

SHOWN = 50  # on a page
MOST_ROWS = 200  # of one event
TYPES = {"csv": "text/csv; charset=utf-8", "ndjson": "application/x-ndjson"}


class AskedForm(forms.Form):
    """What to show. Choices are those that this person's part of the trail has."""

    who = forms.CharField(required=False, max_length=150, label="Who")
    action = forms.ChoiceField(required=False, label="Action")
    subject = forms.CharField(required=False, max_length=100, label="Subject")
    site = forms.ChoiceField(required=False, label="Site")
    since = forms.DateField(
        required=False, label="From", widget=forms.DateInput(attrs={"type": "date"})
    )
    until = forms.DateField(
        required=False, label="To", widget=forms.DateInput(attrs={"type": "date"})
    )

    def __init__(self, data: Any, *, actions: list[str], sites: list[str]) -> None:
        super().__init__(data)
        for name, found in (("action", actions), ("site", sites)):
            field = self.fields[name]
            assert isinstance(field, forms.ChoiceField)  # noqa: S101 - declared above
            field.choices = [("", "all"), *((each, each) for each in found)]

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        since, until = cleaned.get("since"), cleaned.get("until")
        if since and until and until < since:
            self.add_error("until", "The last day lies before the first.")
        return cleaned

    def asked(self) -> Asked:
        return Asked(**self.cleaned_data)


class Trail(NamedTuple):
    """One of the two tables, as pages and files show it."""

    mine: Callable[[User], Any]
    asked: Callable[..., Any]
    columns: tuple[str, ...]
    action: str
    template: str
    title: str


TRAILS = {
    "events": Trail(
        access.audit_events_for,
        audit_trail.events_asked,
        audit_trail.COLUMNS,
        "action",
        "console/audit.html",
        "Audit trail",
    ),
    "changes": Trail(
        access.row_changes_for,
        audit_trail.changes_asked,
        audit_trail.ROW_COLUMNS,
        "operation",
        "console/audit_changes.html",
        "Changes of rows",
    ),
}


@require_GET
@operators_page
def events(request: HttpRequest, slug: str) -> HttpResponse:
    """What people and programs did, newest first, 50 a page."""
    return _listed(request, _study(request, slug), TRAILS["events"])


@require_GET
@operators_page
def changes(request: HttpRequest, slug: str) -> HttpResponse:
    """What became of rows, as triggers wrote it down; on request only those without an event."""
    return _listed(request, _study(request, slug), TRAILS["changes"])


@require_GET
@operators_page
def event(request: HttpRequest, slug: str, audit_event: int) -> HttpResponse:
    """One event, before and after, and the rows that its transaction changed."""
    study = _study(request, slug)
    mine = access.audit_events_for(request.user).filter(study=study)
    found = mine.select_related("study", "site", "actor").filter(pk=audit_event).first()
    if found is None:
        raise NoAccess(f"There is no event {audit_event} in your part of the trail of {study}.")
    rows = access.row_changes_for(request.user).filter(study=study, transaction=found.transaction)
    rows = rows.exclude(transaction="").order_by("pk")
    return answer_page(
        request,
        "console/audit_event.html",
        f"{found.action}: {found.subject}",
        study=study,
        event=found,
        who=audit_trail.who_did(found),
        differences=audit_trail.differences(found.before, found.after),
        changes=_told(rows[:MOST_ROWS]),
        is_long=rows[MOST_ROWS:].exists(),
    )


@require_GET
@operators_page
def download(
    request: HttpRequest, slug: str, of: str, file_format: str
) -> HttpResponse | StreamingHttpResponse:
    """What is asked for, all of it, as a file: `events` or `changes`, CSV or NDJSON."""
    study, trail = _study(request, slug), TRAILS.get(of)
    if trail is None or file_format not in TYPES:
        raise NoAccess(f"There is no file {of}.{file_format}: events or changes, csv or ndjson.")
    form, found = _found(request, study, trail)
    if not form.is_valid():
        said = f"No file was made.\n{form.errors.as_text()}\n"
        return HttpResponse(said, status=400, content_type="text/plain; charset=utf-8")
    rows = audit_trail.rows_of(found)
    lines = (
        audit_trail.as_csv(rows, trail.columns)
        if file_format == "csv"
        else audit_trail.as_ndjson(rows)
    )
    return StreamingHttpResponse(
        lines,
        content_type=TYPES[file_format],
        headers={
            "Content-Disposition": f'attachment; filename="{study.slug}-audit-{of}.{file_format}"'
        },
    )


def _found(request: HttpRequest, study: Study, trail: Trail) -> tuple[AskedForm, Any]:
    """What is asked for of this person's part of the trail; nothing while that cannot be read."""
    mine = trail.mine(request.user).filter(study=study)
    actions = mine.order_by(trail.action).values_list(trail.action, flat=True).distinct()
    sites = mine.exclude(site=None).order_by("site__code").values_list("site__code", flat=True)
    form = AskedForm(request.GET, actions=list(actions), sites=list(sites.distinct()))
    if not form.is_valid():
        return form, mine.none()
    more = {"without_event": True} if _without_event(request, trail) else {}
    return form, trail.asked(mine, study, form.asked(), **more)


def _without_event(request: HttpRequest, trail: Trail) -> bool:
    return "without_event" in request.GET and trail is TRAILS["changes"]


def _listed(request: HttpRequest, study: Study, trail: Trail) -> HttpResponse:
    """A page of what was found, and the way to what is older."""
    form, found = _found(request, study, trail)
    below = request.GET.get("below", "")
    if below.isdecimal():
        found = found.filter(pk__lt=int(below[:18]))
    shown = list(found[: SHOWN + 1])
    asked = request.GET.copy()
    asked.pop("below", None)
    return answer_page(
        request,
        trail.template,
        f"{trail.title}: {study.title}",
        200 if form.is_valid() else 400,
        study=study,
        only_sites=access.only_sites_of(user=request.user, study=study),
        form=form,
        shown=_told(shown[:SHOWN]),
        older=shown[SHOWN - 1].pk if len(shown) > SHOWN else None,
        is_first=not below.isdecimal(),
        is_narrowed=any(asked.values()),
        without_event=_without_event(request, trail),
        asked=asked.urlencode(),
        head=audit_checkpoints.head(),
    )


def _told(found: Any) -> list[dict[str, Any]]:
    """Each with what differs, and an event with whoever did it."""
    return [
        {
            "of": each,
            "differences": audit_trail.differences(each.before, each.after),
            "who": audit_trail.who_did(each) if isinstance(each, AuditEvent) else each.actor,
        }
        for each in found
    ]


def _study(request: HttpRequest, slug: str) -> Study:
    return access.access_study(user=request.user, slug=slug, roles=TRAIL_READERS)
