"""How a command finds the study it was given."""

from django.core.management.base import CommandError

from ema.models import Study


def study_named(slug: str) -> Study:
    """The study, or CommandError (exit code 2) in one sentence that lists what there is."""
    study = Study.objects.filter(slug=slug).first()
    if study is None:
        there = ", ".join(Study.objects.values_list("slug", flat=True)) or "none yet"
        raise CommandError(f"There is no study {slug!r}; the studies are: {there}.", returncode=2)
    return study
