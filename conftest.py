"""Tests run on real servers of their own: data in `.data/test`, or DATABASE_URL and REDIS_URL.

This file is read before Django reads its settings. Each run has a database named after its
process, so that two runs at once do not meet; what a killed run left is dropped by the next.
"""

import os
from pathlib import Path

STATE_DIR = Path(__file__).resolve().parent / ".data" / "test"
os.environ.setdefault("FOURBEAT_STATE_DIR", str(STATE_DIR))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ema.settings")
os.environ.setdefault("MFA_REQUIRED", "off")  # also with servers of one's own
PREFIX = "test_fourbeat_"


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
