"""What a phone reports: what became of its prompts, and what happened to the phone itself."""

import logging
import uuid
from collections.abc import Collection
from datetime import datetime, timedelta

import msgspec
from django.db import transaction

from ema import audit, prepared, travel
from ema.access import Uploader
from ema.judgement import corrected
from ema.models import Participant, PhoneEvent
from ema.submissions import Broken, Client, Event, Read

log = logging.getLogger(__name__)


class Row(msgspec.Struct):
    """An event as it is stored; the fields are columns of ema_phoneevent."""

    id: uuid.UUID
    prompt_id: uuid.UUID | None
    kind: str
    detail: str
    at: datetime
    seq: int | None


def record(
    *, phone: Uploader, client: Client, items: list[Read[Event] | Broken], now: datetime
) -> list[tuple[str | None, str]]:
    """Keep what happened; per item `stored`, or `ignored` when it cannot be placed.

    What a replaced phone shows or arms reaches nobody: it must not keep a prompt from being sent.
    """
    events = [item.item for item in items if isinstance(item, Read)]
    offset = now - client.sent_at if client.sent_at else timedelta(0)
    usable = {} if phone.replaced_at else {event.id: event for event in events}
    rows = [_row(event, offset, now) for event in usable.values()]
    if any(row.kind == "zone_changed" for row in rows):
        with transaction.atomic():  # so that no report is kept and not followed
            Participant.objects.select_for_update(no_key=True).get(pk=phone.participant_id)
            fresh = _insert(phone, rows, now)
            _follow(phone, [row for row in rows if row.id in fresh], now)
    else:
        fresh = _insert(phone, rows, now)
    kept = fresh | _known(phone, usable.keys() - fresh)
    return [_placed(item, kept) for item in items]


def _row(event: Event, offset: timedelta, now: datetime) -> Row:
    at = min(corrected(event.at, offset), now)
    return Row(event.id, event.prompt_id, event.kind, event.detail, at, event.seq)


RECORD = """
WITH sent AS MATERIALIZED (
    SELECT * FROM json_to_recordset($1::json) AS sent (
        id uuid, prompt_id uuid, kind text, detail text, at timestamptz, seq bigint
    )
), mine AS MATERIALIZED (
    SELECT id FROM ema_prompt WHERE id = ANY($2) AND participant_id = $3
    ORDER BY id FOR NO KEY UPDATE
), new AS (
    INSERT INTO ema_phoneevent (id, device_id, prompt_id, kind, detail, at, seq, received_at)
    SELECT id, $4, prompt_id, kind, detail, at, seq, $5 FROM sent
    WHERE prompt_id IS NULL OR prompt_id IN (SELECT id FROM mine)
    ORDER BY id ON CONFLICT (id) DO NOTHING RETURNING id, prompt_id, kind, at
), firsts AS (
    SELECT prompt_id, min(at) FILTER (WHERE kind = 'armed') AS armed_at,
        min(at) FILTER (WHERE kind = 'shown') AS shown_at,
        min(at) FILTER (WHERE kind = 'opened') AS opened_at
    FROM new WHERE prompt_id IS NOT NULL GROUP BY prompt_id
), told AS (
    UPDATE ema_prompt SET
        armed_at = least(ema_prompt.armed_at, firsts.armed_at),
        shown_at = least(ema_prompt.shown_at, firsts.shown_at),
        opened_at = least(ema_prompt.opened_at, firsts.opened_at)
    FROM firsts WHERE ema_prompt.id = ANY($2) AND ema_prompt.id = firsts.prompt_id
)
SELECT json_agg(id) FROM new
"""  # least() ignores nulls: the earliest report stands


def _insert(phone: Uploader, rows: list[Row], now: datetime) -> set[uuid.UUID]:
    """Insert in id order, of one's own prompts only; the ids that were new."""
    if not rows:
        return set()
    asked = prepared.array(row.prompt_id for row in rows if row.prompt_id)
    whose = phone.participant_id, phone.device_id
    return prepared.ids(prepared.value(RECORD, msgspec.json.encode(rows), asked, *whose, now))


KNOWN = "SELECT json_agg(id) FROM ema_phoneevent WHERE device_id = $1 AND id = ANY($2)"


def _known(phone: Uploader, ids: Collection[uuid.UUID]) -> set[uuid.UUID]:
    """Those that this phone had reported before."""
    if not ids:
        return set()
    return prepared.ids(prepared.value(KNOWN, phone.device_id, prepared.array(ids)))


def _follow(phone: Uploader, fresh: list[Row], now: datetime) -> None:
    """Take up the newest zone that was reported, unless a later report came before it."""
    moves = [(row.at, row.detail) for row in fresh if row.kind == "zone_changed"]
    if not moves:
        return
    at, zone = max(moves)
    reports = PhoneEvent.objects.filter(
        device__participant=phone.participant_id, kind="zone_changed", at__gt=at
    )
    if reports.exists():
        return
    owner = Participant.objects.select_related("study").get(pk=phone.participant_id)
    try:
        travel.report_zone(participant=owner, zone=zone, now=now, actor=audit.PHONE)
    except travel.ChangeRefused:  # an unknown zone, or somebody who has withdrawn
        log.warning("A zone that phone %d reported is kept and not followed", phone.device_id)


def _placed(item: Read[Event] | Broken, kept: set[uuid.UUID]) -> tuple[str | None, str]:
    if isinstance(item, Broken):
        return item.id, "ignored"
    return str(item.item.id), "stored" if item.item.id in kept else "ignored"
