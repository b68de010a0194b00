"""One participant: every prompt by day, what happened beside them, and notes."""

from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from itertools import chain
from typing import Any, NamedTuple

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.http import require_http_methods

from console.progress import progress_of
from console.urine_calendar import state_of
from ema import access, audit
from ema.access import READERS, NoAccess
from ema.entry_pairs import waiting_for
from ema.models import AuditEvent, Participant, Pause, Prompt, UrineTest
from ema.models.study import Role
from ema.pages import actor_of, answer_page, operators_page
from ema.prompt_state import with_state
from ema.urine import today_of
from ema.zone_names import zone_named

LETTERS = {
    "answered": "a",
    "answered_late": "l",
    "missed": "m",
    "not_delivered": "n",
    "cancelled": "c",
}
WORDS = {
    "answered": "answered",
    "answered_late": "answered late",
    "missed": "missed",
    "not_delivered": "not delivered",
    "cancelled": "cancelled",
    "open": "still open",
}
LONGEST_NOTE = 500
NOTE = "participant.note"


class Cell(NamedTuple):
    """A prompt on the timeline, by the clock of its zone."""

    at: str
    kind: str
    letter: str
    says: str


class Happening(NamedTuple):
    at: datetime
    what: str
    more: str


class Action(NamedTuple):
    address: str
    words: str


@require_http_methods(["GET", "POST"])
@operators_page
def timeline(request: HttpRequest, slug: str, code: str) -> HttpResponse:
    study = access.access_study(user=request.user, slug=slug, roles=READERS)
    people = access.participants_for(request.user).filter(study=study)
    person = people.select_related("study", "site").filter(code=code).first()
    if person is None:
        raise NoAccess(f"There is no participant {code!r} whom you may see.")
    sites = access.sites_for(request.user, Role.COORDINATOR.value)
    may_write = sites.filter(pk=person.site_id).exists()
    if request.method == "POST":
        _note(request, person, may_write=may_write)
        return redirect("console:timeline", slug=slug, code=code)
    now = timezone.now()
    [progress] = progress_of(people.filter(pk=person.pk), now)
    return answer_page(
        request,
        "console/timeline.html",
        f"{person.code}: {study.title}",
        study=study,
        person=person,
        progress=progress,
        may_write=may_write,
        actions=list(_actions(person, now)) if may_write else [],
        days=_days(person, now),
        words=[(LETTERS.get(kind, "·"), kind, word) for kind, word in WORDS.items()],
        tests=_tests(person, now),
        happenings=sorted(chain(_happenings(person), _events(request, person)), reverse=True),
    )


def _actions(person: Participant, now: datetime) -> Iterator[Action]:
    """What a coordinator can do for this participant as things stand; who left is left alone."""
    if person.withdrawn_at:
        return
    own = [person.study.slug, person.code]
    yield Action(reverse("console:new-code", args=own), "New code")
    yield Action(reverse("console:waking-hours", args=own), "Waking hours")
    change = reverse("admin:ema_participant_change", args=[person.pk])
    yield Action(change, "Change zone, withdraw")
    pauses = Pause.objects.open(now).filter(participant=person)
    if pauses.filter(begins_at__lte=now).exists():
        listed = reverse("admin:ema_participant_changelist")
        yield Action(f"{listed}?{urlencode({'q': person.code})}", "Resume")
    elif not person.study.locked_at and not pauses.exists():
        add = reverse("admin:ema_pause_add")
        yield Action(f"{add}?{urlencode({'participant': person.pk})}", "Pause")


def _tests(person: Participant, now: datetime) -> list[tuple[UrineTest, str]]:
    """Urine tests, the latest first, each with its state."""
    found = list(UrineTest.objects.filter(participant=person).order_by("-due_on"))
    pairs, today = waiting_for(found), today_of(person, now)
    grace = person.study.urine_grace_days
    return [
        (test, state_of(test, today, entered=pairs.get(test.pk), grace=grace)) for test in found
    ]


def _days(person: Participant, now: datetime) -> list[tuple[int, Any, list[Cell]]]:
    """Study days, the latest first, each with its date and prompts."""
    prompts: Any = with_state(Prompt.objects.filter(participant=person), now=now)
    found: dict[tuple[int, Any], list[Cell]] = defaultdict(list)
    for prompt in prompts.exclude(cancel_reason="superseded").order_by("due_at"):
        found[prompt.study_day, prompt.study_on].append(_cell(prompt))
    return [(day, on, cells) for (day, on), cells in sorted(found.items(), reverse=True)]


def _cell(prompt: Any) -> Cell:
    kind = prompt.state if prompt.state in WORDS else "open"
    why = f": {prompt.state_reason.replace('_', ' ')}" if prompt.state_reason else ""
    at = prompt.due_at.astimezone(zone_named(prompt.zone))
    return Cell(f"{at:%H:%M}", kind, LETTERS.get(kind, "·"), f"{WORDS[kind]}{why}")


def _happenings(person: Participant) -> Iterator[Happening]:
    """What the records say; what people did is in the audit trail."""
    for phone in person.devices.all():
        about = " ".join(filter(None, (phone.platform, phone.app, phone.app_version)))
        yield Happening(phone.enrolled_at, "phone enrolled", about)
        if phone.replaced_at:
            yield Happening(phone.replaced_at, "phone replaced", about)
        if phone.revoked_at:
            yield Happening(phone.revoked_at, "phone shut out", about)
        if phone.schedule_at:
            yield Happening(phone.schedule_at, "schedule loaded last", about)
    for pause in person.pauses.all():
        yield Happening(pause.begins_at, f"{pause.get_kind_display()} began", pause.reason)
        if pause.ends_at:
            yield Happening(pause.ends_at, f"{pause.get_kind_display()} ended", "")


def _events(request: HttpRequest, person: Participant) -> Iterator[Happening]:
    """Audit events about this participant, as far as this person may read them."""
    about = f"participant {person.code}"
    events = access.audit_events_for(request.user).filter(study=person.study)
    own = events.filter(subject=about) | events.filter(subject__startswith=f"{about} ")
    event: AuditEvent
    for event in own.select_related("actor"):
        who = event.actor.get_username() if event.actor else event.door
        what = "note" if event.action == NOTE else event.action.replace(".", " ")
        yield Happening(event.at, what, " — ".join(filter(None, (event.reason, who))))


def _note(request: HttpRequest, person: Participant, *, may_write: bool) -> None:
    """A note is an event of the audit trail: it is never changed."""
    text = request.POST.get("note", "").strip()
    if not may_write:
        raise NoAccess(f"Notes about {person.code} are for coordinators of their site.")
    if not text or len(text) > LONGEST_NOTE:
        messages.error(request, f"Write a note of 1 to {LONGEST_NOTE} characters.")
        return
    audit.record_about(
        participant=person,
        actor=actor_of(request),
        action=NOTE,
        reason=text,
    )
    messages.success(request, "The note is in the participant's timeline.")
