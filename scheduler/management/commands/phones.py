"""manage.py phones: which phones of a study need somebody."""

import json
from argparse import ArgumentParser
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand
from django.utils import timezone

from ema.management.named import study_named
from ema.models import Participant
from scheduler.phone_tasks import phone_tasks


class Command(BaseCommand):
    """Exit code 2: there is no such study."""

    help = (
        "List the phones of a study that need somebody: none enrolled, a push registration that "
        "is dead, or not heard of for QUIET_PHONE_DAYS. Changes nothing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", metavar="STUDY", help="the study's short name")
        parser.add_argument("--json", action="store_true", help="print JSON instead of sentences")

    def handle(self, *args: Any, **options: Any) -> None:
        people = Participant.objects.filter(study=study_named(options["study"]))
        tasks = phone_tasks(people, now=timezone.now(), quiet_after=settings.QUIET_PHONE_AFTER)
        if options["json"]:
            self.stdout.write(json.dumps([task.content() for task in tasks], indent=2))
            return
        for task in tasks:
            self.stdout.write(
                f"{task.participant.code} ({task.participant.site.code}), since "
                f"{task.since:%Y-%m-%d %H:%M} UTC: {task.trouble} {task.todo}"
            )
        if not tasks:
            self.stdout.write("No phone needs looking after.")
