"""What the worker does by itself. Every task finds its work in the database."""

from celery import shared_task
from django.utils import timezone

from analytics import coupling


@shared_task(name="analytics.tasks.estimate_couplings")
def estimate_couplings() -> None:
    coupling.estimate_couplings(timezone.now())
