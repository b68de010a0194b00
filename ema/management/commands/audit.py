"""`manage.py audit STUDY`: the audit trail, to read or as a file."""

import json
from collections.abc import Iterator
from datetime import date
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ema import audit_trail
from ema.audit_trail import Asked
from ema.management.named import study_named
from ema.models import AuditEvent, RowChange


class Command(BaseCommand):
    """Exit code 2: no such study, or dates that cannot be."""

    help = (
        "Show who did what in a study, newest first, or with --rows what became of the rows of the "
        "database. Example: manage.py audit demo --since 2026-06-01 --action urine.corrected --csv "
        "> corrections.csv"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("study", metavar="STUDY", help="the study's short name")
        parser.add_argument("--who", default="", help="part of a user name, or a door: phone, task")
        parser.add_argument("--action", default="", help="e.g. urine.corrected; of rows: update")
        parser.add_argument("--subject", default="", help="part of it; of rows: of a table's name")
        parser.add_argument("--site", default="", help="a site's code")
        for name, what in (("--since", "first"), ("--until", "last")):
            parser.add_argument(
                name, type=date.fromisoformat, metavar="DATE", help=f"{what} day, study's zone"
            )
        parser.add_argument("--rows", action="store_true", help="row changes instead of events")
        parser.add_argument(
            "--without-event",
            action="store_true",
            help="of rows, those that were changed by another way than a step",
        )
        parser.add_argument(
            "--closed", action="store_true", help="also what depends on arms: it unmasks you"
        )
        form = parser.add_mutually_exclusive_group()
        form.add_argument("--csv", action="store_true", help="a table, formulas guarded")
        form.add_argument("--json", action="store_true", help="one JSON object a line")

    def handle(self, *args: Any, **options: Any) -> None:
        study = study_named(options["study"])
        if options["without_event"] and not options["rows"]:
            raise CommandError("--without-event is about rows: add --rows.", returncode=2)
        names = Asked._fields
        asked = Asked(**{name: options[name] for name in names})
        if asked.since and asked.until and asked.until < asked.since:
            raise CommandError("The last day lies before the first.", returncode=2)
        found: Any
        if options["rows"]:
            alone = options["without_event"]
            trail = RowChange.objects.all()
            found = audit_trail.changes_asked(trail, study, asked, without_event=alone)
        else:
            found = audit_trail.events_asked(AuditEvent.objects.all(), study, asked)
        if not options["closed"]:
            self._say_what_is_left_out(found.filter(is_closed=True).count())
            found = found.filter(is_closed=False)
        columns = audit_trail.ROW_COLUMNS if options["rows"] else audit_trail.COLUMNS
        rows = audit_trail.rows_of(found)
        if options["csv"]:
            lines = audit_trail.as_csv(rows, columns)
        else:
            lines = audit_trail.as_ndjson(rows) if options["json"] else _to_read(rows)
        for line in lines:
            self.stdout.write(line, ending="")

    def _say_what_is_left_out(self, closed: int) -> None:
        if closed:
            self.stderr.write(f"{closed:,} that depend on arms are left out (--closed).")


def _to_read(rows: Iterator[dict[str, Any]]) -> Iterator[str]:
    """A line each, and the differences below it."""
    is_empty = True
    for row in rows:
        is_empty = False
        what = (
            f"{row['action']}  {row['subject']}"
            if "action" in row
            else f"{row['operation']}  {row['table']} {row['row']}"
        )
        why = f"  {json.dumps(row['reason'], ensure_ascii=False)}" if row.get("reason") else ""
        yield f"{row['at']}  {row['who']}  {what}{why}\n"
        for one in audit_trail.differences(row["before"], row["after"]):
            yield f"    {one.name}: {one.before} → {one.after}\n"
    if is_empty:
        yield "Nothing matches.\n"
