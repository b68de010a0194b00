from django.apps import AppConfig


class AnalyticsConfig(AppConfig):
    name = "analytics"
    verbose_name = "Analysis"

    def ready(self) -> None:
        """Tell `ema`, which does not know this package, which pages are here."""
        from analytics.study_pages import PAGES
        from ema.pages import STUDY_PAGES

        STUDY_PAGES.extend(PAGES)
