"""Safety alerts: look at the rules, raise what they find once, acknowledge with what was done.

A periodic task looks at what has arrived; taking in answers costs nothing for it. Two workers at
once make one alert of an occasion, and an outage leaves what arrived meanwhile to the next run.
"""

import logging
from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import islice

from django.db import transaction
from django.db.models import Q

from ema import audit, heartbeat
from ema.alert_findings import ON_ARRIVAL, ON_THE_WHOLE, Finding, windows
from ema.audit import Actor
from ema.models import Alert, AlertNote, AlertRule
from ema.models.alert import Action

LOOK_EVERY = timedelta(minutes=1)  # at prompts and phones, which are read as a whole
AT_ONCE = 1000
HEARTBEAT = "alerts"
LATE_AFTER = timedelta(minutes=10)
log = logging.getLogger(__name__)


class AlertRefused(ValueError):
    """The alert cannot be acknowledged or noted like this; the message says why."""


def find_alerts(now: datetime) -> int:
    """Look at every rule that is switched on; how many alerts are new.

    A rule that breaks is logged and looked at again; the others go on, and the heartbeat stops.
    """
    raised, broken = 0, False
    for rule in AlertRule.objects.watching().select_related("study"):
        if not _is_due(rule, now):
            continue
        try:
            raised += look_at(rule, now)
        except Exception:  # one broken rule must not silence the others
            log.exception("Alert rule %d of study %s broke", rule.pk, rule.study)
            broken = True
    if not broken:
        heartbeat.beat(HEARTBEAT, now)
    return raised


def _is_due(rule: AlertRule, now: datetime) -> bool:
    """Whether to look now; a rule that was just switched on has its first look at once."""
    if rule.kind in ON_ARRIVAL or rule.watched_until in (None, rule.active_since):
        return True
    return now - rule.watched_until >= LOOK_EVERY


def look_at(rule: AlertRule, now: datetime) -> int:
    """Raise what one rule finds; how many alerts are new."""
    if rule.kind in ON_THE_WHOLE:
        raised = _raise_all(rule, ON_THE_WHOLE[rule.kind](rule, now), now)
        _watched(rule, now)
        return raised
    raised = 0
    for window in windows(rule):
        raised += _raise_all(rule, ON_ARRIVAL[rule.kind](rule, window), now)
        _watched(rule, window.until or now)
    return raised


def _watched(rule: AlertRule, until: datetime) -> None:
    """Go on from here next time; never back, and not where somebody switched the rule anew."""
    standing = AlertRule.objects.filter(pk=rule.pk, active_since=rule.active_since)
    standing.filter(Q(watched_until=None) | Q(watched_until__lt=until)).update(watched_until=until)


def _raise_all(rule: AlertRule, findings: Iterator[Finding], now: datetime) -> int:
    raised = 0
    while some := list(islice(findings, AT_ONCE)):
        raised += _raise(rule, some, now)
    return raised


def _raise(rule: AlertRule, found: Sequence[Finding], now: datetime) -> int:
    """Keep what is not known yet, with the rule as it is now."""
    known = set(
        Alert.objects.filter(rule=rule, occasion__in=[each.occasion for each in found]).values_list(
            "participant_id", "occasion"
        )
    )
    fresh: dict[tuple[int, str], Finding] = {}
    for each in found:  # of several on one occasion the first
        fresh.setdefault((each.participant_id, each.occasion), each)
    rows = [_alert(rule, each, now) for key, each in fresh.items() if key not in known]
    Alert.objects.bulk_create(rows, ignore_conflicts=True)
    return len(rows)


def _alert(rule: AlertRule, found: Finding, now: datetime) -> Alert:
    return Alert(
        rule=rule,
        participant_id=found.participant_id,
        occasion=found.occasion,
        response_id=found.response_id,
        rule_content=rule.content(),
        rule_sha256=rule.content_hash(),
        severity=rule.severity,
        finding=found.words,
        occurred_at=found.occurred_at,
        known_at=found.known_at,
        raised_at=max(now, found.known_at),
    )


# --- what people do with them -----------------------------------------------------------


@transaction.atomic
def acknowledge(*, alert: Alert, action: str, text: str, now: datetime, actor: Actor) -> None:
    """Write down what was done about an alert; of two who do so at once, the second is told."""
    refuse_wrong_action(action=action, text=text)
    if actor.user is None:
        raise AlertRefused("Somebody acknowledges an alert: name the user.")
    at = max(now, alert.raised_at)
    fields = {"action": action, "action_text": text.strip(), "acknowledged_at": at}
    claimed = Alert.objects.open().filter(pk=alert.pk)
    if not claimed.update(acknowledged_by=actor.user, **fields):
        kept = Alert.objects.select_related("acknowledged_by").get(pk=alert.pk)
        raise AlertRefused(
            f"Alert {alert.pk} was acknowledged by {kept.acknowledged_by} at "
            f"{kept.acknowledged_at:%Y-%m-%d %H:%M} UTC: add a note."
        )
    alert.refresh_from_db()
    waited = round(alert.age(now).total_seconds())
    after = {"action": action, "text": text.strip(), "seconds_to_acknowledge": waited}
    _record(alert, "alert.acknowledged", after, actor)


@transaction.atomic
def add_note(*, alert: Alert, text: str, now: datetime, actor: Actor) -> AlertNote:
    """Add to an alert what was learnt or done later."""
    if not text.strip():
        raise AlertRefused("Write the note in words.")
    if actor.user is None:
        raise AlertRefused("Somebody writes a note: name the user.")
    note = AlertNote.objects.create(alert=alert, at=now, author_id=actor.user.pk, text=text.strip())
    _record(alert, "alert.noted", {"text": note.text}, actor)
    return note


def refuse_wrong_action(*, action: str, text: str) -> None:
    """AlertRefused unless an action is named and said in words."""
    if action not in Action.values:
        known = ", ".join(Action.values)
        raise AlertRefused(f"Say what was done: one of {known}, not {action!r}.")
    if not text.strip():
        raise AlertRefused("Say in words what was done.")


def _record(alert: Alert, action: str, after: dict[str, object], actor: Actor) -> None:
    audit.record(
        actor=actor,
        action=action,
        subject=f"alert {alert.pk} of {alert.participant.code}",
        study=alert.rule.study,
        site=alert.participant.site,
        after=after,
    )
