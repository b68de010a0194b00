"""What the worker does by itself. Every task finds its work in the database."""

import logging

from celery import shared_task
from django.utils import timezone

from ema import alert_messages, alerts, audit_checkpoints, urine

log = logging.getLogger(__name__)


@shared_task(name="ema.tasks.schedule_urine_tests")
def schedule_urine_tests() -> None:
    if added := urine.schedule_tests(timezone.now()):
        log.info("%d urine tests were scheduled", added)
    if missed := urine.mark_missed(timezone.now()):
        log.info("%d urine tests were missed: nobody entered a result in time", missed)


@shared_task(name="ema.tasks.seal_audit")
def seal_audit() -> None:
    for checkpoint in audit_checkpoints.seal():
        log.info("the audit trail is sealed: checkpoint %d, %s", checkpoint.pk, checkpoint.digest)


@shared_task(name="ema.tasks.find_alerts")
def find_alerts() -> None:
    if raised := alerts.find_alerts(timezone.now()):
        log.info("%d alerts were raised", raised)


@shared_task(name="ema.tasks.escalate_alerts")
def escalate_alerts() -> None:
    done = alert_messages.escalate(timezone.now())
    if any(done):
        log.info("Alerts told to others: %s", done)
