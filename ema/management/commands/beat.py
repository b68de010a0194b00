"""`manage.py beat`: say when periodic work is due."""

from typing import Any

from django.core.management.base import BaseCommand

from ema.celery import app


class Command(BaseCommand):
    help = (
        "Run Celery beat until stopped. One is enough: every task finds its work "
        "in the database. The intervals are settings: see docs/operations.md."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        beat = app.Beat(loglevel="INFO", scheduler="celery.beat:Scheduler")
        beat.run()
