"""Statements of the hot path: PostgreSQL keeps them prepared, and Django wraps no row of theirs.

What uploads ask goes straight to libpq and comes back as one value, mostly JSON: to take a dozen
columns apart in Python costs more than to write and read that.
"""

import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from uuid import UUID

import msgspec
import psycopg
from django.db import DEFAULT_DB_ALIAS, OperationalError, connection, connections
from psycopg.errors import InvalidSqlStatementName
from psycopg.pq import ConnStatus, ExecStatus, TransactionStatus

_prepared = threading.local()


def value(statement: str, *arguments: object) -> bytes | None:
    """The first column of the only row of a statement, as PostgreSQL writes it; None without one.

    `arguments` stand for $1, $2 and so on: bytes are sent as they are, else the text of each.
    By itself a statement is a transaction. Raises Django's OperationalError when the database is
    away.
    """
    ours = connections[DEFAULT_DB_ALIAS]  # once: the proxy looks it up with every attribute
    ours.ensure_connection()
    with ours.wrap_database_errors:
        raw: psycopg.Connection = ours.connection
        if not raw.autocommit and raw.pgconn.transaction_status == TransactionStatus.IDLE:
            raw.execute("SELECT 1")  # psycopg begins the block's transaction with what it is told
        sent = [each if isinstance(each, bytes) else str(each).encode() for each in arguments]
        result = raw.pgconn.exec_prepared(_name_of(raw, statement), sent)
        if result.status != ExecStatus.TUPLES_OK:
            raise _error(raw, result)
        return result.get_value(0, 0) if result.ntuples else None


def first_value(statement: str, *arguments: object) -> bytes | None:
    """The same for the first statement of a request, which only reads.

    Where the connection has died since the last request, it connects anew and asks again.
    """
    try:
        return value(statement, *arguments)
    except OperationalError:
        if connection.in_atomic_block:
            raise
        connection.close()
        return value(statement, *arguments)


def _name_of(raw: psycopg.Connection, statement: str) -> bytes:
    """What this connection calls a statement; told to PostgreSQL when it is first asked."""
    if getattr(_prepared, "on", None) is not raw:
        _prepared.on, _prepared.names = raw, {}
    names: dict[str, bytes] = _prepared.names
    if (name := names.get(statement)) is None:
        name = b"fourbeat_%d" % len(names)
        result = raw.pgconn.prepare(name, statement.encode())
        if result.status != ExecStatus.COMMAND_OK:
            raise _error(raw, result)
        names[statement] = name
    return name


def _error(raw: psycopg.Connection, result: psycopg.pq.abc.PGresult) -> psycopg.Error:
    """What PostgreSQL said; that it is gone, the client library can only say in words.

    Where it knows nothing of what was prepared, the connection is as good as gone.
    """
    error = psycopg.errors.error_from_result(result)
    if raw.pgconn.status == ConnStatus.BAD or isinstance(error, InvalidSqlStatementName):
        return psycopg.OperationalError(result.get_error_message())
    return error


def rows(statement: str, arguments: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    """All rows of a statement, their values read from binary.

    psycopg prepares none here nor, as Django sets it, anywhere: with what it has prepared it drops
    ours, whenever a transaction is rolled back.
    """
    connection.ensure_connection()
    with connection.wrap_database_errors:
        cursor = psycopg.Cursor(connection.connection)
        return cursor.execute(statement, arguments, binary=True).fetchall()


@contextmanager
def meanwhile(
    statement: str, arguments: Mapping[str, Any]
) -> Iterator[Callable[[], list[tuple[Any, ...]]]]:
    """PostgreSQL works on a statement that only reads while the block computes; gives what waits
    for its rows. What the block asks besides waits for it too.
    """
    connection.ensure_connection()
    with connection.wrap_database_errors, connection.connection.pipeline():
        cursor = psycopg.Cursor(connection.connection)
        yield cursor.execute(statement, arguments, binary=True).fetchall


def array(ids: Iterable[UUID]) -> bytes:
    """Ids as PostgreSQL writes them."""
    return b"{%b}" % msgspec.json.encode(list(ids))[1:-1]


_ids = msgspec.json.Decoder(set[UUID])


def ids(found: bytes | None) -> set[UUID]:
    """Those that a statement gives as a JSON array, or as NULL where there are none."""
    return _ids.decode(found) if found else set()
