from django.apps import AppConfig


class SchedulerConfig(AppConfig):
    name = "scheduler"
    verbose_name = "Scheduling"

    def ready(self) -> None:
        """Tell `ema`, which does not know this package, how phases and hours are checked."""
        from ema.phases import PHASE_CHECKS
        from ema.travel import HOURS_CHECKS
        from scheduler.protocols import validate_hours, validate_protocol

        PHASE_CHECKS.append(validate_protocol)
        HOURS_CHECKS.append(validate_hours)
