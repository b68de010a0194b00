"""`manage.py serve`: web, worker, dispatcher and beat on one machine."""

import time
from argparse import ArgumentParser
from collections.abc import Callable
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ema import stack
from ema.management.options import port, processes, threads
from ema.stack import Part, StackError

LOOK_EVERY_S = 1.0
LONGEST_PAUSE_S = 30.0


class Command(BaseCommand):
    help = (
        "Run everything one machine needs until Ctrl-C: the web server, the Celery workers and "
        "beat. A part that ends is started again. Servers with several machines run web, worker "
        "and beat by themselves (docker-compose.yml)."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("--host", default="127.0.0.1", help="default: this machine only")
        parser.add_argument("--port", type=port, default=8000, help="default: 8000")
        parser.add_argument(
            "--workers", type=processes, default=1, help="web processes. Default: 1"
        )
        parser.add_argument(
            "--threads",
            type=threads,
            default=8,
            help="of each web process: as many slow phones and downloads it bears without a proxy "
            "in front. Default: 8",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        host, number = options["host"], options["port"]
        size = options["workers"], options["threads"]
        starts: list[Callable[[], Part]] = [
            lambda: stack.start_web(host, number, *size),
            *stack.JOBS,
        ]
        kept: list[Part] = []
        try:
            with stack.stopped_in_order():
                kept += [start() for start in starts]
                self.stdout.write(f"http://{host}:{number}/ is served until Ctrl-C.")
                self._keep(kept, starts)
        except KeyboardInterrupt:
            self.stdout.write("Stopped.")
        except StackError as error:
            raise CommandError(str(error), returncode=1) from error
        finally:
            for part in reversed(kept):
                stack.stop_part(part)

    def _keep(self, kept: list[Part], starts: list[Callable[[], Part]]) -> None:
        """Start again what has ended; the pause doubles while it keeps ending."""
        pause = LOOK_EVERY_S
        while True:
            time.sleep(pause)
            ended = [place for place, part in enumerate(kept) if part.process.poll() is not None]
            pause = min(pause * 2, LONGEST_PAUSE_S) if ended else LOOK_EVERY_S
            for place in ended:
                part = kept[place]
                stack.stop_part(part)  # also what it may have left behind
                self.stderr.write(f"{part.name} ended and is started again; see {part.log}")
                try:
                    kept[place] = starts[place]()
                except StackError as error:
                    self.stderr.write(str(error))
