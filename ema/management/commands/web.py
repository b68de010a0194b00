"""`manage.py web`: serve the pages and the API."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ema import stack
from ema.management.options import port, processes, threads


class Command(BaseCommand):
    help = "Serve the operators' pages and the phones' API until stopped (Ctrl-C or SIGTERM)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="default: this machine only")
        parser.add_argument("--port", type=port, default=8000, help="default: 8000")
        parser.add_argument(
            "--workers", type=processes, default=1, help="processes; about one per core. Default: 1"
        )
        parser.add_argument(
            "--threads",
            type=threads,
            default=1,
            help="of each process. One is fastest behind a proxy that takes requests and responses "
            "in whole; without one, whoever sends or reads slowly keeps a thread to themselves: "
            "take 8. Default: 1",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        from granian import Granian
        from granian.constants import Interfaces

        try:
            stack.refuse_unusable_port(options["host"], options["port"])
        except stack.StackError as error:
            raise CommandError(str(error), returncode=1) from error
        Granian(
            "ema.wsgi:application",
            address=options["host"],
            port=options["port"],
            interface=Interfaces.WSGI,
            workers=options["workers"],
            blocking_threads=options["threads"],
            respawn_failed_workers=True,
        ).serve()
