"""Records and doors: every record of the trial, the phone's API, the coordinator's admin."""

from ema.celery import app as celery_app

__all__ = ["celery_app"]
