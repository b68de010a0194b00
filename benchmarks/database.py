"""The bench's own PostgreSQL: migrated, empty, and used by one run at a time."""

from collections.abc import Iterator
from contextlib import contextmanager

from django.conf import settings
from django.core.management import call_command
from django.db import connection, transaction

from benchmarks import STATE_DIR
from ema import embedded

ONLY_ONE = 40_412  # an advisory lock: two runs at once would measure each other

EVERYTHING = ("ema_study", "ema_auditevent", "ema_rowchange", "ema_auditcheckpoint")


class BenchBusy(RuntimeError):
    """Another run uses the bench's database."""


@contextmanager
def empty_database() -> Iterator[None]:
    """A migrated database without a row, before the block and after it."""
    if settings.STATE_DIR != STATE_DIR or not settings.LOCAL:
        raise RuntimeError(f"The bench throws rows away: it runs on {STATE_DIR} and nowhere else.")
    embedded.ensure(STATE_DIR)
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_lock(%s)", [ONLY_ONE])
        if not cursor.fetchone()[0]:
            raise BenchBusy("Another run of the bench is under way: wait for its end.")
    call_command("migrate", verbosity=0)
    empty(*EVERYTHING)
    try:
        yield
    finally:
        empty(*EVERYTHING)
        connection.close()  # and with it the lock


def empty(*tables: str) -> None:
    """Throw away all rows of tables, and all rows that point at them."""
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL fourbeat.may_truncate = on")
        cursor.execute(f"TRUNCATE {', '.join(tables)} CASCADE")


def analyze() -> None:
    """Let PostgreSQL look at what was loaded and tidy it; by itself it would, a minute later."""
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
