"""manage.py ledger: what became of a study's prompts."""

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from ema.management.named import study_named
from ema.models import Prompt
from scheduler.ledger import Ledger, ledgers
from scheduler.wording import explained


class Command(BaseCommand):
    """Exit code 2: there is no such study. Exit code 1: the ledger does not balance."""

    help = (
        "Count a study's prompts by what became of them, and check that the counts add up. Prompts "
        "that no phone had are counted apart from those that a participant missed."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", metavar="STUDY", help="the study's short name")
        parser.add_argument(
            "--by", choices=("site", "phase"), help="then the same for each site or each phase"
        )
        parser.add_argument(
            "--explain", action="store_true", help="say below what each word of the table means"
        )
        parser.add_argument("--json", action="store_true", help="print JSON instead of a table")

    def handle(self, *args: Any, **options: Any) -> None:
        prompts = Prompt.objects.filter(participant__study=study_named(options["study"]))
        counted = ledgers(prompts, timezone.now())
        by = f"by_{options['by']}" if options["by"] else ""
        parts: dict[str, Ledger] = getattr(counted, by) if by else {}
        if options["json"]:
            content = counted.whole.content()
            if by:
                content[by] = {name: part.content() for name, part in parts.items()}
            self.stdout.write(json.dumps(content, indent=2))
        else:
            self.stdout.write(table(counted.whole))
            for name, part in parts.items():
                self.stdout.write(f"\n{options['by']} {name}\n{table(part)}")
            if options["explain"]:
                self.stdout.write(f"\n{meanings(counted.whole)}")
        if not counted.whole.balances:
            raise CommandError("The ledger does not balance.", returncode=1)


def table(counted: Ledger) -> str:
    """What was planned, and below the line what it is the sum of."""
    lines = [("planned", counted.planned), *counted.lines()]
    wide = max(len(name) for name, _ in lines)
    rows = [f"{name:<{wide}}  {count:>9,}" for name, count in lines]
    relation = "=" if counted.balances else "≠"
    balance = f"{counted.planned:,} planned {relation} {counted.ended:,} ended"
    rule = "-" * len(rows[0])
    return "\n".join([rows[0], rule, *rows[1:], rule, f"{balance} + {counted.still_open:,} open"])


def meanings(counted: Ledger) -> str:
    """Every word of the table with its sentence."""
    return "\n".join(f"{line.word}: {line.meaning}" for line in explained(counted))
