"""Tests run on real servers of their own: data in `.data/test`, or DATABASE_URL and REDIS_URL.

This file is read before Django reads its settings.
"""

import os
from pathlib import Path

STATE_DIR = Path(__file__).resolve().parent / ".data" / "test"
os.environ.setdefault("FOURBEAT_STATE_DIR", str(STATE_DIR))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "ema.settings")


def pytest_configure() -> None:
    from ema import embedded

    embedded.ensure_where_unset(os.environ["FOURBEAT_STATE_DIR"])
