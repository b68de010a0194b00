"""Respond: store what a person answered, exactly once, whatever there is to say about it.

One transaction per batch. Every item gets a status; `created` means committed and durable.
"""

import json
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec
from django.db import connection, transaction

from ema import access
from ema.judgement import Form, Scale, Sender, Signal, corrected, flags_of, values_of
from ema.models import Device, QuestionnaireVersion, Response
from ema.models.questionnaire import AnalysisRole
from ema.models.response import Flag
from ema.submissions import Broken, Client, Fault, Read, Submission


@dataclass(frozen=True)
class ItemStatus:
    """What became of one item: created, duplicate, conflict or quarantined."""

    id: str | None
    status: str
    errors: tuple[Fault, ...] = ()

    def content(self) -> dict[str, object]:
        """As the phone reads it."""
        said: dict[str, object] = {"id": self.id, "status": self.status}
        return {**said, "errors": self.errors} if self.errors else said


@dataclass(frozen=True)
class Formed:
    """A submission and the questionnaire version it was written on."""

    read: Read[Submission]
    form: Form

    @property
    def id(self) -> uuid.UUID:
        return self.read.item.id


def store_batch(
    *,
    device: Device,
    client: Client,
    items: Sequence[Read[Submission] | Broken],
    now: datetime,
) -> list[ItemStatus]:
    """Store a phone's batch; say per item what became of it, in the order sent."""
    entries = [_with_form(device, item) for item in items]
    firsts: dict[uuid.UUID, Formed] = {}
    for entry in entries:
        if isinstance(entry, Formed):
            firsts.setdefault(entry.id, entry)
    with transaction.atomic():
        created = _insert(device, list(firsts.values()), client, now)
        standing = _contents(device, list(firsts.keys() - created))
        standing |= {each: firsts[each].read.content_sha256 for each in created}
        statuses = [_status(entry, created, standing) for entry in entries]
        _quarantine(device, entries, statuses)
    return statuses


def _with_form(device: Device, item: Read[Submission] | Broken) -> Formed | Broken:
    if isinstance(item, Broken):
        return item
    named = item.item.questionnaire
    try:
        return Formed(item, _form(device.participant.study_id, named.key, named.version))
    except QuestionnaireVersion.DoesNotExist:
        detail = f"There is no published version {named.version} of {named.key!r}."
        return Broken(
            id=str(item.item.id),
            content_sha256=item.content_sha256,
            raw=item.raw,
            fault=Fault("/questionnaire", detail),
        )


@lru_cache(maxsize=4096)
def _form(study_id: int, key: str, version: int) -> Form:
    """Published versions never change, so a process may remember them for good."""
    found = QuestionnaireVersion.objects.published().get(
        questionnaire__study_id=study_id, questionnaire__key=key, version=version
    )
    scales = {
        item.key: Scale(item.role, item.minimum, item.maximum, item.decimals)
        for item in found.items.exclude(role=AnalysisRole.NONE)
    }
    return Form(id=found.pk, scales=scales)


def _status(
    entry: Formed | Broken, created: set[uuid.UUID], standing: dict[uuid.UUID, bytes]
) -> ItemStatus:
    """`created` once per id; after that the stored content decides."""
    if isinstance(entry, Broken):
        return ItemStatus(entry.id, "quarantined", (entry.fault,))
    if entry.id in created:
        created.discard(entry.id)
        return ItemStatus(str(entry.id), "created")
    same = standing.get(entry.id) == entry.read.content_sha256
    return ItemStatus(str(entry.id), "duplicate" if same else "conflict")


COLUMNS = {  # of ema_response, with the type of each array that carries them
    "id": "uuid",
    "prompt_id": "uuid",
    "questionnaire_id": "bigint",
    "trigger": "text",
    "shown_at": "timestamptz",
    "started_at": "timestamptz",
    "completed_at": "timestamptz",
    "completed_at_corrected": "timestamptz",
    "zone": "text",
    "utc_offset_min": "smallint",
    "monotonic_ms": "bigint",
    "seq": "bigint",
    "language": "text",
    "schedule_rev": "text",
    "answers": "jsonb",
    "stress": "integer",
    "craving": "integer",
    "pain": "integer",
    "flags": "text",
    "content_sha256": "bytea",
}
_names = ", ".join(COLUMNS)
_arrays = ", ".join(f"%s::{kind}[]" for kind in COLUMNS.values())
_values = _names.replace("flags", "string_to_array(flags, ',')")
INSERT = f"""
WITH sent AS (
    SELECT * FROM unnest({_arrays}) AS sent ({_names})
), stored AS (
    INSERT INTO ema_response (participant_id, device_id, received_at, {_names})
    SELECT %s, %s, %s, {_values} FROM sent ORDER BY id
    ON CONFLICT (id) DO NOTHING
    RETURNING id, prompt_id, trigger, completed_at_corrected, flags
), answered AS (
    UPDATE ema_prompt SET answered_at = stored.completed_at_corrected FROM stored
    WHERE ema_prompt.id = stored.prompt_id AND ema_prompt.answered_at IS NULL
    AND stored.trigger = 'random'
    AND NOT stored.flags && ARRAY['duplicate_prompt', 'after_withdrawal']::varchar[]
)
SELECT id FROM stored
"""  # noqa: S608 - built from the constant names above


