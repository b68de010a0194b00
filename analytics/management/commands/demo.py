"""manage.py demo: a simulated trial on this machine, from enrolment to the comparison of arms."""

import time
from argparse import ArgumentParser
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime
from typing import Any

import httpx
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import BaseCommand, CommandError
from django.utils import timezone

from analytics import comparison, simulation
from analytics.demo import adverse_events, steps
from analytics.demo import phones as demo_phones
from analytics.demo import study as demo_study
from analytics.demo.steps import Deadline, DemoFailed
from analytics.demo.study import Cast, Wanted
from analytics.file_options import listed
from analytics.progress import progress
from analytics.study_names import one_at_a_time
from analytics.trial import ComparisonImpossible
from ema import phones, stack
from ema.models import Study
from ema.phones import PhoneError
from ema.stack import Part, StackError

HOST = "127.0.0.1"
SIMULATED = "All data of this demo are simulated: no person, no phone and no drug is involved."
TOO_FEW = f"With fewer than {steps.FEWEST} people in an arm nothing is concluded from this."
FASTER = {  # than a real trial needs
    "PLAN_EVERY_S": "2",
    "COUPLE_EVERY_S": "3",
    "DISPATCH_EVERY_S": "3",
    "REDEEM_RATE": "100000/min",
    "UPLOAD_RATE": "100000/min",
}


