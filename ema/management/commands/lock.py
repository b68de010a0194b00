"""`manage.py lock STUDY --reason WORDS`: end a study for good."""

from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from ema import audit, studies
from ema.management.named import study_named


class Command(BaseCommand):
    """Exit code 2: there is no such study. Exit code 1: not running, or not confirmed."""

    help = (
        "Lock a study that is over: nothing is planned or sent any more, nothing is entered or "
        "corrected by hand, and its seed may be revealed. Nothing unlocks it. "
        "Example: manage.py lock demo --reason 'last visit done'"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("study", metavar="STUDY", help="the study's short name")
        parser.add_argument("--reason", required=True, help="for the audit trail, in words")
        parser.add_argument("--yes", action="store_true", help="do not ask for confirmation")

    def handle(self, *args: Any, **options: Any) -> None:
        study = study_named(options["study"])
        if not options["yes"] and not self._confirmed(study.slug):
            raise CommandError(f"Study {study} was not locked.", returncode=1)
        try:
            studies.lock(
                study=study, now=timezone.now(), actor=audit.COMMAND, reason=options["reason"]
            )
        except studies.NotReady as error:
            raise CommandError(str(error), returncode=1) from error
        self.stdout.write(f"Study {study} is locked.")

    def _confirmed(self, slug: str) -> bool:
        self.stderr.write(
            f"Nothing of study {slug} is planned, sent, entered or corrected once it is locked."
        )
        self.stderr.write(
            "There is no way back. Write the study's short name to lock it: ", ending=""
        )
        try:
            return input() == slug
        except EOFError:
            return False
