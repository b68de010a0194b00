"""manage.py outcomes: lapse, relapse and longest abstinence by arm, from the database."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from analytics.coupling import estimate_couplings
from analytics.figure_list import as_csv, write_figures
from analytics.figures_survival import figures_of_outcomes
from analytics.outcomes import OutcomesImpossible, outcomes
from analytics.outcomes_wording import outcomes_table
from analytics.plans import UnknownPlan, plan_named
from ema.management.named import study_named


class Command(BaseCommand):
    """Exit code 2: there is no such study or plan. Exit code 1: its tests say nothing yet."""

    help = (
        "Compare the arms of a study on time to lapse, time to relapse and longest abstinence, "
        "from its scheduled urine tests. It reads the allocation: whoever may run it sees arms."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", metavar="STUDY", help="the study's short name")
        parser.add_argument(
            "--plan",
            metavar="KEY",
            help="KEY or KEY@VERSION: by its rule for tests missed after drop-out",
        )
        shape = parser.add_mutually_exclusive_group()
        shape.add_argument("--json", action="store_true", help="print JSON")
        shape.add_argument("--table", action="store_true", help="print a table (the default)")
        parser.add_argument(
            "--svg",
            metavar="DIR",
            type=Path,
            help="also write the curves there, SVG and CSV, and participants.csv",
        )
        parser.add_argument(
            "--participants",
            action="store_true",
            help="also everybody's abstinence beside their own coupling",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        study, now = study_named(options["study"]), timezone.now()
        estimate_couplings(now)  # so that it needs no worker and misses nothing
        try:
            stored = plan_named(study, options["plan"]) if options["plan"] else None
            report = outcomes(study, now, stored, participants=True)
        except UnknownPlan as error:
            raise CommandError(str(error), returncode=2) from error
        except OutcomesImpossible as error:
            raise CommandError(str(error), returncode=1) from error
        if options["svg"]:
            self._draw(report, options["svg"])
        if not options["participants"]:
            del report["participants"]
        shown = json.dumps(report, indent=2, allow_nan=False) if options["json"] else None
        self.stdout.write(shown or outcomes_table(report))

    def _draw(self, report: Any, folder: Path) -> None:
        try:
            for title, file in write_figures(figures_of_outcomes(report), report, folder):
                self.stderr.write(f"{title}: {file}.svg and .csv")
            people = folder / "participants.csv"
            people.write_text(as_csv(report["participants"]), encoding="utf-8")
            self.stderr.write(f"Everybody's coupling beside their abstinence: {people}")
        except OSError as error:
            raise CommandError(f"--svg {folder}: {error.strerror}.", returncode=2) from error
