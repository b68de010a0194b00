"""What the worker does by itself. Every task finds its work in the database."""

import logging

from celery import shared_task
from django.utils import timezone

from ema import heartbeat
from scheduler import delivery, planning

log = logging.getLogger(__name__)


@shared_task(name="scheduler.tasks.plan_prompts")
def plan_prompts() -> None:
    planned = planning.plan_prompts(timezone.now())
    heartbeat.beat("planner", timezone.now())
    if planned.prompts or planned.withdrawn or planned.paused:
        log.info("%s", planned)


@shared_task(name="scheduler.tasks.dispatch_due")
def dispatch_due() -> None:
    dispatched = delivery.dispatch_due(timezone.now())
    heartbeat.beat("dispatcher", timezone.now())
    if any(dispatched):
        log.info("%s", dispatched)
