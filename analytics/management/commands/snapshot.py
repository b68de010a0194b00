"""manage.py snapshot: a study's tables as files."""

import shutil
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from analytics.coupling import estimate_couplings
from analytics.datasets.snapshots import (
    SnapshotFailed,
    SnapshotRefused,
    build_snapshot,
    request_snapshot,
)
from analytics.models import SnapshotMasking
from ema.audit import COMMAND
from ema.management.named import study_named


def reason(error: OSError) -> str:
    """Why files were not copied; copying a tree collects its errors into one without a cause."""
    if error.strerror is None and isinstance(error, shutil.Error):
        *_, cause = error.args[0][0]
        return str(cause).partition("] ")[2].partition(":")[0] or str(cause)
    return error.strerror or str(error)


class Command(BaseCommand):
    """Exit code 2: no such study. Exit code 1: refused, or the files cannot be written."""

    help = "Freeze a study's tables as CSV files with a codebook and their hashes."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", metavar="STUDY", help="the study's short name")
        parser.add_argument(
            "--masking",
            choices=SnapshotMasking.values,
            default=SnapshotMasking.MASKED.value,
            help="unmasked adds the arm of every participant",
        )
        parser.add_argument("--out", type=Path, metavar="DIR", help="also copy the package there")

    def handle(self, *args: Any, **options: Any) -> None:
        study, now = study_named(options["study"]), timezone.now()
        estimate_couplings(now)  # so that it needs no worker and misses nothing
        try:
            package = build_snapshot(request_snapshot(study, COMMAND, options["masking"], now))
            place = package.directory
            if options["out"]:
                place = Path(shutil.copytree(place, options["out"] / place.name))
        except (SnapshotRefused, SnapshotFailed) as error:
            raise CommandError(str(error), returncode=1) from error
        except OSError as error:
            message = (
                f"The package is complete in {package.directory}, but --out {options['out']} "
                f"cannot be written: {reason(error)}."
            )
            raise CommandError(message, returncode=1) from error
        self.stdout.write(f"Files: {place}")
        for table, rows in package.row_counts.items():
            self.stdout.write(f"{table}: {rows} rows")
        self.stdout.write(f"SHA-256 of SHA256SUMS: {package.sha256}")
