"""manage.py reveal_seed: tell what anybody needs to recompute a locked study's schedule."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ema import audit
from ema.management.named import study_named
from scheduler.verification import NotLocked, recipe_of, reveal_seed


class Command(BaseCommand):
    """Exit code 2: no such study. Exit code 1: it is not locked, or the seed is another."""

    help = (
        "Print the seed of a locked study, its SHA-256 and the commitment made when the study "
        "started, so that anybody can recompute the schedule. Written to the audit trail once."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", metavar="STUDY", help="the study's short name")
        parser.add_argument(
            "--json",
            action="store_true",
            help="JSON, with the protocols of the phases and the UUIDs of the participants",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        study = study_named(options["study"])
        try:
            revealed = reveal_seed(study=study, actor=audit.COMMAND)
        except NotLocked as error:
            raise CommandError(str(error), returncode=1) from error
        if options["json"]:
            self.stdout.write(json.dumps(recipe_of(study, revealed), indent=2))
        else:
            self.stdout.write(f"seed        {revealed.seed}")
            self.stdout.write(f"SHA-256     {revealed.sha256}")
            self.stdout.write(f"commitment  {revealed.commitment or 'none in the audit trail'}")
        if not revealed.is_the_committed_one:
            raise CommandError("This is not the seed committed to at the start.", returncode=1)
