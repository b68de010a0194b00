"""Respond: store what a person answered, exactly once, whatever there is to say about it.

Prepared statements: the door read the phone and the prompts that it answers; here the responses are
inserted and their prompts marked (one transaction, durable when it returns), and where something
was not new, what was there already is looked up. Every item gets a status; `created` means
committed.
"""

import uuid
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import Any

import msgspec
from django.db import connection

from ema import access, own_time, prepared
from ema.access import Uploader
from ema.judgement import Form, Scale, Upload, corrected, judge
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

    id: uuid.UUID
    read: Read[Submission]
    form: Form


def store_batch(
    *, phone: Uploader, client: Client, items: Sequence[Read[Submission] | Broken], now: datetime
) -> list[ItemStatus]:
    """Store a phone's batch; say per item what became of it, in the order sent."""
    entries = [_with_form(phone, item) for item in items]
    firsts: dict[uuid.UUID, Formed] = {}
    for entry in entries:
        if isinstance(entry, Formed):
            firsts.setdefault(entry.id, entry)
    created = _insert(list(firsts.values()), Upload.of(phone, client, now))
    standing = access.contents_of(phone, firsts.keys() - created)
    statuses = [_status(entry, firsts, created, standing) for entry in entries]
    _quarantine(phone, entries, statuses)
    return statuses


def _with_form(phone: Uploader, item: Read[Submission] | Broken) -> Formed | Broken:
    if isinstance(item, Broken):
        return item
    named = item.item.questionnaire
    try:
        return Formed(item.item.id, item, _form(phone.study_id, named.key, named.version))
    except QuestionnaireVersion.DoesNotExist:
        detail = f"There is no published version {named.version} of {named.key!r}."
        return Broken(
            id=str(item.item.id),
            sent_sha256=item.sent_sha256,
            raw=bytes(item.raw),
            fault=Fault("/questionnaire", detail),
        )


@lru_cache(maxsize=4096)
def _form(study_id: int, key: str, version: int) -> Form:
    """Published versions never change, so a process may remember them for good."""
    found = QuestionnaireVersion.objects.published().get(
        questionnaire__study_id=study_id, questionnaire__key=key, version=version
    )
    scales = {
        item.key: Scale.of(item.role, item.minimum, item.maximum, item.decimals)
        for item in found.items.exclude(role=AnalysisRole.NONE)
    }
    return Form(id=found.pk, scales=scales)


def _status(
    entry: Formed | Broken,
    firsts: dict[uuid.UUID, Formed],
    created: set[uuid.UUID],
    standing: dict[uuid.UUID, str],
) -> ItemStatus:
    """`created` once per id; after that the stored content decides."""
    if isinstance(entry, Broken):
        return ItemStatus(entry.id, "quarantined", (entry.fault,))
    stands = standing.get(entry.id)
    if entry.id in created:
        first = firsts[entry.id]
        if entry is first:
            return ItemStatus(entry.id, "created")
        stands = first.read.content_sha256
    same = entry.read.is_content(stands)
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
# A random prompt's answer is a second one where the prompt was answered before, or by another of
# the batch ($3). Prompts are locked in id order before the first row is written, and rows come in
# id order: two batches wait for each other and never deadlock. Whoever waited for a prompt got it
# as it is now; the update must find it by its id, which leads from the version that this statement
# saw to that one. Its place would lead nowhere, and the answer would not count.
INSERT = f"""
WITH locked AS MATERIALIZED (
    SELECT id, answered_at FROM ema_prompt
    WHERE id = ANY($2) ORDER BY id FOR NO KEY UPDATE
), stored AS (
    INSERT INTO ema_response (participant_id, device_id, received_at, {_names})
    SELECT $4, $5, $6, {_values} FROM (
        SELECT *, (
            prompt_id IN (SELECT id FROM locked WHERE answered_at IS NOT NULL) OR id = ANY($3)
        ) AND trigger = 'random' AS is_second
        FROM json_to_recordset($1::json) AS sent ({_typed})
    ) judged
    ON CONFLICT (id) DO NOTHING
    RETURNING id, prompt_id, trigger, completed_at_corrected, flags
), answered AS (
    UPDATE ema_prompt SET answered_at = stored.completed_at_corrected FROM stored
    WHERE ema_prompt.id = stored.prompt_id AND stored.trigger = 'random'
    AND NOT stored.flags && '{{duplicate_prompt,after_withdrawal}}'
)
SELECT json_agg(id) FROM stored
"""  # noqa: S608 - built from the constant names above


def asked_by(items: Sequence[Read[Submission] | Broken]) -> list[uuid.UUID]:
    """The prompts that a batch says it answers."""
    read = [item.item.prompt_id for item in items if isinstance(item, Read)]
    return [prompt for prompt in read if prompt]


def _insert(items: list[Formed], upload: Upload) -> set[uuid.UUID]:
    """Insert what is new, and mark the prompts it answers; the ids that were new."""
    if not items:
        return set()
    rows, seconds = [_row(item, upload) for item in items], list[uuid.UUID]()
    asked = [row.prompt_id for row in rows if row.prompt_id]
    if len(asked) > len(set(asked)):
        rows = _without_known_ids(rows)  # what is stored already must not count as first
        seconds = _seconds(rows)
    phone = upload.phone
    _remark(phone, rows)
    rows.sort(key=lambda row: row.id.int)
    sent, prompts = msgspec.json.encode(rows), prepared.array(phone.signals)
    whose = phone.participant_id, phone.device_id, upload.now
    return prepared.ids(prepared.value(INSERT, sent, prompts, prepared.array(seconds), *whose))


def _seconds(rows: list[Row]) -> list[uuid.UUID]:
    """Of several answers to a prompt the one completed first is the first, and these are not.

    What came after a withdrawal never is.
    """
    answered, seconds = set(), []
    for row in sorted(rows, key=lambda row: (row.completed_at, row.id)):
        if row.trigger != "random" or row.prompt_id is None:
            continue
        if row.prompt_id in answered:
            seconds.append(row.id)
        elif "after_withdrawal" not in row.flags:
            answered.add(row.prompt_id)
    return seconds


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


def _without_known_ids(rows: list[Row]) -> list[Row]:
    known = set(Response.objects.filter(pk__in=[row.id for row in rows]).values_list("pk"))
    return [row for row in rows if (row.id,) not in known]


def _row(formed: Formed, upload: Upload) -> Row:
    sent, form = formed.read.item, formed.form
    signal = upload.phone.signals.get(sent.prompt_id) if sent.prompt_id else None
    at = corrected(sent.completed_at, upload.clock_offset)
    flags, values = judge(sent, at=at, form=form, signal=signal, upload=upload)
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
        stress=values.get("stress"),
        craving=values.get("craving"),
        pain=values.get("pain"),
        flags=flags,
        content_sha256=formed.read.content_sha256,
    )


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
        errors = msgspec.json.encode(status.errors).decode()
        digest = bytes.fromhex(kept.sent_sha256)
        rows.append([phone.device_id, phone.participant_id, kept.as_json, reason, errors, digest])
    if rows:
        with connection.cursor() as cursor:
            cursor.executemany(QUARANTINE, rows)
