"""Nothing that was acknowledged is lost, whatever is killed while phones upload."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pytest
from django.conf import settings

from ema import embedded, phones, stack
from ema.embedded import Addresses

pytestmark = pytest.mark.flow

PHONES = 6
UPLOAD_FOR_S = 12.0
KILLS = 3
ENROL = f"""
from datetime import timedelta
from django.utils import timezone
from ema import audit, enrolment
from tests import trial
now = timezone.now()
study = trial.make_study(prompts_per_day=12)
for number in range({PHONES}):
    participant = trial.enrol(study, f"S1-{{number:03}}", "UTC", now - timedelta(days=7))
    print("code:", enrolment.issue_code(participant=participant, now=now, actor=audit.COMMAND))
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
    manage(addresses, "migrate")
    codes = [
        line.split()[1]
        for line in manage(addresses, "shell", "-c", ENROL).splitlines()
        if line.startswith("code:")
    ]
    manage(addresses, "plan")

    with (
        stack.web(environ={"FOURBEAT_STATE_DIR": str(addresses.state)}) as url,
        phones.connect(url) as http,
        ThreadPoolExecutor(PHONES) as pool,
    ):
        uploads = [pool.submit(upload_until_later, phones.Phone(http), code) for code in codes]
        for _ in range(KILLS):
            time.sleep(UPLOAD_FOR_S / (KILLS + 1))
            os.kill(postmaster(addresses), signal.SIGKILL)
        acknowledged = [each for upload in uploads for each in upload.result()]

    with psycopg.connect(addresses.database_url) as connection:
        stored = {str(each) for (each,) in connection.execute("SELECT id FROM ema_response")}
    assert len(acknowledged) > 200
    assert set(acknowledged) == stored
    assert len(acknowledged) == len(stored)


def upload_until_later(phone: phones.Phone, code: str) -> list[str]:
    """Answer and upload, five at a time, through every outage; the ids that were acknowledged."""
    phone.redeem(code)
    week_ago = datetime.now(UTC) - timedelta(days=7)
    [card, *_] = phone.sync(since=week_ago)
    acknowledged = []
    deadline = time.monotonic() + UPLOAD_FOR_S
    while time.monotonic() < deadline:
        sent = [phone.answer(card, {"stress": 50, "craving": 20}, card.due_at) for _ in range(5)]
        done = phone.upload()
        assert set(done) <= {"created", "duplicate"}
        acknowledged += sent
    return acknowledged


def postmaster(addresses: Addresses) -> int:
    """The pid of the PostgreSQL that runs now: the last one may just have been replaced."""
    for _ in range(100):
        try:
            return int((addresses.state / "postgres" / "postmaster.pid").read_text().split()[0])
        except (FileNotFoundError, IndexError):
            time.sleep(0.1)
    raise AssertionError("PostgreSQL did not come back within 10 s")
