"""What an app needs to know of its study and of this server, beside prompts and questions."""

import hashlib
import re
from typing import Any

import msgspec
from django.conf import settings

from ema.languages import languages_of
from ema.models import Device, PhaseStart
from ema.models.push import PushKind
from ema.schedule import LONGEST_HORIZON
from ema.submissions import MOST_ITEMS

NUMBER = re.compile(r"[0-9]+")


def config_of(device: Device) -> tuple[dict[str, Any], str]:
    """The content, and the revision that names exactly this content."""
    study = device.participant.study
    content = {
        "study": {
            "slug": study.slug,
            "title": study.title,
            "contact": study.contact,
            "instructions": study.instructions,
        },
        "languages": languages_of(study),
        "minimum_app_version": study.minimum_app_version or None,
        "travel": study.travel,
        "phases": phases_of(device),
        "push": push(),
        "limits": {
            "batch_items": MOST_ITEMS,
            "body_bytes": settings.DATA_UPLOAD_MAX_MEMORY_SIZE,
            "schedule_days": LONGEST_HORIZON.days,
        },
    }
    text = msgspec.json.encode(content, order="deterministic")
    return content, hashlib.sha256(text).hexdigest()[:16]


def is_too_old(version: str, minimum: str) -> bool:
    """Whether a version such as 2.0.9 comes before the minimum; one that says nothing does not."""
    numbers, needed = (tuple(map(int, NUMBER.findall(text))) for text in (version, minimum))
    return bool(numbers) and numbers < needed


def phases_of(device: Device) -> list[dict[str, Any]]:
    """The phases whose beginning is known, and what the app may offer in them."""
    starts = PhaseStart.objects.filter(participant=device.participant_id).order_by("begins_on")
    return [
        {
            "begins_on": start.begins_on.isoformat(),
            "days": start.phase.days,
            "questionnaire": {
                "key": start.phase.questionnaire.questionnaire.key,
                "version": start.phase.questionnaire.version,
                "sha256": start.phase.questionnaire.sha256,
            },
            "reminders_after_min": start.phase.reminders_after,
            "self_initiated_daily_cap": start.phase.self_initiated_daily_cap,
        }
        for start in starts.select_related("phase__questionnaire__questionnaire")
    ]


def push() -> dict[str, Any]:
    """The kinds of push registration that this server can serve, and the key of web apps."""
    configured = {
        PushKind.WEBPUSH: settings.VAPID_PRIVATE_KEY,
        PushKind.FCM: settings.FCM_SERVICE_ACCOUNT,
        PushKind.APNS: settings.APNS_KEY,
        PushKind.EMAIL: settings.EMAIL_SERVER,
        PushKind.SMS: settings.SMS_URL,
    }
    return {
        "kinds": [kind.value for kind, setting in configured.items() if setting],
        "vapid_public_key": vapid_public_key(settings.VAPID_PRIVATE_KEY),
    }


def vapid_public_key(private: str) -> str | None:
    """The public half of VAPID_PRIVATE_KEY; None where none is set."""
    if not private:
        return None
    from ema import vapid  # needs the extra `push`

    return vapid.public_key(vapid.private_key(private))
