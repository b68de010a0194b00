"""manage.py cremas: the reporting numbers of a study, from the database."""

import csv
import json
from argparse import ArgumentParser
from io import StringIO
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from analytics.cremas import HEAD, Cremas, as_json, csv_rows, markdown
from analytics.cremas_counts import count
from ema.csv_cells import guarded
from ema.management.named import study_named
from ema.models import Participant


class Command(BaseCommand):
    """Exit code 2: there is no such study."""

    help = (
        "Print the reporting numbers of a study (CREMAS): prompts planned, delivered and "
        "answered, reasons, latency, compliance by week, day and time of day, attrition. All arms "
        "together; nothing of what was answered."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", metavar="STUDY", help="the study's short name")
        shape = parser.add_mutually_exclusive_group()
        shape.add_argument("--markdown", action="store_true", help="print Markdown (the default)")
        shape.add_argument("--json", action="store_true", help="print JSON")
        shape.add_argument("--csv", action="store_true", help="print a row for every number")

    def handle(self, *args: Any, **options: Any) -> None:
        study = study_named(options["study"])
        report = count(Participant.objects.filter(study=study), timezone.now())
        if options["json"]:
            self.stdout.write(json.dumps(as_json(report), indent=2, allow_nan=False))
        else:
            self.stdout.write(_csv(report) if options["csv"] else markdown(report), ending="")


def _csv(report: Cremas) -> str:
    out = StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(HEAD)
    writer.writerows([guarded(cell) for cell in row] for row in csv_rows(report))
    return out.getvalue()
