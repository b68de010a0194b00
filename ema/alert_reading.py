"""What doors show of alerts: chosen, ordered, and as JSON."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db.models import Case, IntegerField, QuerySet, Value, When

from ema import alert_messages, alerts
from ema.models import Alert, Heartbeat
from ema.models.alert import Action, Severity

STATES = {"open": "open", "acknowledged": "acknowledged", "all": "all"}
DEFAULT_STATE = "open"


class FilterRefused(ValueError):
    """Alerts are not chosen like this; the message says what would be right."""


def chosen(found: QuerySet[Alert], by: Mapping[str, str]) -> QuerySet[Alert]:
    """Alerts in this state, of this severity, site, rule and participant, where they are named."""
    state = by.get("state") or DEFAULT_STATE
    _refuse_unknown("state", state, list(STATES))
    if state != "all":
        found = found.filter(acknowledged_at__isnull=state == "open")
    if severity := by.get("severity"):
        _refuse_unknown("severity", severity, Severity.values)
        found = found.filter(severity=severity)
    if rule := by.get("rule"):
        if not rule.isdecimal() or int(rule) >= 2**31:
            raise FilterRefused(f"A rule is named by its number, not {rule!r}.")
        found = found.filter(rule=int(rule))
    if site := by.get("site"):
        found = found.filter(participant__site__code=site)
    if code := by.get("participant", "").strip():
        found = found.filter(participant__code__icontains=code)
    return in_order(found)


def _refuse_unknown(name: str, value: str, known: list[str]) -> None:
    if value not in known:
        raise FilterRefused(f"There is no {name} {value!r}; there are: {', '.join(known)}.")


def in_order(found: QuerySet[Alert]) -> QuerySet[Alert]:
    """Open ones first: the most severe first, and of those the oldest; then the newest."""
    ranks = {severity: rank for rank, severity in enumerate(Severity.values)}
    whens = [When(severity=severity, then=Value(rank)) for severity, rank in ranks.items()]
    rank = Case(
        When(acknowledged_at__isnull=False, then=Value(len(ranks))),
        *whens,
        output_field=IntegerField(),
    )
    waiting = Case(When(acknowledged_at=None, then="raised_at"))
    about = ("rule__study", "participant__site", "acknowledged_by")
    ordered = found.annotate(rank=rank, waiting=waiting).order_by(
        "rank", "waiting", "-acknowledged_at", "pk"
    )
    return ordered.select_related(*about).prefetch_related("messages", "notes__author")


def content(alert: Alert) -> dict[str, Any]:
    """An alert as commands and the API tell it."""
    return {
        "number": alert.pk,
        "participant": alert.participant.code,
        "site": alert.participant.site.code,
        "severity": alert.severity,
        "rule": {**alert.rule_content, "sha256": alert.rule_sha256},
        "finding": alert.finding,
        "occurred_at": alert.occurred_at.isoformat(),
        "known_at": alert.known_at.isoformat(),
        "raised_at": alert.raised_at.isoformat(),
        "acknowledged_at": alert.acknowledged_at.isoformat() if alert.acknowledged_at else None,
        "acknowledged_after_s": round((alert.acknowledged_at - alert.raised_at).total_seconds())
        if alert.acknowledged_at
        else None,
        "acknowledged_by": str(alert.acknowledged_by) if alert.acknowledged_by else None,
        "action": alert.action or None,
        "action_text": alert.action_text or None,
        "notes": [
            {"at": note.at.isoformat(), "author": str(note.author), "text": note.text}
            for note in alert.notes.all()
        ],
        "messages": [
            {
                "channel": message.channel,
                "to": alert_messages.shown(message),
                "queued_at": message.queued_at.isoformat(),
                "sent_at": message.sent_at.isoformat() if message.sent_at else None,
                "failed_at": message.failed_at.isoformat() if message.failed_at else None,
                "failure": message.failure or None,
            }
            for message in alert.messages.all()
        ],
    }


def action_in_words(alert: Alert) -> str:
    return str(Action(alert.action).label) if alert.action else ""


def trouble(found: QuerySet[Alert], now: datetime) -> list[str]:
    """Sentences about what keeps alerts from being found or told; empty when all is well."""
    beats = dict(Heartbeat.objects.values_list("name", "at"))
    wrong = []
    for name, what, every_s in (
        (alerts.HEARTBEAT, "Rules are not looked at", settings.ALERT_EVERY_S),
        (
            alert_messages.HEARTBEAT,
            "Others are not told of alerts that wait",
            settings.ESCALATE_EVERY_S,
        ),
    ):
        at = beats.get(name)
        if at is None or now - at > alerts.LATE_AFTER + 2 * timedelta(seconds=every_s):
            since = f"the last time was {at:%Y-%m-%d %H:%M} UTC" if at else "it has never been done"
            wrong.append(f"{what}: {since}. Tell whoever runs the server.")
    return [*wrong, *alert_messages.failing(found)]
