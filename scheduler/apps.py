from django.apps import AppConfig


class SchedulerConfig(AppConfig):
    name = "scheduler"
    verbose_name = "Scheduling"

    def ready(self) -> None:
        """Tell `ema`, which does not know this package, how a phase is checked."""
        from ema.phases import PHASE_CHECKS
        from scheduler.protocols import validate_protocol

        PHASE_CHECKS.append(validate_protocol)
