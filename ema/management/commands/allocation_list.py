"""`manage.py allocation_list STUDY generate|upload|verify|status|kits`: sealed allocation lists."""

import csv
import sys
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils import timezone

from ema import sealing
from ema.allocation_lists import ListRefused
from ema.audit import COMMAND
from ema.management.named import study_named
from ema.management.options import whole
from ema.models import AllocationList, Study
from ema.predictability import predictability

FEW = 10


def read_ratio(text: str) -> dict[str, int]:
    """`placebo=1,clonidine=2`."""
    ratio: dict[str, int] = {}
    for part in text.split(","):
        arm, _, weight = part.strip().partition("=")
        if not arm or not weight.isdecimal() or arm in ratio:
            raise ArgumentTypeError(f"{text!r} is no ratio: write placebo=1,clonidine=1")
        ratio[arm] = int(weight)
    return ratio


def read_factor(text: str) -> tuple[str, list[str]]:
    """`sex=female,male`."""
    name, _, values = text.partition("=")
    if not name or not values:
        raise ArgumentTypeError(f"{text!r} is no factor: write sex=female,male")
    return name.strip(), [value.strip() for value in values.split(",")]


def read_sizes(text: str) -> list[int]:
    """`4,6,8`."""
    return [whole(1, 100)(part.strip()) for part in text.split(",")]


