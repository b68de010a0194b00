"""`manage.py web`: serve the pages and the API."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from ema import stack


class Command(BaseCommand):
    help = "Serve the operators' pages and the phones' API until stopped (Ctrl-C or SIGTERM)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="default: this machine only")
        parser.add_argument("--port", type=int, default=8000, help="default: 8000")
        parser.add_argument(
            "--workers", type=int, default=1, help="processes; about one per core. Default: 1"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        from granian import Granian
        from granian.constants import Interfaces

        host, port = options["host"], options["port"]
        if stack.port_is_taken(host, port):
            raise CommandError(f"Port {port} of {host} is in use: name another with --port.")
        Granian(
            "ema.wsgi:application",
            address=host,
            port=port,
            interface=Interfaces.WSGI,
            workers=options["workers"],
            blocking_threads=1,
            respawn_failed_workers=True,
        ).serve()
