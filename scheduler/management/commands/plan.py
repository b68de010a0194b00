"""manage.py plan: run the planner now."""

from typing import Any

from django.core.management.base import BaseCommand
from django.utils import timezone

from scheduler.planning import plan_prompts, running_phases, validate_protocol


class Command(BaseCommand):
    help = (
        "Plan the missing prompts of every running study up to 14 days ahead. Safe to repeat, and "
        "to run beside the worker that does the same by itself."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        for phase in running_phases().values():
            for problem in validate_protocol(phase, timezone.now()):
                self.stderr.write(f"Study {phase.study}, phase {phase}: {problem}")
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
