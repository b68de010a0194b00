"""What the rules of a study find: one function for each kind of rule. Nothing is written.

Answers are looked at once they have arrived, however late; the others are read off the ledger of
prompts and the signs of life of phones. Nothing here reads allocations.
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from itertools import islice
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection
from django.db.models import DateTimeField, Exists, Max, OuterRef, Q, QuerySet
from django.db.models.functions import Greatest

from ema import alert_rules
from ema.alert_conditions import (
    SMALLEST_SHARE,
    Spread,
    in_words,
    is_number,
    leaves_mean,
    meets,
)
from ema.models import AlertRule, Device, Pause, PhoneEvent, Prompt, Response
from ema.models.alert import RuleKind

LATE_COMMITS = timedelta(minutes=2)  # received_at is known before the row can be seen
LONGEST_STREAK = timedelta(days=60)
CHUNK = 2000
SHOWN = 120  # characters of an answer in an alert


class Finding(NamedTuple):
    """An occasion on which a rule holds. `known_at` is when the server could know of it."""

    participant_id: int
    occasion: str
    words: str
    occurred_at: datetime
    known_at: datetime
    response_id: UUID | None = None


class Arrived(NamedTuple):
    """A response that a rule has not looked at, or has a moment ago."""

    id: UUID
    participant_id: int
    answers: list[dict[str, Any]]
    completed_at: datetime
    completed_at_corrected: datetime
    received_at: datetime

    def values(self, item: str) -> list[Any]:
        """What was answered to an item; nothing where it was skipped."""
        found = (answer.get("value") for answer in self.answers if answer.get("item") == item)
        return [value for value in found if value is not None]

    def found(self, words: str, occasion: str = "") -> Finding:
        return Finding(
            self.participant_id,
            occasion or str(self.id),
            words,
            self.completed_at_corrected,
            self.received_at,
            self.id,
        )


class Window(NamedTuple):
    """Responses that arrived after `since` and not after `until` (none: whatever there is)."""

    since: datetime
    until: datetime | None


def windows(rule: AlertRule) -> Iterator[Window]:
    """What a rule has not looked at, and a little before, in parts of a few responses.

    So what a long outage leaves is worked off by several runs, each going on where one ended.
    """
    assert rule.active_since  # noqa: S101 - only rules that are switched on are looked at
    since = (rule.watched_until or rule.active_since) - LATE_COMMITS
    since = max(since, rule.active_since - timedelta(microseconds=1))
    while True:
        later = _since(rule, since).values_list("received_at", flat=True)
        until = next(iter(later[CHUNK - 1 : CHUNK]), None)
        yield Window(since, until)
        if until is None:
            return
        since = until


def _since(rule: AlertRule, since: datetime) -> QuerySet[Response]:
    new = Response.objects.filter(participant__study=rule.study_id, received_at__gt=since)
    return new.order_by("received_at")


def arrived(rule: AlertRule, window: Window) -> Iterator[Arrived]:
    """Responses of the study in this window."""
    new = _since(rule, window.since)
    if window.until:
        new = new.filter(received_at__lte=window.until)
    for row in new.values_list(*Arrived._fields).iterator(chunk_size=CHUNK):
        yield Arrived(*row)


def answers(rule: AlertRule, window: Window) -> Iterator[Finding]:
    """Answers that are what the rule looks for."""
    for each in arrived(rule, window):
        met = [v for v in each.values(rule.item) if meets(rule.operator, rule.value, v)]
        if met:
            yield each.found(f"{rule.item}: {in_words(met[0])[:SHOWN]}")


# --- changes from the own mean ----------------------------------------------------------

SPREADS = """
SELECT fresh.id, count(stated.value), avg(stated.value), stddev_samp(stated.value)
FROM ema_response fresh
JOIN ema_response earlier ON earlier.participant_id = fresh.participant_id
    AND earlier.completed_at_corrected < fresh.completed_at_corrected
CROSS JOIN LATERAL (
    SELECT jsonb_path_query_first(
        earlier.answers, '$[*] ? (@.item == $key && @.value.type() == "number").value',
        jsonb_build_object('key', %s::text)
    )::float8 AS value
) stated
WHERE fresh.id = ANY(%s)
GROUP BY fresh.id HAVING count(stated.value) >= %s
"""


def changes(rule: AlertRule, window: Window) -> Iterator[Finding]:
    """Answers that leave the mean of what the participant answered before, by the rule's SD."""
    whole = alert_rules.item_range(alert_rules.published_items(rule.study).get(rule.item, []))
    floor = (whole or 0.0) * SMALLEST_SHARE
    numeric = (
        each for each in arrived(rule, window) if any(map(is_number, each.values(rule.item)))
    )
    while new := {each.id: each for each in islice(numeric, CHUNK)}:
        for key, own in _spreads(list(new), rule).items():
            value = next(filter(is_number, new[key].values(rule.item)))
            if leaves_mean(rule.operator, float(rule.amount or 0), value, own, floor):
                yield new[key].found(
                    f"{rule.item}: {in_words(value)}; own mean {own.mean:.1f}, "
                    f"SD {own.deviation:.1f} of {own.n} earlier answers"
                )


