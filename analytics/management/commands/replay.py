"""manage.py replay: real EMA data as a study, uploaded as phones would, and its comparison."""

import json
from argparse import ArgumentParser, ArgumentTypeError
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import httpx
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from analytics.card_table import card_table
from analytics.comparison import compare
from analytics.coupling import estimate_couplings
from analytics.file_options import UnusableDataError, WrongOptionError
from analytics.progress import progress
from analytics.replay import reading
from analytics.replay import study as replayed
from analytics.replay.file import Columns
from analytics.replay.reading import Asked, Replay
from analytics.study_names import one_at_a_time
from analytics.trial import ComparisonImpossible
from ema import stack
from ema.models import Study
from ema.phones import connect

COLUMNS = {
    "participant": "who",
    "stress": "the predictor",
    "craving": "the outcome",
    "pain": "a third rating",
    "arm": "the arm; needs --reference",
    "day": "study day: 1, 2, …",
    "prompt": "number of the prompt within its day",
    "status": "answered or missed; without it, a row with values is answered",
    "at": "when the prompt was issued: 2020-03-16 12:00:00, or with a zone (CET, +03)",
    "answered-at": "when it was answered",
    "planned-at": "when it was planned, by the local clock: late issues are counted",
}
OWN_SERVER = {
    "REDEEM_RATE": "100000/min",
    "UPLOAD_RATE": "100000/min",
    "ALLOWED_HOSTS": "127.0.0.1",
}
PROBE_WITHIN_S = 10
PADDED = (
    "Everybody has equally many rows, and over 40 % are unanswered. They count as missed prompts; "
    "if they only fill up a grid, use --padded."
)
NEEDED = ("participant", "stress", "craving")


def scale(text: str) -> tuple[int, int]:
    """`0,100` as two whole numbers."""
    try:
        low, high = map(int, text.split(","))
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is not two whole numbers such as 0,100") from error
    if low >= high:
        raise ArgumentTypeError(f"{text!r}: the first number must be the smaller one")
    return low, high


class Command(BaseCommand):
    """Exit code 2: an option asks for what is not there. Exit code 1: the data are unusable."""

    help = (
        "Make a study of a CSV file of real EMA data, one row per prompt: upload its answers "
        "through the phones' API, then estimate the coupling and compare arms on it. What is "
        "wrong in the file is reported, never dropped silently. A row whose status is missed is a "
        "missed prompt, unless --padded says that such rows only fill up a grid."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", type=Path, help="CSV file with a header")
        for name, what in COLUMNS.items():
            parser.add_argument(f"--{name}", required=name in NEEDED, metavar="COL", help=what)
        parser.add_argument("--reference", metavar="ARM", help="the arm to compare with")
        for name, shape, what in (
            ("--where", "COLUMN=VALUE", "use only the rows with this value; may be repeated"),
            ("--arm-map", "FROM=TO", "rename an arm; labels not named are reported; repeated"),
        ):
            parser.add_argument(name, metavar=shape, action="append", default=[], help=what)
        parser.add_argument("--study", metavar="SLUG", help="default: named after the file")
        parser.add_argument("--zone", default="UTC", help="of stamps without one. Default: UTC")
        parser.add_argument(
            "--scale", type=scale, metavar="MIN,MAX", help="of the ratings; default: as in the data"
        )
        parser.add_argument(
            "--padded", action="store_true", help="unanswered rows are padding, not missed prompts"
        )
        parser.add_argument("--url", help="a server on the same database; default: one of our own")
        parser.add_argument("--report", type=Path, metavar="CSV", help="write every finding there")
        parser.add_argument("--participants", action="store_true", help="everyone's slopes, too")
        parser.add_argument("--json", action="store_true", help="print JSON instead of tables")

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            with stack.stopped_in_order():
                self._replay(options)
        except WrongOptionError as error:
            raise CommandError(str(error), returncode=2) from error
        except (UnusableDataError, ComparisonImpossible, stack.StackError) as error:
            raise CommandError(str(error), returncode=1) from error
        except KeyboardInterrupt as error:
            raise CommandError("Stopped.", returncode=130) from error

    def _replay(self, options: dict[str, Any]) -> None:
        now = timezone.now()
        asked = asked_for(options)
        found = reading.read(asked, now)
        if options["report"]:
            found.findings.write(options["report"])
        if options["url"]:
            refuse_silent_server(options["url"])
        with one_at_a_time():
            study = replayed.create_study(found, replayed.free_slug(asked), now)
        if not options["json"]:
            self.stdout.write("\n".join([*account(found, study.slug), ""]))
        with (
            server(options["url"]) as url,
            progress("Phones upload", len(found.people)) as step,
        ):
            told = replayed.upload(found, study, url, now, step)
        report = compared(study, options["participants"])
        if options["json"]:
            report["replay"] = found.content() | {"study": study.slug, "uploaded": dict(told)}
            self.stdout.write(json.dumps(report, indent=2, allow_nan=False))
        else:
            self.stdout.write(card_table(report))


def asked_for(options: dict[str, Any]) -> Asked:
    columns = {name.replace("-", "_"): options[name.replace("-", "_")] for name in COLUMNS}
    return Asked(
        file=options["file"],
        columns=Columns(**columns),
        where=options["where"],
        arm_map=options["arm_map"],
        reference=options["reference"],
        study=options["study"],
        zone=options["zone"],
        scale=options["scale"],
        padded=options["padded"],
    )


def server(url: str | None) -> AbstractContextManager[str]:
    """The server asked for, or one of our own that lets many phones in at once."""
    return nullcontext(url) if url else stack.web(environ=OWN_SERVER)


def refuse_silent_server(url: str) -> None:
    """WrongOptionError unless a Fourbeat server answers there."""
    try:
        with connect(url) as http:
            reply = http.get("health/ready", timeout=PROBE_WITHIN_S)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        why = str(error) or type(error).__name__
    else:
        if reply.status_code == httpx.codes.OK:
            return
        why = f"status {reply.status_code} from health/ready"
    raise WrongOptionError(
        f"--url {url}: no server answers there ({why}): write http://host:port, or leave --url out."
    )


def compared(study: Study, participants: bool) -> dict[str, Any]:
    estimate_couplings(timezone.now())
    return compare(study, participants=participants)


def account(found: Replay, slug: str) -> list[str]:
    """What was read, for people: rows that add up, scales, and what is wrong."""
    content = found.content()
    items = "; ".join(
        f"{role} = {scale.column} ({scale.minimum} to {scale.maximum}, {scale.decimals} decimals)"
        for role, scale in found.scales.items()
    )
    left_out = "".join(
        f" + {count} left out ({problem.replace('_', ' ')})"
        for problem, count in content["rows_left_out"].items()
    )
    skipped = content["rows_not_asked_for"]
    not_asked = f" + {skipped} not asked for (--where)" if skipped else ""
    rows = f"{content['answered']} answered + {content['missed']} missed{left_out}{not_asked}"
    zones = ", ".join(f"{zone} {count}" for zone, count in content["zones"].items())
    return [
        f"{content['file']} as study {slug}: {content['rows_in_file']} rows = {rows}",
        f"{content['participants']} participants; {items}",
        *([f"Zones named in the file: {zones}; others are in {found.asked.zone}"] if zones else []),
        *([PADDED] if found.looks_padded else []),
        "",
        *found.findings.table(),
    ]
