"""`manage.py urine STUDY FILE.csv`: the urine results of a laboratory's file."""

import csv
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from ema.management.entering import who_enters
from ema.management.named import study_named
from ema.models import Study
from ema.urine_batch import Recorded
from ema.urine_files import FileRefused, open_tests, record_file


class Command(BaseCommand):
    """Exit code 1: nothing was recorded, a line per fault. Exit code 2: no such study or file."""

    help = (
        "Record the urine results of a CSV file with the columns participant, due_on, result "
        "(negative, positive or missed) and collected_on, all of them or none. A recorded result "
        "is corrected by a line with a reason in a fifth column, reason. --open writes such a file "
        "to fill in. Example: manage.py urine demo results.csv --dry-run"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("study", metavar="STUDY", help="the study's short name")
        parser.add_argument(
            "file", metavar="FILE", nargs="?", help="UTF-8, commas or semicolons; - is the input"
        )
        parser.add_argument("--dry-run", action="store_true", help="check it, and record nothing")
        parser.add_argument(
            "--by",
            metavar="USER",
            help="who enters them, a coordinator: needed where two people enter each result",
        )
        parser.add_argument(
            "--open", action="store_true", help="list the tests that wait for a result as CSV"
        )

    def handle(self, *args: Any, **options: Any) -> None:
        study = study_named(options["study"])
        if bool(options["file"]) == options["open"]:
            raise CommandError("Name a file, or ask for --open.", returncode=2)
        if options["open"]:
            lines = csv.writer(self.stdout, lineterminator="\n")
            lines.writerows(open_tests(study, timezone.now()))
        else:
            self._record(study, _text_of(options["file"]), options)

    def _record(self, study: Study, text: str, options: dict[str, Any]) -> None:
        actor, sites = who_enters(study, options["by"])
        is_rehearsal = options["dry_run"]
        try:
            told = record_file(
                study=study,
                sites=sites,
                text=text,
                now=timezone.now(),
                actor=actor,
                is_rehearsal=is_rehearsal,
            )
        except FileRefused as error:
            said = "\n".join([*error.faults, "Nothing was recorded."])
            raise CommandError(said, returncode=1) from error
        known = f"{told.known} were recorded already."
        if is_rehearsal:
            said = f"{told.new} results would be recorded, {known} Nothing was saved."
        else:
            said = f"{told.new} results were recorded, {known}"
        self.stdout.write(" ".join([said, *_of_two(told, is_rehearsal)]))


def _of_two(told: Recorded, is_rehearsal: bool) -> Iterator[str]:
    """What is to be said where two people enter each result."""
    if told.once:
        yield f"{told.once} {'would be' if is_rehearsal else 'were'} entered once, and wait."
    if told.second:
        yield f"{told.second} would be second entries: they are compared when they are saved."
    if told.differ:
        yield f"{told.differ} differ from the first entry: decide on the page of double entry."


def _text_of(file: str) -> str:
    if file == "-":
        return sys.stdin.read()
    try:
        return Path(file).read_text(encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}.", returncode=2) from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{file} is not UTF-8 text.", returncode=1) from error
