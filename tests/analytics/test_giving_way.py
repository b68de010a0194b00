"""A build of a snapshot gives way to uploads, and leaves the process as it was."""

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from django.db import connection
from django.utils import timezone
from pytest_django import Settings

from analytics.datasets.building import build_snapshot
from analytics.datasets.giving_way import EVERY_S, giving_way
from analytics.datasets.snapshots import request_snapshot
from ema.audit import COMMAND
from tests.analytics.answers import make_trial


@pytest.fixture(autouse=True)
def quiet_alarm() -> Iterator[None]:
    """Every test begins and ends without an alarm."""
    assert state() == (signal.SIG_DFL, 0.0)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0)
    signal.signal(signal.SIGALRM, signal.SIG_DFL)


def state() -> tuple[object, float]:
    """Who answers the alarm, and how often it goes off."""
    return signal.getsignal(signal.SIGALRM), signal.getitimer(signal.ITIMER_REAL)[1]


def test_the_alarm_goes_off_in_the_block_and_never_after_it() -> None:
    with giving_way():
        assert state()[1] == pytest.approx(EVERY_S)
        time.sleep(0.05)  # a hundred alarms; without an answer the first would end the process
    assert state() == (signal.SIG_DFL, 0.0)


def test_the_alarm_stops_when_a_build_fails() -> None:
    with pytest.raises(OSError, match="disk"), giving_way():
        raise OSError("the disk is full")
    assert state() == (signal.SIG_DFL, 0.0)


@pytest.mark.django_db
def test_the_database_is_read_through_alarms() -> None:
    with giving_way(), connection.cursor() as cursor:
        statement = "COPY (SELECT i FROM generate_series(1, 200000) AS i) TO STDOUT"
        with cursor.copy(statement) as rows:
            read = sum(len(bytes(row).split()) for row in rows)
        cursor.execute("SELECT pg_sleep(0.05)")
    assert read == 200_000


@pytest.mark.django_db(transaction=True)
def test_a_build_gives_way_while_it_writes(settings: Settings, tmp_path: Path) -> None:
    settings.SNAPSHOT_DIR = tmp_path
    snapshot = request_snapshot(make_trial(), COMMAND, "masked", timezone.now())
    heard = []
    build_snapshot(snapshot, lambda *_: heard.append(state()[1]))
    assert heard
    assert heard == [pytest.approx(EVERY_S)] * len(heard)
    assert state() == (signal.SIG_DFL, 0.0)


def test_a_thread_sets_no_alarm() -> None:
    def build() -> tuple[object, float]:
        with giving_way():
            return state()

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(build).result() == (signal.SIG_DFL, 0.0)


def test_somebody_elses_alarm_is_left_alone() -> None:
    rung = []
    signal.signal(signal.SIGALRM, lambda *_: rung.append(1))
    signal.setitimer(signal.ITIMER_REAL, 0.01)
    with giving_way():
        time.sleep(0.05)
    assert rung == [1]
