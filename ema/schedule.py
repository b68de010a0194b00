"""What a phone reads: its released prompts, and what it reports back about them."""

import hashlib
import json
import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.db import connection, transaction

from ema import access
from ema.judgement import corrected
from ema.models import Device, Prompt
from ema.submissions import Broken, Client, PromptEvent, Read

LONGEST_HORIZON = timedelta(days=14)
SYNC_WITHIN = timedelta(days=1)


@dataclass(frozen=True)
class Schedule:
    """A phone's prompts from an instant on, and the revision that names exactly this content."""

    rev: str
    zone: str
    prompts: list[dict[str, Any]]
    cancelled: list[str]
    valid_until: datetime
    next_sync_before: datetime


def release(*, device: Device, since: datetime, horizon: timedelta, now: datetime) -> Schedule:
    """Release the prompts from `since` for `horizon`; released ones never change again."""
    until = since + min(horizon, LONGEST_HORIZON)
    mine = access.prompts_of(device).filter(due_at__gte=since, due_at__lt=until)
    mine.standing().filter(released_at=None).update(released_at=now)
    found = mine.select_related("phase", "questionnaire__questionnaire").order_by("due_at")
    prompts = [_entry(prompt) for prompt in found if prompt.cancelled_at is None]
    cancelled = [str(prompt.pk) for prompt in found if prompt.cancelled_at is not None]
    rev = _revision(prompts, cancelled)
    Device.objects.filter(pk=device.pk).update(schedule_rev=rev, schedule_at=now)
    return Schedule(
        rev=rev,
        zone=device.participant.zone,
        prompts=prompts,
        cancelled=cancelled,
        valid_until=until,
        next_sync_before=now + SYNC_WITHIN,
    )


def _entry(prompt: Prompt) -> dict[str, Any]:
    """One prompt as phones read it."""
    local = prompt.due_at.astimezone(ZoneInfo(prompt.zone))
    version = prompt.questionnaire
    reminders = (prompt.due_at + timedelta(minutes=m) for m in prompt.phase.reminders_after)
    return {
        "id": str(prompt.pk),
        "kind": "fixed" if prompt.phase.design == "fixed" else "random",
        "study_on": prompt.study_on.isoformat(),
        "ordinal": prompt.ordinal,
        "questionnaire": {
            "key": version.questionnaire.key,
            "version": version.version,
            "sha256": version.sha256,
        },
        "due_at": prompt.due_at.isoformat(),
        "due_local": local.isoformat(),
        "remind_at": [at.isoformat() for at in reminders if at < prompt.expires_at],
        "expires_at": prompt.expires_at.isoformat(),
    }


def _revision(prompts: list[dict[str, Any]], cancelled: list[str]) -> str:
    content = json.dumps([prompts, cancelled], sort_keys=True)
    return hashlib.sha256(content.encode()).hexdigest()[:16]


RECORD_EVENTS = """
WITH sent AS (
    SELECT * FROM unnest(%s::uuid[], %s::uuid[], %s::text[], %s::timestamptz[])
    AS sent (id, prompt_id, kind, at)
), new AS (
    INSERT INTO ema_phoneevent (id, device_id, prompt_id, kind, at, received_at)
    SELECT id, %s, prompt_id, kind, at, %s FROM sent ORDER BY id
    ON CONFLICT (id) DO NOTHING RETURNING prompt_id, kind, at
), firsts AS (
    SELECT prompt_id, min(at) FILTER (WHERE kind = 'armed') AS armed_at,
        min(at) FILTER (WHERE kind = 'shown') AS shown_at,
        min(at) FILTER (WHERE kind = 'opened') AS opened_at
    FROM new GROUP BY prompt_id
)
UPDATE ema_prompt SET
    armed_at = least(ema_prompt.armed_at, firsts.armed_at),
    shown_at = least(ema_prompt.shown_at, firsts.shown_at),
    opened_at = least(ema_prompt.opened_at, firsts.opened_at)
FROM firsts WHERE ema_prompt.id = firsts.prompt_id
"""  # least() ignores nulls: the earliest report stands


def record_events(
    *,
    device: Device,
    client: Client,
    items: list[Read[PromptEvent] | Broken],
    now: datetime,
) -> list[tuple[str | None, str]]:
    """Keep what happened to prompts; per item `stored`, or `ignored` when it cannot be placed.

    What a replaced phone shows or arms reaches nobody: it must not keep a prompt from being sent.
    """
    offset = now - client.sent_at if client.sent_at else timedelta(0)
    events = [item.item for item in items if isinstance(item, Read)]
    with transaction.atomic():
        asked = [event.prompt_id for event in events]
        mine = access.prompts_of(device).filter(pk__in=asked).order_by("pk")
        known = set(mine.select_for_update(no_key=True).values_list("pk", flat=True))
        usable = () if device.replaced_at else events
        rows = {e.id: e for e in usable if e.prompt_id in known}
        if rows:
            columns: list[Any] = [
                list(rows),
                [event.prompt_id for event in rows.values()],
                [event.kind for event in rows.values()],
                [min(corrected(event.at, offset), now) for event in rows.values()],
            ]
            with connection.cursor() as cursor:
                cursor.execute(RECORD_EVENTS, [*columns, device.pk, now])
    kept = set(device.events.filter(pk__in=list(rows)).values_list("pk", flat=True))
    return [_placed(item, kept) for item in items]


def _placed(item: Read[PromptEvent] | Broken, kept: set[uuid.UUID]) -> tuple[str | None, str]:
    if isinstance(item, Broken):
        return item.id, "ignored"
    return str(item.item.id), "stored" if item.item.id in kept else "ignored"
