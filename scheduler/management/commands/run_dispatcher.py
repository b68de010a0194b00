"""manage.py run_dispatcher: send prompts that are due, without a broker."""

import logging
import signal
import threading
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone

from ema import heartbeat
from scheduler.delivery import Dispatched, dispatch_due

log = logging.getLogger(__name__)


class Command(BaseCommand):
    help = (
        "Send prompts that are due until stopped. Does what the worker of the queue 'delivery' "
        "does; several at once send nothing twice."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        every = settings.DISPATCH_EVERY_S
        parser.add_argument(
            "--every", type=float, default=every, metavar="SECONDS", help=f"default: {every:g}"
        )
        parser.add_argument("--once", action="store_true", help="look once and end")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["once"]:
            self._tick()
            return
        with asked_to_stop() as stop:
            while not stop.is_set():
                try:
                    self._tick()
                except (OperationalError, InterfaceError) as error:
                    log.warning("The database is away; trying again: %s", error)
                    connection.close()
                stop.wait(options["every"])

    def _tick(self) -> None:
        dispatched: Dispatched = dispatch_due(timezone.now())
        heartbeat.beat("dispatcher", timezone.now())
        if any(dispatched):
            counts = dispatched._asdict().items()
            self.stdout.write(", ".join(f"{count} {what}" for what, count in counts if count))


@contextmanager
def asked_to_stop() -> Iterator[threading.Event]:
    """An event that SIGTERM and Ctrl-C set: what is being sent is still sent and marked."""
    stop = threading.Event()
    before = {
        number: signal.signal(number, lambda *_: stop.set())
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
