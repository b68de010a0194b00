"""Lines of the log say where and what kind, never what somebody wrote."""

import errno
import logging
import sys
from collections.abc import Callable

import pytest
from django.db import DataError, IntegrityError, connection, transaction
from django.utils import timezone

from ema.logs import WITHHELD, Line
from ema.models import Screening, Site
from tests import trial

SECRET = "what somebody wrote"


def logged(breaks: Callable[[], object], formatter: type[logging.Formatter] = Line) -> str:
    """The record of an exception, with what it says in the message as Celery has it."""
    try:
        breaks()
    except Exception as error:
        told = ("it raised unexpected: %r, %s", (error, error))
        record = logging.LogRecord("a", 40, "a.py", 1, *told, sys.exc_info())
    return formatter("{levelname} {message}", style="{").format(record)


def refuse_row() -> None:
    """The database repeats the whole row that it refuses."""
    with transaction.atomic():
        Screening.objects.create(
            study=Site.objects.get().study,
            site=Site.objects.get(),
            number="1",
            screened_on=timezone.now().date(),
            outcome="no outcome",
            reason=SECRET,
            recorded_at=timezone.now(),
        )


def refuse_value() -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT %s::text::integer", [SECRET])


def wrap() -> None:
    try:
        int(SECRET)
    except ValueError as error:
        raise RuntimeError(f"not read: {SECRET}") from error


@pytest.mark.django_db
def test_a_row_that_the_database_refuses_is_not_told() -> None:
    trial.make_study()
    assert SECRET in logged(refuse_row, logging.Formatter)  # so it could have been
    told = logged(refuse_row)
    assert SECRET not in told
    assert f"{IntegrityError.__module__}.IntegrityError: SQLSTATE 23514" in told
    assert "screening_outcome" in told or "outcome" in told
    assert "in refuse_row\n    Screening.objects.create(" in told


@pytest.mark.django_db
def test_a_value_that_the_database_refuses_is_not_told() -> None:
    assert SECRET in logged(refuse_value, logging.Formatter)
    told = logged(refuse_value)
    assert SECRET not in told
    assert f"DataError: SQLSTATE 22P02 {WITHHELD}" in told
    assert DataError.__name__ in told


def test_an_exception_and_what_it_came_from_are_named_and_say_nothing() -> None:
    assert logged(wrap, logging.Formatter).count(SECRET) > 2
    told = logged(wrap)
    assert SECRET not in told
    assert told.index(f"builtins.ValueError: {WITHHELD}") < told.rindex("builtins.RuntimeError:")
    assert told.count("Traceback (most recent call last):") == 2


@pytest.mark.django_db
def test_what_tells_of_servers_alone_is_kept() -> None:
    def connect() -> None:
        raise ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")

    def look() -> None:
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("SELECT 1 FROM nowhere")

    assert f"[Errno {errno.ECONNREFUSED}] Connection refused" in logged(connect)
    assert 'SQLSTATE 42P01 relation "nowhere" does not exist' in logged(look)


def test_a_record_without_an_exception_is_a_line() -> None:
    record = logging.LogRecord("a", 30, "a.py", 1, "%d alerts", (3,), None)
    assert Line("{levelname} {message}", style="{").format(record) == "WARNING 3 alerts"
