"""Everything that is stored of a participant, as they may have it.

Nothing tells of arms: neither the allocation nor what staff wrote in words. Keys and addresses that
let somebody in, or reach a phone, stay out.
"""

from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice
from typing import Any

import msgspec
from django.db.models import F, QuerySet

from ema import access
from ema.models import Device, Participant, PhaseStart, Quarantine
from ema.prompt_state import with_state

AT_ONCE = 500
PROMPT = (
    *["id", "study_on", "study_day", "ordinal", "due_at", "expires_at", "zone", "state"],
    *["state_reason", "released_at", "armed_at", "sent_at", "shown_at", "opened_at"],
    *["answered_at", "cancelled_at"],
)
RESPONSE = (
    *["id", "prompt_id", "trigger", "shown_at", "started_at", "completed_at"],
    *["completed_at_corrected", "received_at", "zone", "utc_offset_min", "monotonic_ms", "seq"],
    *["language", "schedule_rev", "answers", "stress", "craving", "pain", "flags"],
)
EVENT = ("id", "prompt_id", "kind", "detail", "at", "seq", "received_at")
PHONE = (
    *["installation", "app", "app_version", "platform", "enrolled_at", "replaced_at"],
    *["revoked_at", "schedule_at"],
)
CHANGE = ("zone_before", "zone", "windows_before", "windows", "reported_at", "effective_on")


def document(device: Device, now: datetime) -> Iterator[bytes]:
    """One JSON object in pieces: `participant`, then a list for every kind of record."""
    person = Participant.objects.select_related("study", "site").get(pk=device.participant_id)
    yield b'{"generated_at":' + msgspec.json.encode(now)
    yield b',"participant":' + msgspec.json.encode(_profile(person))
    for name, rows in _sections(device, person, now).items():
        yield f',"{name}":['.encode()
        yield from _listed(rows)
        yield b"]"
    yield b"}"


def _profile(person: Participant) -> dict[str, Any]:
    own = ("code", "uuid", "zone", "language", "enrolled_at", "enrolled_on", "withdrawn_at")
    return {
        **{name: getattr(person, name) for name in own},
        "study": person.study.slug,
        "site": person.site.title,
        "waking_windows": person.windows,
        "keep_data": person.keep_data,
    }


def _sections(
    device: Device, person: Participant, now: datetime
) -> Mapping[str, Iterable[dict[str, Any]]]:
    """By name; a phone reaches what belongs to its own participant."""
    prompts = with_state(access.prompts_of(device), now=now).order_by("due_at", "id")
    responses = access.responses_of(device).order_by("received_at", "id")
    named = {"key": F("questionnaire__questionnaire__key"), "version": F("questionnaire__version")}
    phones = person.devices.order_by("enrolled_at")
    pushed = {"push_kind": F("push__kind"), "push_registered_at": F("push__registered_at")}
    kept_aside = Quarantine.objects.filter(participant=person).order_by("received_at")
    starts = PhaseStart.objects.filter(participant=person).order_by("begins_on")
    return {
        "prompts": _rows(prompts, *PROMPT),
        "responses": _rows(responses, *RESPONSE, **_prefixed("questionnaire", named)),
        "events": _rows(access.events_of(device).order_by("received_at", "id"), *EVENT),
        "not_readable": _rows(kept_aside, "raw", "received_at", "resolved_at"),
        "pauses": _rows(person.pauses.order_by("begins_at"), "kind", "begins_at", "ends_at"),
        "schedule_changes": _rows(person.schedule_changes.order_by("reported_at"), *CHANGE),
        "visits": _rows(person.visits.order_by("on_date"), "key", "on_date", "recorded_at"),
        "phases": _rows(starts, "begins_on", days=F("phase__days")),
        "urine_tests": _rows(
            person.urine_tests.order_by("due_on"), "due_on", "collected_on", "result", "recorded_at"
        ),
        "phones": _rows(phones, *PHONE, **pushed),
    }


def _prefixed(prefix: str, named: Mapping[str, F]) -> dict[str, F]:
    return {f"{prefix}_{name}": path for name, path in named.items()}


def _rows(found: QuerySet[Any], *names: str, **more: F) -> Iterator[dict[str, Any]]:
    return found.values(*names, **more).iterator(chunk_size=AT_ONCE)


def _listed(rows: Iterable[dict[str, Any]]) -> Iterator[bytes]:
    """Rows as the inside of a JSON list, some hundreds at once."""
    waiting, comma = iter(rows), b""
    while chunk := list(islice(waiting, AT_ONCE)):
        yield comma + msgspec.json.encode(chunk)[1:-1]
        comma = b","