def _spreads(responses: list[UUID], rule: AlertRule) -> dict[UUID, Spread]:
    """By response, what its participant answered before it, where that is often enough."""
    if not responses:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(SPREADS, [rule.item, responses, rule.least_answers])
        return {key: Spread(n, mean, spread or 0.0) for key, n, mean, spread in cursor.fetchall()}


# --- prompts and phones -----------------------------------------------------------------

STREAKS = """
WITH person AS (
    SELECT id FROM ema_participant WHERE study_id = %(study)s AND withdrawn_at IS NULL
), answered AS (
    SELECT participant_id, max(due_at) AS at FROM ema_prompt
    WHERE participant_id IN (SELECT id FROM person) AND answered_at IS NOT NULL
    GROUP BY participant_id
)
SELECT prompt.participant_id, count(*),
    (array_agg(prompt.id ORDER BY prompt.due_at, prompt.id))[1],
    min(prompt.due_at), max(prompt.expires_at)
FROM person JOIN ema_prompt prompt ON prompt.participant_id = person.id
LEFT JOIN answered ON answered.participant_id = person.id
WHERE prompt.due_at > coalesce(answered.at, '-infinity')
AND prompt.due_at > %(now)s - %(longest)s AND prompt.expires_at <= %(now)s
AND prompt.cancelled_at IS NULL AND prompt.answered_at IS NULL
AND coalesce(prompt.armed_at, prompt.sent_at, prompt.shown_at, prompt.opened_at) IS NOT NULL
GROUP BY prompt.participant_id
HAVING count(*) >= %(amount)s AND max(prompt.expires_at) > %(since)s
"""  # what no phone had is no miss (ema/prompt_state.py): it neither counts nor ends a streak


def missed(rule: AlertRule, now: datetime) -> Iterator[Finding]:
    """Participants who answered none of their latest prompts; one alert for each streak."""
    asked: dict[str, Any] = {
        "study": rule.study_id,
        "now": now,
        "longest": LONGEST_STREAK,
        "amount": rule.amount,
        "since": rule.active_since,
    }
    with connection.cursor() as cursor:
        cursor.execute(STREAKS, asked)
        rows = cursor.fetchall()
    for participant, n, first, since, until in rows:
        words = f"{n} prompts in a row without an answer, the first due {_utc(since)}"
        yield Finding(participant, str(first), words, until, until)


def silent(rule: AlertRule, now: datetime) -> Iterator[Finding]:
    """Phones that nothing was heard of, of participants who have prompts to come."""
    hours = timedelta(hours=float(rule.amount or 0))
    for participant, heard_at in _silent_since(rule, now - hours, now):
        words = f"nothing heard of the app since {_utc(heard_at)}"
        yield Finding(participant, heard_at.isoformat(), words, heard_at + hours, heard_at + hours)


def _silent_since(
    rule: AlertRule, before: datetime, now: datetime
) -> Iterator[tuple[int, datetime]]:
    """Participants, and the last sign of their phone, where that is older than `before`."""
    of_owner = {"participant": OuterRef("participant")}
    coming = Prompt.objects.standing().filter(**of_owner, due_at__gt=now)
    paused = Pause.objects.open(now).filter(**of_owner, begins_at__lte=now)
    recent = Response.objects.filter(**of_owner, received_at__gt=before)
    heard = Greatest(
        "enrolled_at", "schedule_at", "push__registered_at", output_field=DateTimeField()
    )
    phones = Device.objects.active().annotate(heard_at=heard)
    quiet = phones.filter(
        Q(participant__study=rule.study_id, participant__withdrawn_at=None, heard_at__lte=before),
        ~Exists(recent),
        ~Exists(paused),
        Exists(coming),
    ).values_list("pk", "participant", "heard_at")
    few = [phone for phone, _, _ in quiet]
    events = _last(PhoneEvent.objects.filter(device__in=few))
    answered = _last(Response.objects.filter(device__in=few))
    for phone, participant, heard_at in quiet:
        last = max(heard_at, events.get(phone, heard_at), answered.get(phone, heard_at))
        if last <= before:
            yield participant, last


def _last(rows: QuerySet[Any]) -> dict[int, datetime]:
    """When the last of these arrived, by phone."""
    return dict(rows.values_list("device").annotate(at=Max("received_at")))


def clocks(rule: AlertRule, window: Window) -> Iterator[Finding]:
    """Phones whose clock was further off than the rule allows; one alert for each day."""
    most = timedelta(minutes=float(rule.amount or 0))
    for each in arrived(rule, window):
        off = each.completed_at - each.completed_at_corrected
        if abs(off) > most:
            minutes, side = abs(off) / timedelta(minutes=1), "ahead" if off > most else "behind"
            words = f"the phone's clock was {minutes:.0f} minutes {side}"
            yield each.found(words, occasion=each.received_at.date().isoformat())


def _utc(at: datetime) -> str:
    return f"{at:%Y-%m-%d %H:%M} UTC"


ON_ARRIVAL: dict[str, Callable[[AlertRule, Window], Iterator[Finding]]] = {
    RuleKind.ANSWER: answers,
    RuleKind.CHANGE: changes,
    RuleKind.CLOCK: clocks,
}
ON_THE_WHOLE: dict[str, Callable[[AlertRule, datetime], Iterator[Finding]]] = {
    RuleKind.MISSED: missed,
    RuleKind.SILENT: silent,
}
