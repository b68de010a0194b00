"""`manage.py note_backup`: say that a backup was made, for the page Today."""

from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from ema import heartbeat


class Command(BaseCommand):
    """Exit code 2: no time, one without its zone, or one in the future."""

    help = (
        "Write down that a backup was made now, or at another time: the page Today tells when the "
        "last one was. Call it after the backup has succeeded. Example: "
        "pg_dump fourbeat -Fc -f backup.dump && manage.py note_backup"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--at", metavar="TIME", help="when, with its zone: 2026-03-02T04:00Z (default: now)"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        now = timezone.now()
        at = _instant(options["at"], now) if options["at"] else now
        heartbeat.beat(heartbeat.BACKUP, at)
        self.stdout.write(f"A backup was made at {at:%Y-%m-%d %H:%M:%S %Z}.")


def _instant(text: str, now: datetime) -> datetime:
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise CommandError(
            f"{text!r} is no time: write it as 2026-03-02T04:00Z.", returncode=2
        ) from error
    if at.tzinfo is None:
        raise CommandError(f"{text!r} has no zone: write 2026-03-02T04:00Z.", returncode=2)
    if at > now:
        raise CommandError(f"{text!r} is in the future.", returncode=2)
    return at
