"""`manage.py beat`: say when periodic work is due."""

from typing import Any

from django.core.management.base import BaseCommand

from ema.celery import app


class Command(BaseCommand):
    help = (
        "Run Celery beat until stopped. One is enough; two do no harm: every task finds its work "
        "in the database. Intervals: PLAN_EVERY_S, DISPATCH_EVERY_S, COUPLE_EVERY_S."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        beat = app.Beat(loglevel="INFO", scheduler="celery.beat:Scheduler")
        beat.run()
