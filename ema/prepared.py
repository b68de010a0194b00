"""Statements of the hot path: PostgreSQL keeps them prepared, and Django wraps no row of theirs."""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from django.db import DEFAULT_DB_ALIAS, OperationalError, connection, connections

Arguments = Sequence[Any] | Mapping[str, Any]
_kept = threading.local()


def rows(statement: str, arguments: Arguments) -> list[tuple[Any, ...]]:
    """Run one statement on this thread's connection; by itself it is a transaction.

    Raises Django's OperationalError when the database is away.
    """
    ours = connections[DEFAULT_DB_ALIAS]  # once: the proxy looks it up with every attribute
    ours.ensure_connection()
    with ours.wrap_database_errors:
        cursor = _cursor(ours.connection)
        return cursor.execute(statement, arguments, prepare=True, binary=True).fetchall()


def _cursor(to: psycopg.Connection) -> psycopg.Cursor:
    """This thread's, as long as it stays connected: a new one looks up again how to read types."""
    cursor: psycopg.Cursor | None = getattr(_kept, "cursor", None)
    if cursor is None or cursor.connection is not to:
        _kept.cursor = cursor = psycopg.Cursor(to)
    return cursor


def first_rows(statement: str, arguments: Sequence[Any]) -> list[tuple[Any, ...]]:
    """The same for the first statement of a request, which only reads.

    Where the connection has died since the last request, it connects anew and asks again.
    """
    try:
        return rows(statement, arguments)
    except OperationalError:
        if connection.in_atomic_block:
            raise
        connection.close()
        return rows(statement, arguments)


@contextmanager
def meanwhile(
    statement: str, arguments: Arguments
) -> Iterator[Callable[[], list[tuple[Any, ...]]]]:
    """PostgreSQL works on a statement that only reads while the block computes; gives what waits
    for its rows. What the block asks besides waits for it too.
    """
    connection.ensure_connection()
    with connection.wrap_database_errors, connection.connection.pipeline():
        cursor = psycopg.Cursor(connection.connection)
        yield cursor.execute(statement, arguments, binary=True).fetchall


def array(ids: Iterable[UUID]) -> str:
    """Ids as PostgreSQL writes them: psycopg takes many times as long over a list."""
    return f"{{{msgspec.json.encode(list(ids)).decode()[1:-1]}}}"
