from django.apps import AppConfig


class ConsoleConfig(AppConfig):
    name = "console"
    verbose_name = "Console"

    def ready(self) -> None:
        """Tell `ema`, which does not know this package, which pages are here."""
        from console.study_pages import PAGES
        from ema.pages import STUDY_PAGES

        STUDY_PAGES[:0] = [page for page in PAGES if page.group in ("Care", "Trial")]
        STUDY_PAGES.extend(page for page in PAGES if page.group not in ("Care", "Trial"))
