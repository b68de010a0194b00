"""Read the audit trail: what was asked for, readable differences, and files of it."""

import csv
import io
import json
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, NamedTuple, TypeVar

from django.db.models import Exists, Model, OuterRef, Q, QuerySet

from ema.csv_cells import guarded
from ema.models import AuditEvent, RowChange, Study
from ema.zone_names import zone_named

M = TypeVar("M", bound=Model)

COLUMNS = ("id", "at", "site", "who", "door", "action", "subject", "before", "after", "reason")
ROW_COLUMNS = (
    *("id", "at", "site", "who", "database_user", "operation", "table", "row"),
    *("before", "after", "transaction"),
)


class Asked(NamedTuple):
    """What to show of a study's trail. Dates are days in the study's zone, both included."""

    who: str = ""
    action: str = ""
    subject: str = ""
    site: str = ""
    since: date | None = None
    until: date | None = None


class Difference(NamedTuple):
    """A field that differs, with its values in words."""

    name: str
    before: str
    after: str


def events_asked(events: QuerySet[AuditEvent], study: Study, asked: Asked) -> QuerySet[AuditEvent]:
    """Those of the events, newest first. `who` is part of a user name, or a door: phone, task."""
    found = _of_days(events.filter(study=study), study, asked)
    if asked.who:
        found = found.filter(Q(actor__username__icontains=asked.who) | Q(door__iexact=asked.who))
    if asked.action:
        found = found.filter(action=asked.action)
    if asked.subject:
        found = found.filter(subject__icontains=asked.subject)
    return found.select_related("study", "site", "actor").order_by("-pk")


def changes_asked(
    changes: QuerySet[RowChange], study: Study, asked: Asked, *, without_event: bool = False
) -> QuerySet[RowChange]:
    """Those of the row changes, newest first: `action` is an operation, `subject` a table."""
    found = _of_days(changes.filter(study=study), study, asked)
    if asked.who:
        found = found.filter(Q(actor__icontains=asked.who) | Q(database_user__iexact=asked.who))
    if asked.action:
        found = found.filter(operation=asked.action)
    if asked.subject:
        found = found.filter(table_name__icontains=asked.subject)
    if without_event:
        same = AuditEvent.objects.filter(transaction=OuterRef("transaction"))
        found = found.exclude(Exists(same))
    return found.select_related("study", "site").order_by("-pk")


def _of_days(found: QuerySet[M], study: Study, asked: Asked) -> QuerySet[M]:
    if asked.site:
        found = found.filter(site__code=asked.site)
    if asked.since:
        found = found.filter(at__gte=_midnight(asked.since, study))
    if asked.until:
        found = found.filter(at__lt=_midnight(asked.until + timedelta(days=1), study))
    return found


def _midnight(on: date, study: Study) -> datetime:
    return datetime.combine(on, time(), tzinfo=zone_named(study.zone))


def differences(before: Any, after: Any) -> list[Difference]:
    """What differs between two documents, field by field; all of one where there is no other."""
    if not isinstance(before, dict | None) or not isinstance(after, dict | None):
        return [Difference("", _in_words(before), _in_words(after))]
    old, new = before or {}, after or {}
    return [
        Difference(name, _in_words(old.get(name)), _in_words(new.get(name)))
        for name in dict.fromkeys([*old, *new])
        if old.get(name) != new.get(name) or name not in old or name not in new
    ]


def _in_words(value: Any) -> str:
    if value is None or value == "":
        return "–"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def who_did(event: AuditEvent) -> str:
    """The user's name; without a user, what came through the door by itself."""
    return event.actor.get_username() if event.actor else event.door


def event_row(event: AuditEvent) -> dict[str, Any]:
    return {
        "id": event.pk,
        "at": _utc(event.at),
        "site": event.site.code if event.site else "",
        "who": who_did(event),
        "door": event.door,
        "action": event.action,
        "subject": event.subject,
        "before": event.before,
        "after": event.after,
        "reason": event.reason,
    }


def change_row(change: RowChange) -> dict[str, Any]:
    return {
        "id": change.pk,
        "at": _utc(change.at),
        "site": change.site.code if change.site else "",
        "who": change.actor,
        "database_user": change.database_user,
        "operation": change.operation,
        "table": change.table_name,
        "row": change.row_id,
        "before": change.before,
        "after": change.after,
        "transaction": change.transaction,
    }


def _utc(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def rows_of(found: QuerySet[AuditEvent] | QuerySet[RowChange]) -> Iterator[dict[str, Any]]:
    """One at a time, however many there are."""
    for record in found.iterator(chunk_size=1000):
        yield event_row(record) if isinstance(record, AuditEvent) else change_row(record)


def as_csv(rows: Iterable[dict[str, Any]], columns: tuple[str, ...]) -> Iterator[str]:
    """Lines of a table. What a spreadsheet would run as a formula has an apostrophe in front."""
    yield _line(columns)
    for row in rows:
        yield _line([_cell(row[name]) for name in columns])


def _line(cells: Iterable[Any]) -> str:
    out = io.StringIO()
    csv.writer(out).writerow(cells)
    return out.getvalue()


def _cell(value: Any) -> Any:
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False)
    return guarded(value)


def as_ndjson(rows: Iterable[dict[str, Any]]) -> Iterator[str]:
    """One object a line, nothing guarded: programs read it."""
    for row in rows:
        yield json.dumps(row, ensure_ascii=False) + "\n"
