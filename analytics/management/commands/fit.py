"""manage.py fit: the comparison of arms from a CSV file, without a database."""

import json
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from analytics.csv_rows import Columns, compare_file
from analytics.file_options import UnusableDataError, WrongOptionError
from analytics.report import comparison_table


class Command(BaseCommand):
    """Exit code 2: an option asks for what is not there. Exit code 1: the data are unusable."""

    help = "Estimate the stress-craving coupling in a CSV file and compare arms on it."
    requires_system_checks: list[str] = []

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="CSV file, one row per prompt, with a header")
        parser.add_argument("--participant", required=True, metavar="COL")
        parser.add_argument("--stress", required=True, metavar="COL", help="the predictor")
        parser.add_argument("--craving", required=True, metavar="COL", help="the outcome")
        parser.add_argument("--arm", metavar="COL")
        parser.add_argument("--reference", metavar="LABEL", help="the arm to compare with")
        parser.add_argument(
            "--where",
            metavar="COLUMN=VALUE",
            action="append",
            default=[],
            help="use only the rows with this value; may be given again, conditions add up",
        )
        parser.add_argument(
            "--participants", action="store_true", help="also everyone's own and shrunken slope"
        )
        parser.add_argument("--json", action="store_true", help="print JSON instead of a table")

    def handle(self, *args: Any, **options: Any) -> None:
        columns = Columns(
            options["participant"], options["stress"], options["craving"], options["arm"]
        )
        try:
            report = compare_file(
                Path(options["file"]),
                columns,
                reference=options["reference"],
                where=options["where"],
                participants=options["participants"],
            )
        except WrongOptionError as error:
            raise CommandError(str(error), returncode=2) from error
        except UnusableDataError as error:
            raise CommandError(str(error), returncode=1) from error
        if options["json"]:
            self.stdout.write(json.dumps(report, indent=2, allow_nan=False))
        else:
            self.stdout.write(comparison_table(report))
