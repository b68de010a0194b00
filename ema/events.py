"""What a phone reports: what became of its prompts, and what happened to the phone itself."""

import logging
import uuid
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from django.db import connection, transaction

from ema import access, audit, travel
from ema.judgement import corrected
from ema.models import Device, Participant, PhoneEvent
from ema.submissions import Broken, Client, Event, Read

Rows = Mapping[uuid.UUID, tuple[Event, datetime]]
log = logging.getLogger(__name__)


def record(
    *, device: Device, client: Client, items: list[Read[Event] | Broken], now: datetime
) -> list[tuple[str | None, str]]:
    """Keep what happened; per item `stored`, or `ignored` when it cannot be placed.

    What a replaced phone shows or arms reaches nobody: it must not keep a prompt from being sent.
    """
    events = [item.item for item in items if isinstance(item, Read)]
    offset = now - client.sent_at if client.sent_at else timedelta(0)
    with transaction.atomic():
        if any(event.kind == "zone_changed" for event in events):  # before prompts
            Participant.objects.select_for_update(no_key=True).get(pk=device.participant_id)
        known = _locked_prompts(device, events)
        rows = {
            each.id: (each, min(corrected(each.at, offset), now))
            for each in (() if device.replaced_at else events)
            if each.prompt_id is None or each.prompt_id in known
        }
        fresh = _insert(device, rows, now)
        _follow(device, [rows[each] for each in fresh], now)
    kept = set(device.events.filter(pk__in=list(rows)).values_list("pk", flat=True))
    return [_placed(item, kept) for item in items]


def _locked_prompts(device: Device, events: Iterable[Event]) -> set[uuid.UUID]:
    """The prompts of this participant among those reported on, locked in id order."""
    asked = [event.prompt_id for event in events if event.prompt_id]
    mine = access.prompts_of(device).filter(pk__in=asked).order_by("pk")
    return set(mine.select_for_update(no_key=True).values_list("pk", flat=True))


RECORD = """
WITH sent AS (
    SELECT * FROM unnest(
        %s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::timestamptz[], %s::bigint[]
    ) AS sent (id, prompt_id, kind, detail, at, seq)
), new AS (
    INSERT INTO ema_phoneevent (id, device_id, prompt_id, kind, detail, at, seq, received_at)
    SELECT id, %s, prompt_id, kind, detail, at, seq, %s FROM sent ORDER BY id
    ON CONFLICT (id) DO NOTHING RETURNING id, prompt_id, kind, at
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
    FROM firsts WHERE ema_prompt.id = firsts.prompt_id
)
SELECT id FROM new
"""  # least() ignores nulls: the earliest report stands


def _insert(device: Device, rows: Rows, now: datetime) -> list[uuid.UUID]:
    """Insert in id order; the ids that were new."""
    if not rows:
        return []
    columns: list[Any] = [
        list(rows),
        [event.prompt_id for event, _ in rows.values()],
        [event.kind for event, _ in rows.values()],
        [event.detail for event, _ in rows.values()],
        [at for _, at in rows.values()],
        [event.seq for event, _ in rows.values()],
    ]
    with connection.cursor() as cursor:
        cursor.execute(RECORD, [*columns, device.pk, now])
        return [each for (each,) in cursor.fetchall()]


def _follow(device: Device, fresh: list[tuple[Event, datetime]], now: datetime) -> None:
    """Take up the newest zone that was reported, unless a later report came before it."""
    moves = [(at, event.tz) for event, at in fresh if event.kind == "zone_changed"]
    if not moves:
        return
    at, zone = max(moves)
    reports = PhoneEvent.objects.filter(
        device__participant=device.participant, kind="zone_changed", at__gt=at
    )
    if reports.exists():
        return
    try:
        travel.report_zone(participant=device.participant, zone=zone, now=now, actor=audit.PHONE)
    except travel.ChangeRefused as refusal:  # an unknown zone, or somebody who has withdrawn
        log.warning("A reported zone is kept and not followed: %s", refusal)


def _placed(item: Read[Event] | Broken, kept: set[uuid.UUID]) -> tuple[str | None, str]:
    if isinstance(item, Broken):
        return item.id, "ignored"
    return str(item.item.id), "stored" if item.item.id in kept else "ignored"
