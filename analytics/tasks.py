"""What the worker does by itself. Every task finds its work in the database."""

from celery import shared_task
from django.utils import timezone

from analytics import coupling, report_cache
from analytics.datasets import building


@shared_task(name="analytics.tasks.estimate_couplings")
def estimate_couplings() -> None:
    coupling.estimate_couplings(timezone.now(), call=work_off_shards.delay)
    renew_reports.delay()


@shared_task(name="analytics.tasks.renew_reports", expires=60)
def renew_reports() -> None:
    """By itself, so that a large study's report keeps nobody's estimate waiting."""
    report_cache.renew_reports()


@shared_task(name="analytics.tasks.work_off_shards", expires=60)
def work_off_shards() -> None:
    """A helper's: it shares the work that another worker has shared out."""
    coupling.work_off()


@shared_task(
    name="analytics.tasks.build_snapshots",
    soft_time_limit=building.LONGEST_S,
    time_limit=building.LONGEST_S + 60,
)
def build_snapshots() -> None:
    """A large study takes longer than other tasks may; whoever is killed is found by the lease."""
    while building.build_next(timezone.now()):
        pass
