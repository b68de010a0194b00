"""Nothing that was acknowledged is lost, whatever is killed while phones upload."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psycopg
import pytest
from django.conf import settings

from ema import embedded, phones, stack
from ema.embedded import Addresses

pytestmark = pytest.mark.flow

PHONES = 6
KILLS = 3
BETWEEN_KILLS = 60
"""Responses that are acknowledged before each kill, and after the last."""
PATIENCE_S = 60.0
PREPARE = f"""
from datetime import timedelta
from django.core.management import call_command
from django.utils import timezone
from ema import audit, enrolment
from tests import trial
call_command("migrate", verbosity=0)
now = timezone.now()
study = trial.make_study(prompts_per_day=12)
for number in range({PHONES}):
    participant = trial.enrol(study, f"S1-{{number:03}}", "UTC", now - timedelta(days=7))
    print("code:", enrolment.issue_code(participant=participant, now=now, actor=audit.COMMAND))
call_command("plan")
"""


@pytest.fixture
def addresses(tmp_path: Path) -> Iterator[Addresses]:
    """Embedded servers of this test's own: they are killed, and must come back by themselves."""
    state = tmp_path / "state of its own"
    yield embedded.ensure(state)
    assert embedded.stop_and_wait(state)


def manage(addresses: Addresses, *arguments: str) -> str:
    command = [sys.executable, str(Path(settings.BASE_DIR) / "manage.py"), *arguments]
    ended = subprocess.run(
        command,
        env={**os.environ, "FOURBEAT_STATE_DIR": str(addresses.state)},
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


def test_no_acknowledged_response_is_lost_when_postgresql_is_killed(addresses: Addresses) -> None:
    said = manage(addresses, "shell", "-c", PREPARE).splitlines()
    codes = [line.split()[1] for line in said if line.startswith("code:")]
    acknowledged: list[str] = []
    enough = threading.Event()

    with (
        stack.web(environ={"FOURBEAT_STATE_DIR": str(addresses.state)}) as url,
        phones.connect(url) as http,
        ThreadPoolExecutor(PHONES) as pool,
    ):
        uploads = [
            pool.submit(upload_until, enough, hasty(http), code, acknowledged) for code in codes
        ]
        try:
            for _ in range(KILLS):
                wait_for_more(acknowledged)
                os.kill(postmaster(addresses), signal.SIGKILL)
            wait_for_more(acknowledged)
        finally:
            enough.set()
        for upload in uploads:
            upload.result()

    with psycopg.connect(addresses.database_url) as connection:
        stored = {str(each) for (each,) in connection.execute("SELECT id FROM ema_response")}
    assert set(acknowledged) == stored
    assert len(acknowledged) == len(stored)


def hasty(http: httpx.Client) -> phones.Phone:
    """A phone that tries again often, so that most uploads meet an outage."""
    return phones.Phone(http, patience=phones.Patience(200, sleep=lambda _: time.sleep(0.1)))


def upload_until(
    enough: threading.Event, phone: phones.Phone, code: str, acknowledged: list[str]
) -> None:
    """Answer and upload, five at a time, through every outage; note what was acknowledged."""
    phone.redeem(code)
    week_ago = datetime.now(UTC) - timedelta(days=7)
    [card, *_] = phone.sync(since=week_ago)
    while not enough.is_set():
        sent = [phone.answer(card, {"stress": 50, "craving": 20}, card.due_at) for _ in range(5)]
        done = phone.upload()
        assert set(done) <= {"created", "duplicate"}
        acknowledged += sent


def wait_for_more(acknowledged: list[str]) -> None:
    """Until so many more are acknowledged that uploads are under way again."""
    wanted, deadline = len(acknowledged) + BETWEEN_KILLS, time.monotonic() + PATIENCE_S
    while len(acknowledged) < wanted:
        assert time.monotonic() < deadline, f"{PATIENCE_S:.0f} s, and {len(acknowledged)} uploaded"
        time.sleep(0.02)


def postmaster(addresses: Addresses) -> int:
    """The pid of the PostgreSQL that runs now: the last one may just have been replaced."""
    for _ in range(100):
        try:
            return int((addresses.state / "postgres" / "postmaster.pid").read_text().split()[0])
        except (FileNotFoundError, IndexError):
            time.sleep(0.1)
    raise AssertionError("PostgreSQL did not come back within 10 s")
