"""manage.py ledger: what became of a study's prompts."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from ema.management.named import study_named
from scheduler.ledger import Ledger, ledger


class Command(BaseCommand):
    """Exit code 2: there is no such study. Exit code 1: the ledger does not balance."""

    help = "Count a study's prompts by what became of them, and check that the counts add up."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", metavar="STUDY", help="the study's short name")
        parser.add_argument("--json", action="store_true", help="print JSON instead of a table")

    def handle(self, *args: Any, **options: Any) -> None:
        counted = ledger(study_named(options["study"]), timezone.now())
        if options["json"]:
            self.stdout.write(json.dumps(counted.content(), indent=2))
        else:
            self.stdout.write(table(counted))
        if not counted.balances:
            raise CommandError("The ledger does not balance.", returncode=1)


def table(counted: Ledger) -> str:
    """What was planned, and below the line what it is the sum of."""
    lines = [("planned", counted.planned), *counted.lines()]
    wide = max(len(name) for name, _ in lines)
    rows = [f"{name:<{wide}}  {count:>9,}" for name, count in lines]
    total = counted.ended + sum(counted.open.values())
    relation = "=" if counted.balances else "≠"
    balance = f"{counted.planned:,} planned {relation} {counted.ended:,} ended"
    rule = "-" * len(rows[0])
    return "\n".join(
        [rows[0], rule, *rows[1:], rule, f"{balance} + {total - counted.ended:,} open"]
    )
