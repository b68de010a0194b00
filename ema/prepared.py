"""Statements of the hot path: PostgreSQL keeps them prepared, and Django wraps no row of theirs."""

from collections.abc import Sequence
from typing import Any

import psycopg
from django.db import connection


def rows(statement: str, arguments: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Run one statement on this thread's connection; by itself it is a transaction.

    Raises Django's OperationalError when the database is away; the next request connects anew.
    """
    connection.ensure_connection()
    with connection.wrap_database_errors:
        cursor = psycopg.Cursor(connection.connection)
        return cursor.execute(statement, arguments, prepare=True).fetchall()
