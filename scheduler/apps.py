from importlib import import_module

from django.apps import AppConfig


class SchedulerConfig(AppConfig):
    name = "scheduler"
    verbose_name = "Scheduling"

    def ready(self) -> None:
        """Register the checks; tell `ema`, which does not know this package, what is here."""
        import_module("scheduler.checks")
        from ema.hours import HOURS_CHECKS
        from ema.pages import STUDY_PAGES
        from ema.phases import PHASE_CHECKS
        from ema.schedule_checks import RECOMPUTE
        from scheduler.pages import PAGES
        from scheduler.protocols import validate_hours, validate_protocol
        from scheduler.verification.counting import recompute

        PHASE_CHECKS.append(validate_protocol)
        HOURS_CHECKS.append(validate_hours)
        RECOMPUTE.append(recompute)
        STUDY_PAGES.extend(PAGES)
