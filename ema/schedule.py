"""What a phone reads: its released prompts."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from ema import access
from ema.models import Device, Prompt

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
