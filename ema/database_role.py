"""The database role of the application: it works on rows, owns nothing and only adds to the trail.

Tables belong to the role that migrates. Whoever owns a table can switch its triggers off, so web,
worker and beat connect as another role, which is given what they need and nothing else.
"""

import re
from collections.abc import Iterator

from django.db import connection
from psycopg import sql

VALID = re.compile(r"[a-z_][a-z0-9_]{0,62}")
RIGHTS = {  # of tables that are not worked on as all the others
    "ema_auditevent": "SELECT, INSERT",
    "ema_auditcheckpoint": "SELECT, INSERT",
    "ema_rowchange": "SELECT",  # written by a trigger function with its owner's rights
    "django_migrations": "SELECT",
}
EVERYTHING = "SELECT, INSERT, UPDATE, DELETE"
TRAIL = ("ema_auditevent", "ema_rowchange", "ema_auditcheckpoint")
FORBIDDEN = ("UPDATE", "DELETE", "TRUNCATE", "TRIGGER")


class RoleRefused(ValueError):
    """This role cannot be the application's; the message says why."""


def statements(name: str) -> Iterator[sql.Composed]:
    """What makes a role the application's, also one that was given more before; harmless again."""
    refuse_wrong_name(name)
    role, schema, database = _names(name)
    if not _exists(name):
        yield sql.SQL(
            "CREATE ROLE {} LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE NOREPLICATION NOBYPASSRLS"
        ).format(role)
    yield sql.SQL("GRANT CONNECT, TEMPORARY ON DATABASE {} TO {}").format(database, role)
    yield sql.SQL("REVOKE CREATE ON SCHEMA {} FROM {}, PUBLIC").format(schema, role)
    yield sql.SQL("GRANT USAGE ON SCHEMA {} TO {}").format(schema, role)
    for table in _tables():
        named = sql.SQL("{}.{}").format(schema, sql.Identifier(table))
        rights = sql.SQL(RIGHTS.get(table, EVERYTHING))
        yield sql.SQL("REVOKE ALL ON {} FROM {}, PUBLIC").format(named, role)
        yield sql.SQL("GRANT {} ON {} TO {}").format(rights, named, role)
    # Whoever may not call it cannot have it write, with its owner's rights, for a table of theirs.
    function = sql.SQL("REVOKE EXECUTE ON FUNCTION {}.keep_row_change() FROM {}, PUBLIC")
    yield function.format(schema, role)


def refuse_wrong_name(name: str) -> None:
    """Raise RoleRefused for what is no name, for whoever owns the tables, and for superusers."""
    if not VALID.fullmatch(name):
        raise RoleRefused(
            f"{name!r} is no name for a role: use small letters, digits and underscores, such as "
            "fourbeat_app."
        )
    if name in _owners():
        raise RoleRefused(
            f"{name} owns the tables, so no right can be kept from it: name another role, and let "
            "web, worker and beat connect as that one."
        )
    if _is_superuser(name):
        raise RoleRefused(f"{name} is a superuser, from whom nothing can be kept: name another.")


def apply(name: str, password: str | None = None) -> None:
    """Make the role and give it its rights; with a password it may sign in from elsewhere."""
    with connection.cursor() as cursor:
        for statement in list(statements(name)):
            cursor.execute(statement.as_string(cursor.connection))
        if password:
            link = cursor.connection.pgconn
            secret = link.encrypt_password(password.encode(), name.encode(), b"scram-sha-256")
            change = sql.SQL("ALTER ROLE {} PASSWORD {}")
            stated = change.format(sql.Identifier(name), sql.Literal(secret.decode()))
            cursor.execute(stated.as_string(cursor.connection))


def what_it_may() -> list[str]:
    """What the role of this connection could do to the trail, in words; nothing is right."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        (name,) = cursor.fetchone()
        found = [f"{name} is a superuser"] if _is_superuser(name) else []
        found += [f"{name} owns the tables of the trail"] if name in _owners() else []
        for table in TRAIL:
            for right in FORBIDDEN:
                cursor.execute("SELECT has_table_privilege(%s, %s)", [table, right])
                if cursor.fetchone()[0]:
                    found.append(f"{name} has {right} on {table}")
    return found


def _names(role: str) -> list[sql.Identifier]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_schema(), current_database()")
        return [sql.Identifier(role), *map(sql.Identifier, cursor.fetchone())]


def _tables() -> list[str]:
    with connection.cursor() as cursor:
        tables = connection.introspection.get_table_list(cursor)
    return sorted(table.name for table in tables)


def _owners() -> set[str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT tableowner FROM pg_tables WHERE schemaname = current_schema() "
            "AND tablename = ANY(%s)",
            [list(TRAIL)],
        )
        return {owner for (owner,) in cursor.fetchall()}


def _exists(name: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s)", [name])
        return bool(cursor.fetchone()[0])


def _is_superuser(name: str) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT EXISTS (SELECT FROM pg_roles WHERE rolname = %s AND rolsuper)", [name]
        )
        return bool(cursor.fetchone()[0])