class Command(BaseCommand):
    """Exit code 1: the demo cannot run, or did not come out as it must."""

    help = (
        "Run a simulated trial on this machine: seed a study, start web, worker and beat, let "
        "phones enrol and upload over HTTP, wait for the couplings, compare the arms with the "
        "true values beside them, and keep serving until Ctrl-C. Every run makes a study of its "
        "own: demo, demo-2, …"
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--once",
            action="store_true",
            help="check the ledger and the estimates, write a snapshot, and stop",
        )
        parser.add_argument("--participants", type=int, default=118, help="default: 118")
        parser.add_argument("--days", type=int, default=98, help="of the trial. Default: 98")
        parser.add_argument("--port", type=int, default=8000, help="default: 8000")
        parser.add_argument("--seed", type=int, default=2026, help="of the people. Default: 2026")
        parser.add_argument(
            "--attenuation",
            type=float,
            default=simulation.PUBLISHED.attenuation,
            help="share of the coupling that treatment takes away. Default: 0.40",
        )
        parser.add_argument(
            "--arm-shift",
            type=float,
            default=0.0,
            metavar="POINTS",
            help="points added to craving under treatment: -15 with --attenuation 0 is the floor "
            "trap. Default: 0",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        wanted = wanted_of(options)
        serving = False
        try:
            with stack.stopped_in_order(), ExitStack() as parts:
                began = time.monotonic()
                self._run(wanted, options, parts)
                self.stdout.write(f"\nThe demo took {time.monotonic() - began:.0f} s.")
                if options["once"]:
                    return
                serving = True
                self.stdout.write("It keeps running until Ctrl-C.")
                while True:
                    time.sleep(1)
        except KeyboardInterrupt as error:
            if not serving:
                raise CommandError("Stopped.", returncode=130) from error
            self.stdout.write("Stopped.")
        except (DemoFailed, StackError, PhoneError, ComparisonImpossible) as error:
            raise CommandError(str(error), returncode=1) from error

    def _run(self, wanted: Wanted, options: dict[str, Any], parts: ExitStack) -> None:
        """The whole way, on one page."""
        now, port = timezone.now(), options["port"]
        stack.refuse_unusable_port(HOST, port)
        self.stdout.write(f"{SIMULATED}\n")
        with progress("Tables are made", 1) as step, one_at_a_time():
            call_command("migrate", verbosity=0)
            step.advance()
        refuse_other_studies()
        with progress("The trial is set up", 1) as step:
            with one_at_a_time():
                study = demo_study.create_study(wanted, demo_study.free_slug(), now)
                operators = demo_study.create_operators(study)
            cast = demo_study.enrol_everybody(wanted, study, now)
            adverse_events.report_events(wanted, cast, now)
            step.advance()
        with progress("Web, worker and beat start", 1) as step:
            web = stack.start_web(HOST, port, workers=2, environ=FASTER)
            parts.enter_context(stack.running(web))
            jobs = [stack.start_worker(FASTER), stack.start_beat(FASTER)]
            parts.enter_context(stack.running(*jobs))
            step.advance()
        with phones.connect(f"http://{HOST}:{port}", phones=demo_phones.THREADS) as http:
            self._live(wanted, study, cast, jobs, now, http)
        parts.enter_context(stack.running(stack.start_dispatcher(FASTER)))
        faults = self._judge(wanted, study, cast)
        self._say_where(operators, study, f"http://{HOST}:{port}")
        if options["once"]:
            call_command("snapshot", study.slug, stdout=self.stdout)
        if faults:
            raise DemoFailed("\n".join(faults))

    def _live(
        self,
        wanted: Wanted,
        study: Study,
        cast: Cast,
        jobs: Sequence[Part],
        now: datetime,
        http: httpx.Client,
    ) -> None:
        """Celery plans, phones enrol, people stop, phones upload, Celery estimates."""
        everybody = len(cast.participants)
        deadline = Deadline(120, jobs)
        deadline.wait(
            "Celery plans prompts",
            everybody,
            lambda: steps.planned(study, wanted, now),
            "prompts are not planned for everybody",
        )
        owners: list[demo_phones.Owner] = []
        with progress("Phones enrol", everybody) as step:
            for owner in demo_phones.enrol_all(http, cast, now):
                owners.append(owner)
                step.advance()
        gone = demo_study.withdraw_drop_outs(cast, wanted, now)
        steps.gather_statistics()
        deadline.wait(
            f"Celery cancels for {gone} who stopped",
            1,
            lambda: int(steps.cancelled_after_withdrawal(study)),
            "prompts after a withdrawal are not cancelled",
        )
        told: Counter[str] = Counter()
        with progress("Phones upload", everybody) as step:
            for done in demo_phones.upload_all(owners, wanted, cast, now):
                told += done
                step.advance()
        self.stdout.write(
            "Uploaded over HTTP: "
            + ", ".join(f"{count} {status}" for status, count in sorted(told.items()))
        )
        steps.gather_statistics()
        answered = study.participants.exclude(responses=None).distinct().count()
        deadline.wait(
            "Celery estimates couplings",
            answered,
            lambda: steps.coupled(study),
            "couplings are missing",
        )

    def _judge(self, wanted: Wanted, study: Study, cast: Cast) -> list[str]:
        """The comparison beside the truth, and the ledger; what is off."""
        lines = steps.lines_of(comparison.compare(study), steps.truths(wanted))
        out = [
            "",
            f"Stress–craving coupling in study {study} (simulated)",
            *steps.table(lines),
            "put in: the slope drawn, before rounding and clipping to 0–100, about half to 0;",
            f"expected: what this analysis finds in {steps.LARGE_SAMPLE} people simulated alike;",
            "negative differences mean weaker coupling under treatment.",
            *([TOO_FEW] if any(line.people < steps.FEWEST for line in lines) else []),
            "",
        ]
        self.stdout.write("\n".join(out))
        return steps.faults(lines, cast, study) + steps.show_ledger(study, self.stdout)

    def _say_where(self, operators: Mapping[str, tuple[str, str]], study: Study, url: str) -> None:
        logins = [
            f"  {role:14} {name:20} {password}" for role, (name, password) in operators.items()
        ]
        out = [
            "",
            "Logins, new with every run:",
            *logins,
            "",
            f"  {url}/          studies, for investigators and the statistician",
            f"  {url}/admin/    the coordinator's and administrator's screens",
            f"  {url}/api/v1/docs/   the phones' API, door by door",
            f"  logs: {settings.STATE_DIR}/log/",
            SIMULATED,
        ]
        self.stdout.write("\n".join(out))


def refuse_other_studies() -> None:
    """A demo sets logins and simulates people: not beside a trial of somebody's own."""
    if others := demo_study.others_than_demos():
        raise DemoFailed(
            f"{settings.STATE_DIR} holds studies that no demo made ({listed(others)}): run the "
            "demo elsewhere, with FOURBEAT_STATE_DIR naming another directory."
        )


def wanted_of(options: dict[str, Any]) -> Wanted:
    """The options, or a sentence about the one that is wrong (exit code 2)."""
    if not settings.LOCAL:
        message = "The demo runs on servers of its own: unset DATABASE_URL and REDIS_URL."
        raise CommandError(message, returncode=2)
    limits: dict[str, tuple[float, float]] = {
        "participants": (4, 2000),
        "days": (2, 1000),
        "port": (1, 65535),
        "seed": (0, 2**32),
        "attenuation": (-5, 5),
        "arm_shift": (-100, 100),
    }
    for name, (low, high) in limits.items():
        if not low <= options[name] <= high:
            option = name.replace("_", "-")
            message = f"--{option} {options[name]} is wrong: it must be from {low} to {high}."
            raise CommandError(message, returncode=2)
    return Wanted(
        participants=options["participants"],
        days=options["days"],
        seed=options["seed"],
        effect=simulation.Effect(options["attenuation"], options["arm_shift"]),
    )
