"""manage.py rebuild_moments: sum the responses anew, and tell where the kept sums were wrong."""

from argparse import ArgumentParser
from collections.abc import Iterator
from typing import Any

from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from analytics import coupling, sums
from analytics.progress import progress
from analytics.sums import Difference
from ema.management.named import study_named
from ema.models import Participant, Study

CHUNK = 2000


class Command(BaseCommand):
    """Exit code 1: with --check, kept sums differ. Exit code 2: no such study."""

    help = (
        "Sum a study's responses anew and compare with the moments that are kept; they must be "
        "equal bit for bit. Without --check, moments and couplings that differ are put right."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("study", metavar="STUDY", help="the study's short name")
        parser.add_argument("--check", action="store_true", help="only compare, change nothing")

    def handle(self, *args: Any, **options: Any) -> None:
        study = study_named(options["study"])
        waiting = sums.waiting_participants(study)
        everybody = sorted(Participant.objects.filter(study=study).values_list("pk", flat=True))
        if options["check"]:  # what no run has summed yet is no difference
            everybody = [pk for pk in everybody if pk not in waiting]
        found = list(self._differences(everybody))
        for each in found:
            self.stdout.write(sentence(each))
        if options["check"]:
            self._judge(found, len(everybody), len(waiting))
            return
        rebuild(study, everybody)
        self.stdout.write(f"{len(everybody)} participants summed anew; {len(found)} sums differed.")

    def _differences(self, everybody: list[int]) -> Iterator[Difference]:
        with progress("Responses are summed", len(everybody)) as step:
            for start in range(0, len(everybody), CHUNK):
                chunk = everybody[start : start + CHUNK]
                yield from sums.differences(chunk)
                step.advance(len(chunk))

    def _judge(self, found: list[Difference], compared: int, waiting: int) -> None:
        later = f"; {waiting} have responses that the next run will sum" if waiting else ""
        if found:
            raise CommandError(f"{len(found)} sums differ{later}.", returncode=1)
        self.stdout.write(f"{compared} participants compared: every sum is equal{later}.")


def rebuild(study: Study, everybody: list[int]) -> None:
    """Moments and couplings of everybody, from the responses."""
    now = timezone.now()
    for start in range(0, len(everybody), CHUNK):
        sums.sum_responses(everybody[start : start + CHUNK], now=now)
    coupling.write_couplings(study, dict.fromkeys(everybody, now))


def sentence(each: Difference) -> str:
    """One difference in words."""
    where = f"{each.participant}, {each.where}"
    if each.kept is None:
        return f"{where}: no sums are kept, the responses give {each.anew}."
    if each.anew is None:
        return f"{where}: {each.kept} is kept, there are no responses for it."
    if each.kept == each.anew:
        return f"{where}: the sums {each.kept} are right, the rows kept beside them are not."
    return f"{where}: {each.kept} is kept, the responses give {each.anew}."