def _insert(device: Device, items: list[Formed], client: Client, now: datetime) -> set[uuid.UUID]:
    """Insert in id order (so that two batches never deadlock); the ids that were new."""
    if not items:
        return set()
    offset = now - client.sent_at if client.sent_at else timedelta(0)
    sender = Sender(device.participant.withdrawn_at, device.replaced_at, offset)
    signals = _locked_signals(device, items)
    fresh = _without_known_ids(items)
    rows = [_row(item, signals, sender, now) for item in sorted(fresh, key=_by_completion)]
    if not rows:
        return set()
    columns = [list(column) for column in zip(*rows, strict=True)]
    with connection.cursor() as cursor:
        cursor.execute(INSERT, [*columns, device.participant_id, device.pk, now])
        return {each for (each,) in cursor.fetchall()}


def _by_completion(item: Formed) -> tuple[datetime, uuid.UUID]:
    """Of two answers to one prompt, the one completed first is its answer."""
    return item.read.item.completed_at, item.id


def _without_known_ids(items: list[Formed]) -> list[Formed]:
    """Where a batch answers a prompt twice, what is stored already must not count as first."""
    asked = [item.read.item.prompt_id for item in items if item.read.item.prompt_id]
    if len(asked) == len(set(asked)):
        return items
    known = set(Response.objects.filter(pk__in=[item.id for item in items]).values_list("pk"))
    return [item for item in items if (item.id,) not in known]


def _locked_signals(device: Device, items: list[Formed]) -> dict[uuid.UUID, Signal]:
    """The prompts answered, locked: of two answers to one prompt, one is the first."""
    asked = [item.read.item.prompt_id for item in items if item.read.item.prompt_id]
    found = access.prompts_of(device).filter(pk__in=asked).order_by("pk")
    return {
        key: Signal(due_at, expires_at, questionnaire, answered_at is not None)
        for key, due_at, expires_at, questionnaire, answered_at in found.select_for_update(
            no_key=True
        ).values_list("pk", "due_at", "expires_at", "questionnaire_id", "answered_at")
    }


def _row(
    item: Formed, signals: dict[uuid.UUID, Signal], sender: Sender, now: datetime
) -> tuple[object, ...]:
    """One response, in the order of COLUMNS. Its prompt counts as answered for those after it."""
    sent, form = item.read.item, item.form
    signal = signals.get(sent.prompt_id) if sent.prompt_id else None
    asked = signal if sent.trigger == "random" else None  # one's own report answers no prompt
    flags = flags_of(sent, form=form, signal=asked, sender=sender, now=now)
    values = values_of(sent, form=form)
    if asked and sent.prompt_id and Flag.AFTER_WITHDRAWAL not in flags:
        signals[sent.prompt_id] = Signal(
            asked.due_at, asked.expires_at, asked.questionnaire_id, is_answered=True
        )
    return (
        sent.id,
        sent.prompt_id if signal else None,
        form.id,
        sent.trigger,
        sent.shown_at,
        sent.started_at,
        sent.completed_at,
        corrected(sent.completed_at, sender.clock_offset),
        sent.tz,
        sent.utc_offset_min,
        sent.monotonic_ms,
        sent.seq,
        sent.language,
        sent.schedule_rev,
        msgspec.json.encode(sent.answers).decode(),
        values.get("stress"),
        values.get("craving"),
        values.get("pain"),
        ",".join(flags),
        item.read.content_sha256,
    )


def _contents(device: Device, ids: list[uuid.UUID]) -> dict[uuid.UUID, bytes]:
    """Hashes of this participant's stored responses; another's id stays unknown here."""
    if not ids:
        return {}
    stored = access.responses_of(device).filter(pk__in=ids)
    return {key: bytes(digest) for key, digest in stored.values_list("pk", "content_sha256")}


def _kept_as_json(kept: Broken | Read[Submission]) -> str:
    """The item as it was sent; what no JSON column can hold is kept as a text of its bytes."""
    if isinstance(kept, Read) or kept.is_json:
        return kept.raw.decode()
    return json.dumps(kept.raw.decode(errors="backslashreplace"))


QUARANTINE = """
INSERT INTO ema_quarantine
    (device_id, participant_id, raw, reason, errors, content_sha256, received_at, resolution)
VALUES (%s, %s, %s, %s, %s, %s, statement_timestamp(), '')
ON CONFLICT (device_id, content_sha256) DO NOTHING
"""


def _quarantine(device: Device, entries: list[Formed | Broken], statuses: list[ItemStatus]) -> None:
    """Keep the raw text of what is broken or in conflict, once however often it is sent."""
    rows: list[list[Any]] = []
    for entry, status in zip(entries, statuses, strict=True):
        if status.status not in ("quarantined", "conflict"):
            continue
        kept = entry if isinstance(entry, Broken) else entry.read
        reason = "broken" if status.status == "quarantined" else "conflict"
        raw = _kept_as_json(kept)
        errors = msgspec.json.encode(status.errors).decode()
        rows.append([device.pk, device.participant_id, raw, reason, errors, kept.content_sha256])
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(QUARANTINE, rows)
