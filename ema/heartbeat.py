"""Signs of life of the periodic parts, and whether what is due is late."""

from datetime import datetime, timedelta

from django.db.models import Exists, OuterRef, Q

from ema.models import Device, Heartbeat, Prompt

BACKUP = "backup"
"""Whoever makes backups says so by `manage.py note_backup`; no part of this server does."""
LATE_AFTER = timedelta(seconds=60)


def beat(name: str, now: datetime) -> None:
    """This part ran now."""
    Heartbeat.objects.bulk_create(
        [Heartbeat(name=name, at=now)],
        update_conflicts=True,
        update_fields=["at"],
        unique_fields=["name"],
    )


def lateness(now: datetime) -> str:
    """A sentence when a prompt that somebody should have sent is late; empty when all is well.

    Not late: what a phone has already, what has no phone or only a dead registration to go to,
    what was given up with a reason, and what was planned, or whose phone came, a moment ago.
    """
    due_at = _oldest_waiting(now)
    if due_at is None:
        return ""
    ran_at = Heartbeat.objects.filter(name="dispatcher").values_list("at", flat=True).first()
    ran = f"ran last at {ran_at:%Y-%m-%d %H:%M:%S} UTC" if ran_at else "has never run"
    waits_s = (now - due_at).total_seconds()
    return f"A prompt that was due {waits_s:.0f} s ago has not been sent; the dispatcher {ran}."


def _oldest_waiting(now: datetime) -> datetime | None:
    long_ago = now - LATE_AFTER
    phones = Device.objects.active().filter(
        participant=OuterRef("participant"), enrolled_at__lt=long_ago, push__died_at=None
    )
    waiting = Prompt.objects.due(now).filter(
        Q(participant__withdrawn_at=None) | Q(participant__withdrawn_at__gt=now),
        Exists(phones),
        due_at__lt=long_ago,
        planned_at__lt=long_ago,
        armed_at=None,
        sent_at=None,
        shown_at=None,
        opened_at=None,
        answered_at=None,
        undelivered="",
        participant__study__started_at__lte=now,
        participant__study__locked_at=None,
    )
    return waiting.order_by("due_at").values_list("due_at", flat=True).first()
