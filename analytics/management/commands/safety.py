"""manage.py safety: the adverse events of a study by arm."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from analytics.safety import safety
from analytics.safety_wording import safety_table
from ema.management.named import study_named


class Command(BaseCommand):
    """Exit code 2: there is no such study. Exit code 1: nobody is followed yet."""

    help = (
        "Count the adverse events of a study by arm, severity and relatedness, with differences "
        "of risk. It reads the allocation: whoever may run it sees arms."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", metavar="STUDY", help="the study's short name")
        parser.add_argument("--json", action="store_true", help="print JSON instead of tables")

    def handle(self, *args: Any, **options: Any) -> None:
        report = safety(study_named(options["study"]))
        if "impossible" in report:
            raise CommandError(report["impossible"], returncode=1)
        shown = json.dumps(report, indent=2, allow_nan=False) if options["json"] else None
        self.stdout.write(shown or safety_table(report))
