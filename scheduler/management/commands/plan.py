"""manage.py plan: run the planner now."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from ema.audit import COMMAND
from scheduler.planning import plan_prompts, running_phases, validate_protocol
from scheduler.renewal import renew_zones
from scheduler.zones import TZDATA_VERSION


class Command(BaseCommand):
    help = (
        "Plan the missing prompts of every running study up to 14 days ahead. Safe to repeat, and "
        "to run beside the worker that does the same by itself."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument(
            "--renew-zones",
            action="store_true",
            help="after an upgrade of tzdata, first take back the days whose times its new rules "
            "move and that no phone has yet; they are planned anew with the same draws",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        for phase in running_phases().values():
            for problem in validate_protocol(phase, timezone.now()):
                self.stderr.write(f"Study {phase.study}, phase {phase}: {problem}")
        if options["renew_zones"]:
            renewed = renew_zones(timezone.now(), COMMAND)
            self.stdout.write(
                f"tzdata {TZDATA_VERSION} leaves {renewed.same} prompts of older zone data where "
                f"they are; {renewed.superseded} were taken back to be planned anew."
            )
        planned = plan_prompts(timezone.now(), self._progress)
        for sentence, count in planned.refused.items():
            self.stderr.write(f"Not planned for {count} participants: {sentence}")
        self.stdout.write(
            f"{planned.prompts} prompts planned for {planned.participants} participants; "
            f"{planned.withdrawn} cancelled because their participant withdrew, "
            f"{planned.paused} because of a pause; "
            f"{sum(planned.refused.values())} participants refused."
        )

    def _progress(self, done: int, total: int) -> None:
        self.stderr.write(f"Planned {done} of {total} stretches of days.")
