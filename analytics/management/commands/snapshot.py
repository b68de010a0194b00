"""manage.py snapshot: a study's tables as files."""

import shutil
import sys
import time
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from analytics.coupling import estimate_couplings
from analytics.datasets.building import SnapshotBusy, SnapshotFailed, build_snapshot
from analytics.datasets.draft import Say
from analytics.datasets.formats import CSV, FORMATS
from analytics.datasets.package import Package
from analytics.datasets.snapshots import SnapshotRefused, request_snapshot
from analytics.models import Deidentified, Snapshot, SnapshotMasking
from ema.audit import COMMAND
from ema.management.named import study_named


def reason(error: OSError) -> str:
    """Why files were not copied; copying a tree collects its errors into one without a cause."""
    if error.strerror is None and isinstance(error, shutil.Error):
        *_, cause = error.args[0][0]
        return str(cause).partition("] ")[2].partition(":")[0] or str(cause)
    return error.strerror or str(error)


@contextmanager
def written() -> Iterator[Say]:
    """On stderr, what is being written: one line in a terminal, one every ten seconds elsewhere."""
    is_terminal = sys.stderr.isatty()
    every_s, end = (0.2, "\x1b[K\r") if is_terminal else (10.0, "\n")
    said = time.monotonic()

    def say(name: str, size: int) -> None:
        nonlocal said
        if time.monotonic() - said > every_s:
            said = time.monotonic()
            sys.stderr.write(f"{name}: {size / 1e6:.1f} MB{end}")
            sys.stderr.flush()

    yield say
    if is_terminal:
        sys.stderr.write("\x1b[K")


class Command(BaseCommand):
    """Exit code 2: no such study. Exit code 1: refused, or the files cannot be written."""

    help = (
        "Freeze a study's tables as CSV files, and other formats on request, with a codebook and "
        "their hashes."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", metavar="STUDY", help="the study's short name")
        parser.add_argument(
            "--masking",
            choices=SnapshotMasking.values,
            default=SnapshotMasking.MASKED.value,
            help="coded adds a label of every participant's arm, unmasked the arm",
        )
        parser.add_argument(
            "--format",
            default=CSV,
            metavar="NAMES",
            help=f"with commas: csv (always), {', '.join(FORMATS)}",
        )
        parser.add_argument(
            "--deidentify",
            choices=[level for level in Deidentified.values if level],
            default=Deidentified.NONE.value,
            help="L1 own pseudonyms, L2 also dates moved by weeks, L3 study days and times only",
        )
        parser.add_argument(
            "--recipient",
            default="",
            metavar="NAME",
            help="for whom it is de-identified: the same has the same pseudonyms again",
        )
        parser.add_argument("--out", type=Path, metavar="DIR", help="also copy the package there")

    def handle(self, *args: Any, **options: Any) -> None:
        study, now = study_named(options["study"]), timezone.now()
        estimate_couplings(now)  # so that it needs no worker and misses nothing
        try:
            snapshot = request_snapshot(
                study,
                COMMAND,
                options["masking"],
                now,
                formats=options["format"].split(","),
                deidentify=options["deidentify"],
                recipient=options["recipient"],
            )
            package = self._build(snapshot)
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
        for warning in package.warnings:
            self.stdout.write(f"Warning: {warning}")
        self.stdout.write(f"SHA-256 of SHA256SUMS: {package.sha256}")

    def _build(self, snapshot: Snapshot) -> Package:
        """Build it, or wait for whoever does and find the same files."""
        with written() as say:
            try:
                return build_snapshot(snapshot, say, wait=False)
            except SnapshotBusy as busy:
                self.stderr.write(f"{busy} Waiting until it is done.")
            return build_snapshot(snapshot, say)
