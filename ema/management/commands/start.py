"""`manage.py start STUDY`: start a study, or say everything that is missing."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from ema import audit, set_up, studies
from ema.management.named import study_named


class Command(BaseCommand):
    """Exit code 2: there is no such study. Exit code 1: something is missing, or it has started."""

    help = (
        "Start a study: prompts are planned from now on, and the seed of their times is committed "
        "to in the audit trail. With --check only say, step by step, what is there and what is "
        "missing. Example: manage.py start demo --check"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("study", metavar="STUDY", help="the study's short name")
        parser.add_argument("--check", action="store_true", help="say what is missing, start none")

    def handle(self, *args: Any, **options: Any) -> None:
        study, now = study_named(options["study"]), timezone.now()
        if options["check"]:
            steps = set_up.steps(study, now)
            for step in steps:
                self.stdout.write(f"{step.title}: {step.state}")
                for sentence in (*step.there, *step.missing, *step.advised):
                    self.stdout.write(f"  {sentence}")
            if any(step.missing for step in steps):
                raise CommandError(f"Study {study} cannot start yet.", returncode=1)
            return
        try:
            studies.start(study=study, now=now, actor=audit.COMMAND)
        except studies.NotReady as error:
            raise CommandError(str(error), returncode=1) from error
        self.stdout.write(f"Study {study} has started.")
