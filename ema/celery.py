"""The Celery app. Tasks are found in the installed packages; the schedule is in settings."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ema.settings")

app = Celery("fourbeat")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
