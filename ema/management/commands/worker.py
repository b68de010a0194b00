"""`manage.py worker`: do the periodic work."""

from typing import Any

from django.core.management.base import BaseCommand, CommandParser

from ema.celery import app
from ema.management.options import processes, queues


class Command(BaseCommand):
    help = (
        "Run a Celery worker until stopped. The queue 'trial' plans, couples and builds snapshots; "
        "'delivery' sends prompts, and deserves a worker of its own so that nothing delays it."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--queues", type=queues, default="trial", help="trial, delivery, or both with a comma"
        )
        parser.add_argument(
            "--concurrency", type=processes, default=1, help="processes. Default: 1"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        app.worker_main(
            [
                "worker",
                f"--queues={options['queues']}",
                f"--concurrency={options['concurrency']}",
                f"--hostname={options['queues'].replace(',', '-')}@%h",
                "--loglevel=INFO",
                "--without-gossip",
                "--without-mingle",
            ]
        )
