"""manage.py compare: the arms of a study, from the database."""

import json
from argparse import ArgumentParser
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from analytics.card_table import card_table
from analytics.coupling import estimate_couplings
from analytics.figure_list import figures_of, write_figures
from analytics.freezing import freeze
from analytics.plans import UnknownPlan, plan_named
from analytics.trial import ComparisonImpossible
from analytics.whole_comparison import compare_whole
from ema.audit import COMMAND
from ema.management.named import study_named


class Command(BaseCommand):
    """Exit code 2: there is no such study or plan. Exit code 1: its data cannot be compared."""

    help = (
        "Estimate the stress-craving coupling in a study and compare its arms on it, by the "
        "standard analysis or by an analysis plan (manage.py analysis_plan)."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", metavar="STUDY", help="the study's short name")
        parser.add_argument(
            "--plan", metavar="KEY", help="KEY or KEY@VERSION; default: the standard analysis"
        )
        shape = parser.add_mutually_exclusive_group()
        shape.add_argument("--json", action="store_true", help="print JSON")
        shape.add_argument("--table", action="store_true", help="print a table (the default)")
        parser.add_argument(
            "--svg", metavar="DIR", type=Path, help="also write the figures there, SVG and CSV"
        )
        parser.add_argument(
            "--participants", action="store_true", help="also everyone's own and shrunken slope"
        )
        parser.add_argument(
            "--companion",
            action="store_true",
            help="also the model of the odds of any of the outcome (it is there anyway where a "
            "floor is suspected or the outcome has at most five levels)",
        )
        parser.add_argument(
            "--freeze", action="store_true", help="keep the comparison with its SHA-256"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        study, now = study_named(options["study"]), timezone.now()
        estimate_couplings(now)  # so that it needs no worker and misses nothing
        try:
            stored = plan_named(study, options["plan"]) if options["plan"] else None
            wanted = options["participants"] or options["svg"] is not None
            report = compare_whole(
                study, now, stored, participants=wanted, companion=options["companion"]
            )
            frozen = freeze(study, COMMAND, now, stored) if options["freeze"] else None
        except UnknownPlan as error:
            raise CommandError(str(error), returncode=2) from error
        except ComparisonImpossible as error:
            raise CommandError(str(error), returncode=1) from error
        if options["svg"]:
            self._draw(report, options["svg"])
        if not options["participants"]:
            report.pop("participants", None)
        shown = json.dumps(report, indent=2, allow_nan=False) if options["json"] else None
        self.stdout.write(shown or card_table(report))
        if frozen:
            self.stderr.write(f"Frozen as {frozen.sha256}.")

    def _draw(self, report: Mapping[str, Any], folder: Path) -> None:
        try:
            for title, file in write_figures(figures_of(report), report, folder):
                self.stderr.write(f"{title}: {file}.svg and .csv")
        except OSError as error:
            raise CommandError(f"--svg {folder}: {error.strerror}.", returncode=2) from error
