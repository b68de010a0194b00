"""How a command finds the record it was given a name of."""

from typing import TypeVar

from django.core.management.base import CommandError
from django.db import ProgrammingError
from django.db.models import Model

from ema.models import Study

M = TypeVar("M", bound=Model)


def study_named(slug: str) -> Study:
    """The study, or CommandError."""
    return named(Study, "study", slug=slug)


def named(model: type[M], what: str, **named_by: object) -> M:
    """The record, or CommandError (exit code 2) in one sentence that lists what there is.

    The last keyword is the name that was typed; those before it narrow where it is looked for.
    """
    try:
        found = model._default_manager.filter(**named_by).first()
    except ProgrammingError as error:  # no such table or column
        raise CommandError(
            "The database has not the tables of this version: run manage.py migrate."
        ) from error
    if found is None:
        *within, (field, typed) = named_by.items()
        there = model._default_manager.filter(**dict(within)).values_list(field, flat=True)[:20]
        listed = ", ".join(map(str, there)) or "none yet"
        raise CommandError(f"There is no {what} {typed!r}. There are: {listed}.", returncode=2)
    return found
