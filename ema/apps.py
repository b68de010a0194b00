from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig


class EmaConfig(AppConfig):
    name = "ema"
    verbose_name = "Trial"


class OperatorAdminConfig(AdminConfig):
    """The coordinator's admin: Django's own, with our site in front."""

    default_site = "ema.admin.site.OperatorSite"
