"""Tests run on real servers of their own: data in `.data/test`, or DATABASE_URL and REDIS_URL.

This file is read before Django reads its settings. Each run has a database named after its
process, so that two runs at once do not meet; what a killed run left is dropped by the next.
It is a copy of one that was migrated before, while no migration changes: rendering the models of
each migration takes Django longer than PostgreSQL takes for the tables.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pytest_django.plugin import DjangoDbBlocker

ROOT = Path(__file__).resolve().parent
STATE_DIR = ROOT / ".data" / "test"
os.environ.setdefault("FOURBEAT_STATE_DIR", str(STATE_DIR))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ema.settings")
os.environ.setdefault("MFA_REQUIRED", "off")  # also with servers of one's own
PREFIX, MIGRATED = "test_fourbeat_", "migrated_fourbeat_"


def pytest_configure() -> None:
    import django
    from django.conf import settings

    from ema import embedded

    embedded.ensure_where_unset(os.environ["FOURBEAT_STATE_DIR"])
    database = settings.DATABASES["default"]
    database.setdefault("TEST", {})["NAME"] = f"{PREFIX}{os.getpid()}"
    django.setup()
    if settings.LOCAL:
        drop_what_killed_runs_left()


def drop_what_killed_runs_left() -> None:
    import psycopg
    from django.conf import settings
    from psycopg import sql

    with psycopg.connect(settings.ADDRESSES.database_url, autocommit=True) as connection:
        named = connection.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [PREFIX]
        ).fetchall()
        for (name,) in named:
            if not process_lives(name.removeprefix(PREFIX).partition("_")[0]):
                drop = sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)")
                connection.execute(drop.format(sql.Identifier(name)))


def process_lives(pid: str) -> bool:
    try:
        os.kill(int(pid), 0)
    except (ProcessLookupError, ValueError):
        return False
    except PermissionError:
        pass
    return True


@pytest.fixture(scope="session")
def django_db_modify_db_settings(
    django_db_modify_db_settings: None, django_db_blocker: DjangoDbBlocker
) -> None:
    """Where the servers are our own, the run's database is a copy of a migrated one."""
    from django.conf import settings
    from django.db import connection

    if settings.LOCAL:
        with django_db_blocker.unblock():
            connection.settings_dict["TEST"]["TEMPLATE"] = migrated()


def migrated() -> str:
    """A database of this schema; whoever needs it first makes it, and drops the last schema's."""
    import psycopg
    from django.conf import settings
    from psycopg import sql

    name = MIGRATED + schema()
    with psycopg.connect(settings.ADDRESSES.database_url, autocommit=True) as connection:
        connection.execute("SELECT pg_advisory_lock(hashtext(%s))", [MIGRATED])
        named = connection.execute(
            "SELECT datname FROM pg_database WHERE starts_with(datname, %s)", [MIGRATED]
        ).fetchall()
        if (name,) in named:
            return name
        draft = sql.Identifier(MIGRATED + "draft")
        for (old,) in named:
            connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(old)))
        connection.execute(sql.SQL("CREATE DATABASE {}").format(draft))
        migrate(MIGRATED + "draft")
        rename = sql.SQL("ALTER DATABASE {} RENAME TO {}")
        connection.execute(rename.format(draft, sql.Identifier(name)))
    return name


def schema() -> str:
    """What migrations do: their files, the triggers that they import, the packages pinned."""
    files = [*ROOT.glob("*/migrations/*.py"), *ROOT.glob("*/*_trigger.py")]
    found = hashlib.sha256((ROOT / "requirements.txt").read_bytes())
    for file in sorted(files):
        found.update(str(file.relative_to(ROOT)).encode() + b"\0" + file.read_bytes())
    return found.hexdigest()[:16]


def migrate(name: str) -> None:
    from django.core.management import call_command

    with connected_to(name):
        call_command("migrate", verbosity=0, interactive=False)


@contextmanager
def connected_to(name: str) -> Iterator[None]:
    from django.db import connection

    before = connection.settings_dict["NAME"]
    connection.close()
    connection.settings_dict["NAME"] = name
    try:
        yield
    finally:
        connection.close()
        connection.settings_dict["NAME"] = before
