from importlib import import_module

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class EmaConfig(AppConfig):
    name = "ema"
    verbose_name = "Trial"

    def ready(self) -> None:
        """Tasks are asked for through this app, also by processes that only ask."""
        import_module("ema.celery")


class OperatorAdminConfig(AdminConfig):
    """The operators' admin: Django's own, with our site in front."""

    default_site = "ema.admin.site.OperatorSite"

    def ready(self) -> None:
        super().ready()
        for screens in (
            "studies",
            "questionnaires",
            "participants",
            "quarantine",
            "phones",
            "pauses",
            "visits",
            "push",
            "alerts",
        ):
            import_module(f"ema.admin.{screens}")
