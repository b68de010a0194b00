"""manage.py compare: the arms of a study, from the database."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from analytics.comparison import ComparisonImpossible, compare, freeze
from analytics.coupling import estimate_couplings
from analytics.report import comparison_table
from ema.audit import COMMAND
from ema.management.named import study_named


class Command(BaseCommand):
    """Exit code 2: there is no such study. Exit code 1: its data cannot be compared."""

    help = "Estimate the stress-craving coupling in a study and compare its arms on it."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", metavar="STUDY", help="the study's short name")
        shape = parser.add_mutually_exclusive_group()
        shape.add_argument("--json", action="store_true", help="print JSON")
        shape.add_argument("--table", action="store_true", help="print a table (the default)")
        parser.add_argument(
            "--participants", action="store_true", help="also everyone's own and shrunken slope"
        )
        parser.add_argument(
            "--freeze", action="store_true", help="keep the comparison with its SHA-256"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        study, now = study_named(options["study"]), timezone.now()
        estimate_couplings(now)  # so that it needs no worker and misses nothing
        try:
            report = compare(study, participants=options["participants"])
            frozen = freeze(study, COMMAND, now) if options["freeze"] else None
        except ComparisonImpossible as error:
            raise CommandError(str(error), returncode=1) from error
        if options["json"]:
            self.stdout.write(json.dumps(report, indent=2, allow_nan=False))
        else:
            self.stdout.write("\n".join([comparison_table(report), "", *report["notes"]]))
        if frozen:
            self.stderr.write(f"Frozen as {frozen.sha256}.")
