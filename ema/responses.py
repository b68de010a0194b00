"""Respond: store what a person answered, exactly once, whatever there is to say about it.

Prepared statements: the door read the phone and the prompts that it answers; here the responses are
inserted and their prompts marked (one transaction, durable when it returns), and where something
was not new, what was there already is looked up. Every item gets a status; `created` means
committed.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

import msgspec
from django.db import connection

from ema import access, own_time, prepared
from ema.access import Signal, Uploader
from ema.judgement import Form, Scale, corrected, judge
from ema.models import QuestionnaireVersion, Response
from ema.models.questionnaire import AnalysisRole
from ema.models.response import Flag
from ema.own_time import Given
from ema.submissions import Answer, Broken, Client, Fault, Read, Submission


class ItemStatus(msgspec.Struct, omit_defaults=True):
    """What became of one item: created, duplicate, conflict or quarantined."""

    id: uuid.UUID | str | None
    status: str
    errors: tuple[Fault, ...] = ()


UNASKED = {Flag.BEFORE_DUE.value, Flag.AFTER_EXPIRY.value}


class Formed(msgspec.Struct, frozen=True):
    """A submission and the questionnaire version it was written on."""

    read: Read[Submission]
    form: Form

    @property
    def id(self) -> uuid.UUID:
        return self.read.item.id


def store_batch(
    *,
    phone: Uploader,
    client: Client,
    items: Sequence[Read[Submission] | Broken],
    signals: Mapping[uuid.UUID, Signal],
    now: datetime,
) -> list[ItemStatus]:
    """Store a phone's batch; say per item what became of it, in the order sent.

    `signals` are those of the prompts that it answers which are its participant's.
    """
    entries = [_with_form(phone, item) for item in items]
    firsts: dict[uuid.UUID, Formed] = {}
    for entry in entries:
        if isinstance(entry, Formed):
            firsts.setdefault(entry.id, entry)
    created = _insert(phone, list(firsts.values()), signals, client, now)
    standing = access.contents_of(phone, list(firsts.keys() - created))
    standing |= {each: firsts[each].read.content_sha256 for each in created}
    statuses = [_status(entry, created, standing) for entry in entries]
    _quarantine(phone, entries, statuses)
    return statuses


def _with_form(phone: Uploader, item: Read[Submission] | Broken) -> Formed | Broken:
    if isinstance(item, Broken):
        return item
    named = item.item.questionnaire
    try:
        return Formed(item, _form(phone.study_id, named.key, named.version))
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
        return ItemStatus(entry.id, "created")
    same = standing.get(entry.id) == entry.read.content_sha256
    return ItemStatus(entry.id, "duplicate" if same else "conflict")


class Row(msgspec.Struct):
    """A response as it is stored; the fields are columns of ema_response."""

    id: uuid.UUID
    prompt_id: uuid.UUID | None
    questionnaire_id: int
    trigger: str
    shown_at: datetime | None
    started_at: datetime | None
    completed_at: datetime
    completed_at_corrected: datetime
    zone: str
    utc_offset_min: int | None
    monotonic_ms: int | None
    seq: int | None
    language: str
    schedule_rev: str
    answers: list[Answer]
    stress: int | None
    craving: int | None
    pain: int | None
    flags: list[str]
    content_sha256: str


KINDS = {
    uuid.UUID: "uuid",
    uuid.UUID | None: "uuid",
    int: "bigint",
    int | None: "bigint",
    str: "text",
    datetime: "timestamptz",
    datetime | None: "timestamptz",
    list[Answer]: "jsonb",
    list[str]: "text[]",
}
COLUMNS = {field.name: KINDS[field.type] for field in msgspec.structs.fields(Row)}
_names = ", ".join(COLUMNS)
_typed = ", ".join(f"{name} {kind}" for name, kind in COLUMNS.items())
_values = _names.replace("content_sha256", "decode(content_sha256, 'hex')").replace(
    "flags", "CASE WHEN is_second THEN flags || '{duplicate_prompt}' ELSE flags END"
)
# A random prompt's answer asks to be the first. Of several the one completed first is, unless the
# prompt was answered before; what came after a withdrawal never is. Prompts are locked and
# responses inserted in id order: two batches wait for each other and never deadlock. Whoever waited
# for a prompt got it as it is now; the update must find it by its id, which leads from the version
# that this statement saw to that one. Its place would lead nowhere, and the answer would not count.
INSERT = f"""
WITH sent AS MATERIALIZED (
    SELECT *, asks AND NOT 'after_withdrawal' = ANY(flags) AS counts
    FROM json_to_recordset(%s::json) AS sent ({_typed})
    CROSS JOIN LATERAL (SELECT trigger = 'random' AND prompt_id IS NOT NULL AS asks) AS asking
), locked AS MATERIALIZED (
    SELECT id, answered_at FROM ema_prompt
    WHERE id = ANY(%s) ORDER BY id FOR NO KEY UPDATE
), judged AS (
    SELECT sent.*, asks AND (locked.answered_at IS NOT NULL OR count(*) FILTER (WHERE counts) OVER (
        PARTITION BY sent.prompt_id ORDER BY completed_at, sent.id
        ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
    ) > 0) AS is_second
    FROM sent LEFT JOIN locked ON locked.id = sent.prompt_id
), stored AS (
    INSERT INTO ema_response (participant_id, device_id, received_at, {_names})
    SELECT %s, %s, %s, {_values} FROM judged ORDER BY id
    ON CONFLICT (id) DO NOTHING
    RETURNING id, prompt_id, trigger, completed_at_corrected, flags
), answered AS (
    UPDATE ema_prompt SET answered_at = stored.completed_at_corrected
    FROM stored JOIN locked ON locked.id = stored.prompt_id
    WHERE ema_prompt.id = locked.id AND locked.answered_at IS NULL
    AND stored.trigger = 'random'
    AND NOT stored.flags && '{{duplicate_prompt,after_withdrawal}}'
)
SELECT id FROM stored
"""  # noqa: S608 - built from the constant names above


def asked_by(items: Sequence[Read[Submission] | Broken]) -> list[uuid.UUID]:
    """The prompts that a batch says it answers."""
    read = [item.item.prompt_id for item in items if isinstance(item, Read)]
    return [prompt for prompt in read if prompt]


def _insert(
    phone: Uploader,
    items: list[Formed],
    signals: Mapping[uuid.UUID, Signal],
    client: Client,
    now: datetime,
) -> set[uuid.UUID]:
    """Insert what is new, and mark the prompts it answers; the ids that were new."""
    if not items:
        return set()
    offset = now - client.sent_at if client.sent_at else timedelta(0)
    asked = asked_by([item.read for item in items])
    if len(asked) > len(set(asked)):  # what is stored already must not count as first
        items = _without_known_ids(items)
    rows = [_row(item, signals, phone, client, offset, now) for item in items]
    _remark(phone, rows)
    sent = msgspec.json.encode(rows).decode()
    prompts, whose = prepared.array(signals), [phone.participant_id, phone.device_id, now]
    stored = prepared.rows(INSERT, [sent, prompts, *whose])
    return {each for (each,) in stored}


def _remark(phone: Uploader, rows: list[Row]) -> None:
    """Add what is said of answers that no prompt asked for just then."""
    given = [
        Given(
            row.id, row.trigger == "self_initiated", row.completed_at_corrected, row.utc_offset_min
        )
        for row in rows
        if row.trigger == "self_initiated" or not UNASKED.isdisjoint(row.flags)
    ]
    said = own_time.remarks(phone.participant_id, given)
    for row in rows:
        row.flags += said.get(row.id, ())


def _without_known_ids(items: list[Formed]) -> list[Formed]:
    known = set(Response.objects.filter(pk__in=[item.id for item in items]).values_list("pk"))
    return [item for item in items if (item.id,) not in known]


def _row(
    formed: Formed,
    signals: Mapping[uuid.UUID, Signal],
    phone: Uploader,
    client: Client,
    offset: timedelta,
    now: datetime,
) -> Row:
    sent, form = formed.read.item, formed.form
    signal = signals.get(sent.prompt_id) if sent.prompt_id else None
    at = corrected(sent.completed_at, offset)
    judged = judge(
        sent,
        at=at,
        form=form,
        signal=signal,
        phone=phone,
        client=client,
        clock_offset=offset,
        now=now,
    )
    return Row(
        id=sent.id,
        prompt_id=sent.prompt_id if signal else None,
        questionnaire_id=form.id,
        trigger=sent.trigger,
        shown_at=sent.shown_at,
        started_at=sent.started_at,
        completed_at=sent.completed_at,
        completed_at_corrected=at,
        zone=sent.tz,
        utc_offset_min=sent.utc_offset_min,
        monotonic_ms=sent.monotonic_ms,
        seq=sent.seq,
        language=sent.language,
        schedule_rev=sent.schedule_rev,
        answers=sent.answers,
        stress=judged.values.get("stress"),
        craving=judged.values.get("craving"),
        pain=judged.values.get("pain"),
        flags=judged.flags,
        content_sha256=formed.read.content_sha256.hex(),
    )


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


def _quarantine(
    phone: Uploader, entries: list[Formed | Broken], statuses: list[ItemStatus]
) -> None:
    """Keep the raw text of what is broken or in conflict, once however often it is sent."""
    rows: list[list[Any]] = []
    for entry, status in zip(entries, statuses, strict=True):
        if status.status not in ("quarantined", "conflict"):
            continue
        kept = entry if isinstance(entry, Broken) else entry.read
        reason = "broken" if status.status == "quarantined" else "conflict"
        raw = _kept_as_json(kept)
        errors = msgspec.json.encode(status.errors).decode()
        rows.append(
            [phone.device_id, phone.participant_id, raw, reason, errors, kept.content_sha256]
        )
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(QUARANTINE, rows)
