"""manage.py simulate: many phones with all their troubles, and proof that no answer is lost."""

import time
from argparse import ArgumentParser, ArgumentTypeError
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime
from typing import Any

import httpx
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from analytics.demo import steps
from analytics.demo import study as demo_study
from analytics.demo.steps import DemoFailed
from analytics.demo.study import Cast, Wanted
from analytics.management.commands.demo import FASTER, HOST, refuse_other_studies
from analytics.progress import progress
from analytics.simulate import life, proof
from analytics.simulate.life import Lived
from analytics.simulate.proof import Account
from analytics.simulate.troubles import NONE, BadNetwork, Troubles
from analytics.study_names import one_at_a_time
from ema import stack
from ema.management import options as kinds
from ema.models import Study
from ema.phones import PhoneError
from ema.stack import StackError

SIMULATED = "All data of this drill are simulated: no person and no phone is involved."


class Command(BaseCommand):
    """Exit code 1: an answer was lost or changed, or a ledger does not balance."""

    help = (
        "Let many simulated phones live through a trial at once, over HTTP, on this machine: they "
        "enrol, sync, arm, answer, are offline for days, have wrong clocks, lose replies and are "
        "replaced. At the end every answer that was given is compared with what is stored. Every "
        "run makes a study of its own: drill, drill-2, …"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        usual = Troubles()
        parser.add_argument("--phones", type=kinds.whole(4, 100_000), default=200)
        parser.add_argument("--days", type=kinds.whole(2, 400), default=7, help="default: 7")
        parser.add_argument("--seed", type=kinds.whole(0, 2**32), default=2026)
        parser.add_argument("--threads", type=kinds.whole(1, 64), default=8, help="default: 8")
        parser.add_argument("--workers", type=kinds.whole(1, 64), default=2, help="of the web")
        parser.add_argument("--port", type=kinds.port, default=8000, help="default: 8000")
        parser.add_argument(
            "--no-troubles", action="store_true", help="nothing goes wrong with any phone"
        )
        for name, default in vars(usual).items():
            option = f"--{name.replace('_', '-')}"
            parser.add_argument(option, type=share, metavar="SHARE", help=f"default: {default}")

    def handle(self, *args: Any, **options: Any) -> None:
        if not settings.LOCAL:
            message = "A drill runs on servers of its own: unset DATABASE_URL and REDIS_URL."
            raise CommandError(message, returncode=2)
        try:
            with stack.stopped_in_order(), ExitStack() as parts:
                self._run(options, parts)
        except KeyboardInterrupt as error:
            raise CommandError("Stopped.", returncode=130) from error
        except (DemoFailed, StackError, PhoneError) as error:
            raise CommandError(str(error), returncode=1) from error

    def _run(self, options: dict[str, Any], parts: ExitStack) -> None:
        """The whole way, on one page."""
        wanted = Wanted(participants=options["phones"], days=options["days"], seed=options["seed"])
        stack.refuse_unusable_port(HOST, options["port"])
        self.stdout.write(f"{SIMULATED}\n")
        now = timezone.now()
        study, cast = self._set_up(wanted, now)
        web = stack.start_web(HOST, options["port"], options["workers"], environ=FASTER)
        parts.enter_context(stack.running(web))
        network = BadNetwork(
            httpx.HTTPTransport(limits=httpx.Limits(max_connections=options["threads"])),
            troubles_of(options),
            wanted.seed,
        )
        began = time.monotonic()
        with client(f"http://{HOST}:{options['port']}", network) as http:
            lived = self._live(http, network.troubles, cast, wanted, options["threads"], now)
        elapsed = time.monotonic() - began
        call_command("plan", stdout=self.stdout)
        account = proof.account(study, lived)
        self.stdout.write("\n".join(lines_of(account, network, elapsed)))
        faults = account.faults + steps.show_ledger(study, self.stdout)
        if faults:
            raise DemoFailed("\n".join(faults))
        self.stdout.write("Every answer that was given is stored once, as it was given.")

    def _set_up(self, wanted: Wanted, now: datetime) -> tuple[Study, Cast]:
        """The study and its people, with their prompts."""
        with one_at_a_time():
            call_command("migrate", verbosity=0)
            refuse_other_studies()
            study = demo_study.create_study(wanted, demo_study.free_slug("drill"), now)
        with progress("People are enrolled", 1) as step:
            cast = demo_study.enrol_everybody(wanted, study, now)
            step.advance()
        call_command("plan", stdout=self.stdout)
        steps.gather_statistics()
        return study, cast

    def _live(
        self,
        http: httpx.Client,
        troubles: Troubles,
        cast: Cast,
        wanted: Wanted,
        threads: int,
        now: datetime,
    ) -> Sequence[Lived]:
        lives = list(life.lives_of(cast, wanted, troubles, http, now))
        found = []
        with progress("Phones live", len(lives)) as step:
            for lived in life.live_all(lives, cast, wanted, threads=threads):
                found.append(lived)
                step.advance()
        return found


def client(url: str, network: BadNetwork) -> httpx.Client:
    """What all phones share. Plain HTTP is taken for a proxy's inside."""
    headers = {"X-Forwarded-Proto": "https"}
    return httpx.Client(base_url=url, transport=network, timeout=60.0, headers=headers)


def share(text: str) -> float:
    """A share from 0 to 0.9: with more, phones give up."""
    try:
        number = float(text)
    except ValueError:
        number = -1.0
    if not 0 <= number <= 0.9:
        raise ArgumentTypeError(f"{text!r} is not a share from 0 to 0.9")
    return number


def troubles_of(options: dict[str, Any]) -> Troubles:
    """The usual troubles or none, with the shares that were named."""
    named = {name: options[name] for name in vars(NONE) if options[name] is not None}
    return replace(NONE if options["no_troubles"] else Troubles(), **named)


def lines_of(account: Account, network: BadNetwork, elapsed: float) -> list[str]:
    """The account for a terminal: answers, what phones were told, flags, and the doors' pace."""
    requests = sum(map(len, network.seconds.values()))
    lines = [
        "",
        f"{account.given:,} answers given, {account.stored:,} stored.",
        f"{network.lost:,} replies to uploads were lost.",
        f"Phones were told: {listed(account.told)}.",
        f"Flags: {listed(account.flags) or 'none'}.",
        f"Largest error of a corrected time: {account.largest_clock_error.total_seconds():.1f} s.",
        f"{requests:,} requests in {elapsed:.0f} s, {requests / elapsed:,.0f} a second:",
    ]
    for door, seconds in sorted(network.seconds.items()):
        ordered = sorted(seconds)
        half, most = ordered[len(ordered) // 2], ordered[len(ordered) * 99 // 100]
        pace = f"p50 {half * 1000:6.1f} ms  p99 {most * 1000:6.1f} ms"
        lines.append(f"  {door:40} {len(ordered):8,}  {pace}")
    return [*lines, ""]


def listed(counts: dict[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items()) if count)
