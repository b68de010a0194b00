"""Choosing the name of a new study, one process at a time."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import count

from django.db import connection

ONE_AT_A_TIME = 0x46_42_01  # any number that nothing else of this database locks


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """A lock of the database, held for the block: whoever comes second waits."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_lock(%s)", [ONE_AT_A_TIME])
        try:
            yield
        finally:
            cursor.execute("SELECT pg_advisory_unlock(%s)", [ONE_AT_A_TIME])


def numbered(name: str, taken: Collection[str]) -> str:
    """The name, or the first of name-2, name-3 … that is not taken."""
    if name not in taken:
        return name
    return next(each for n in count(2) if (each := f"{name}-{n}") not in taken)