class Command(BaseCommand):
    """Exit code 1: refused, a line per fault, or altered. Exit code 2: no such study or file."""

    help = (
        "Make the allocation list of a study, by permuted blocks of random size or from a CSV "
        "file, and seal it: it is never shown and never changes, and its SHA-256 is in the audit "
        "trail. Example: manage.py allocation_list demo generate --ratio placebo=1,clonidine=1 "
        "--per-stratum 60"
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("study", metavar="STUDY", help="the study's short name")
        does = parser.add_subparsers(
            dest="does", required=True, metavar="generate|upload|verify|status|kits"
        )
        self._add_generate(does.add_parser("generate", help="draw a list and seal it"))
        upload = does.add_parser(
            "upload", help="seal a CSV file: stratum, position, arm and perhaps kit"
        )
        upload.add_argument("file", metavar="FILE", type=Path, help="- is standard input")
        upload.add_argument("--yes", action="store_true", help="do not ask whether it is meant")
        does.add_parser("verify", help="compare every list with its commitment")
        does.add_parser("status", help="slots of every stratum, spent and free; never arms")
        kits = does.add_parser(
            "kits", help="kit codes with their arms, for whoever packs them: it shows arms"
        )
        kits.add_argument("--out", metavar="FILE", type=Path, help="write it there")

    def _add_generate(self, parser: Any) -> None:
        parser.add_argument(
            "--ratio",
            type=read_ratio,
            required=True,
            metavar="ARM=N,…",
            help="how often each arm comes: placebo=1,clonidine=1; in a crossover arms are "
            "sequences",
        )
        parser.add_argument(
            "--per-stratum",
            type=whole(1, 100_000),
            required=True,
            metavar="N",
            help="at least so many slots in each stratum; the last block is whole",
        )
        parser.add_argument(
            "--blocks",
            type=read_sizes,
            default=[],
            metavar="N,…",
            help="sizes of blocks, each as likely; multiples of the ratio's sum; default: two, "
            "three and four times it, which is 4,6,8 for two even arms",
        )
        parser.add_argument(
            "--factor",
            type=read_factor,
            action="append",
            default=[],
            metavar="NAME=VALUE,…",
            help="stratify by it beside the site: sex=female,male; at most twice",
        )
        parser.add_argument(
            "--site", action="append", default=[], metavar="CODE", help="only for it; default: all"
        )
        parser.add_argument(
            "--more", action="store_true", help="add slots to strata that have some already"
        )
        parser.add_argument("--yes", action="store_true", help="do not ask whether it is meant")

    def handle(self, *args: Any, **options: Any) -> None:
        study = study_named(options["study"])
        steps = {
            "generate": self._generate,
            "upload": self._upload,
            "verify": self._verify,
            "status": self._status,
            "kits": self._kits,
        }
        try:
            steps[options["does"]](study, options)
        except ListRefused as error:
            raise CommandError("\n".join(error.faults), returncode=1) from error

    def _generate(self, study: Study, options: dict[str, Any]) -> None:
        factors = dict(options["factor"])
        if len(factors) < len(options["factor"]):
            raise CommandError("Name each factor once.", returncode=2)
        self._confirm(study, options)
        sealed = sealing.generate(
            study=study,
            ratio=options["ratio"],
            per_stratum=options["per_stratum"],
            sizes=options["blocks"],
            factors=factors,
            sites=options["site"],
            goes_on=options["more"],
            now=timezone.now(),
            actor=COMMAND,
        )
        self._say_sealed(sealed)
        found = predictability(options["ratio"], sealed.metadata["block_sizes"])
        self.stdout.write(
            f"Who knew all earlier allocations of a stratum could be certain of "
            f"{found.determined:.0%} of the next, and guess {found.guessed:.0%}."
        )

    def _upload(self, study: Study, options: dict[str, Any]) -> None:
        file: Path = options["file"]
        text = _text_of(file)
        self._confirm(study, options)
        self._say_sealed(
            sealing.upload(
                study=study, text=text, file_name=file.name, now=timezone.now(), actor=COMMAND
            )
        )

    def _confirm(self, study: Study, options: dict[str, Any]) -> None:
        if options["yes"]:
            return
        self.stderr.write(f"A list of study {study} is sealed: nothing changes or removes it.")
        self.stderr.write("Write the study's short name to seal it: ", ending="")
        try:
            is_meant = input() == study.slug
        except EOFError:
            is_meant = False
        if not is_meant:
            raise CommandError("Nothing was sealed.", returncode=1)

    def _say_sealed(self, sealed: AllocationList) -> None:
        slots = sealed.slots.count()
        strata = sealed.slots.values("stratum").distinct().count()
        self.stdout.write(
            f"{str(sealed).capitalize()}: {slots} slots in {strata} strata, sealed under "
            f"{sealed.commitment}."
        )

    def _verify(self, study: Study, options: dict[str, Any]) -> None:
        lists = list(AllocationList.objects.filter(study=study).select_related("study"))
        if not lists:
            self.stdout.write(f"Study {study} has no allocation list yet.")
        faults = sealing.skipped_slots(study)
        for sealed in lists:
            wrong = sealing.faults_of(sealed)
            faults += wrong
            if not wrong:
                self.stdout.write(f"{str(sealed).capitalize()} is as sealed: {sealed.commitment}.")
        if faults:
            raise CommandError("\n".join(faults), returncode=1)

    def _status(self, study: Study, options: dict[str, Any]) -> None:
        strata = sealing.strata_of(study)
        if not strata:
            self.stdout.write(f"Study {study} has no allocation list yet.")
            return
        width = max(len("stratum"), *(len(each.name) for each in strata))
        self.stdout.write(f"{'stratum':<{width}}  slots  spent  in error   free")
        for each in strata:
            few = "  few are left" if each.free < FEW else ""
            self.stdout.write(
                f"{each.name:<{width}}  {each.slots:>5}  {each.spent:>5}  {each.in_error:>8}  "
                f"{each.free:>5}{few}"
            )

    def _kits(self, study: Study, options: dict[str, Any]) -> None:
        if not study.allocation_lists.exists():
            raise CommandError(f"Study {study} has no allocation list yet.", returncode=1)
        out: Path | None = options["out"]
        if out is None:
            self._write_kits(study, self.stdout)
            return
        try:
            with out.open("x", encoding="utf-8", newline="") as file:
                self._write_kits(study, file)
        except FileExistsError as error:
            raise CommandError(f"{out} is there already.", returncode=2) from error
        except OSError as error:
            raise CommandError(f"{out}: {error.strerror}.", returncode=2) from error
        self.stderr.write(f"The kits are in {out}. It tells arms: keep it closed.")

    def _write_kits(self, study: Study, file: Any) -> None:
        lines = csv.writer(file, lineterminator="\n")
        lines.writerows([("kit", "arm"), *sealing.kits_of(study, COMMAND)])


def _text_of(file: Path) -> str:
    if str(file) == "-":
        return sys.stdin.read()
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise CommandError(f"{file}: {error.strerror}.", returncode=2) from error
    except UnicodeDecodeError as error:
        raise CommandError(f"{file} is not UTF-8 text.", returncode=1) from error
