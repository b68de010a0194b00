"""manage.py verify_schedule: recompute every prompt of a study from its seed."""

import json
import re
import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from ema.management.named import study_named
from scheduler.verification import Difference, NotStarted, Verified, verify_schedule
from scheduler.zones import TZDATA_VERSION

SAY_EVERY_S = 2.0
KINDS = {
    "missing": "is missing",
    "extra": "is not drawn by the seed",
    "due_at": "is due at another time",
    "expires_at": "expires at another time",
    "inclusion_probability": "has another inclusion probability",
    "not_recomputable": "cannot be recomputed",
}


class Command(BaseCommand):
    """Exit code 2: there is no such study. Exit code 1: something differs."""

    help = (
        "Recompute every drawn prompt of a study from its seed and compare it with what is stored, "
        "and the seed with the commitment of the audit trail. Changes nothing."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", metavar="STUDY", help="the study's short name")
        parser.add_argument("--json", action="store_true", help="print JSON instead of sentences")
        parser.add_argument(
            "--limit",
            type=count,
            default=20,
            metavar="N",
            help="list this many differences (default: 20); all are counted",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        self._said_at = time.monotonic()
        try:
            verified = verify_schedule(
                study_named(options["study"]), limit=options["limit"], progress=self._progress
            )
        except NotStarted as error:
            raise CommandError(str(error), returncode=1) from error
        if options["json"]:
            self.stdout.write(json.dumps(verified.content(), indent=2))
        else:
            self.stdout.write("\n".join(sentences(verified)))
        if not verified.all_equal:
            raise CommandError("The schedule is not what the seed has.", returncode=1)

    def _progress(self, done: int, total: int) -> None:
        if time.monotonic() >= self._said_at + SAY_EVERY_S:
            self._said_at = time.monotonic()
            self.stderr.write(f"Recomputed {done} of {total} participants.")


def count(text: str) -> int:
    if not text.isdecimal():
        raise ArgumentTypeError(f"{text!r} is not a number of differences: write 0 or more.")
    return int(text)


def sentences(verified: Verified) -> Iterator[str]:
    """What was compared, every difference listed, and what it all amounts to."""
    yield (
        f"{verified.prompts:,} prompts of {verified.participants:,} participants on "
        f"{verified.days:,} days recomputed; {verified.not_drawn:,} imported ones were not drawn."
    )
    yield _about_seed(verified)
    yield from _about_zone_data(verified)
    for difference in verified.differences:
        yield in_words(difference)
    total, listed = verified.kinds.total(), len(verified.differences)
    if not total:
        yield "No differences."
        return
    kinds = ", ".join(f"{count:,} {kind}" for kind, count in verified.kinds.most_common())
    yield f"Differences: {total:,} ({kinds}); {listed:,} listed."


def _about_seed(verified: Verified) -> str:
    seed = verified.seed
    if seed.is_the_committed_one:
        return f"The seed is the one committed to at the start: {seed.commitment}."
    if seed.commitment is None:
        return "The audit trail holds no commitment to a seed."
    return (
        f"The seed is not the one committed to: its SHA-256 is {seed.sha256}, "
        f"the commitment {seed.commitment}."
    )


def _about_zone_data(verified: Verified) -> Iterator[str]:
    met = ", ".join(f"{name} ({count:,})" for name, count in sorted(verified.tzdata.items()))
    same = not verified.other_tzdata
    yield f"Drawn by tzdata {met or 'none'}; installed is {'the same' if same else TZDATA_VERSION}."
    if verified.by_tzdata:
        wheels = " or ".join(map(wheel, verified.other_tzdata))
        yield f"Another tzdata explains {verified.by_tzdata:,} differences: verify with {wheels}."


def wheel(release: str) -> str:
    """IANA's 2025b is tzdata 2025.2 on PyPI."""
    found = re.fullmatch(r"(\d{4})([a-z])", release)
    return f"tzdata=={found[1]}.{ord(found[2]) - 96}" if found else f"tzdata of {release}"


def in_words(difference: Difference) -> str:
    values = [
        f"{what} {_in_utc(value) if isinstance(value, datetime) else value}"
        for what, value in (("stored", difference.stored), ("drawn", difference.expected))
        if value
    ]
    cause = f" ({difference.cause})" if difference.cause else ""
    return (
        f"{difference.participant}, {difference.phase}, {difference.study_on} "
        f"#{difference.ordinal} {KINDS[difference.kind]}: {', '.join(values)}{cause}"
    )


def _in_utc(at: datetime) -> str:
    return f"{at:%Y-%m-%dT%H:%M:%S.%fZ}".replace(".000000Z", "Z")
