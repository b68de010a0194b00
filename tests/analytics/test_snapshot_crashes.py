"""A killed worker, two builds at once, a full disk: real processes, and no half-written file."""

import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import timedelta
from io import StringIO
from pathlib import Path

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.core.management import call_command
from django.db import connection
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from analytics.datasets.building import (
    LEASE,
    SnapshotBusy,
    SnapshotFailed,
    build_next,
    build_snapshot,
)
from analytics.datasets.formats import FORMATS
from analytics.datasets.snapshots import directory_of, names_of_files, request_snapshot
from analytics.models import Snapshot
from ema.audit import COMMAND
from tests.analytics.answers import make_trial, make_user

pytestmark = pytest.mark.django_db(transaction=True)
SETTLED_S = 60
READY = "import django, sys; django.setup()\n"
HERE = """
from django.conf import settings
from django.db import connection
settings.SNAPSHOT_DIR = sys.argv[1]
connection.settings_dict["NAME"] = sys.argv[2]
"""
WORK = """
import time
from analytics.datasets.building import build_next
from django.utils import timezone
stopped = False
def say(name, size):
    global stopped
    if name == sys.argv[3] and not stopped:
        stopped = True
        print("here", flush=True)
        sys.stdin.readline()
build_next(timezone.now(), say)
"""
ASK = """
from django.core.management import CommandError, call_command
try:
    call_command("snapshot", "relief", "--format", sys.argv[3])
except CommandError as error:
    print(error)
    sys.exit(error.returncode)
"""
ALL = ",".join(FORMATS)


@pytest.fixture(autouse=True)
def place(settings: Settings, tmp_path: Path) -> Path:
    settings.SNAPSHOT_DIR = tmp_path / "snapshots"
    settings.SNAPSHOT_DIR.mkdir()
    return tmp_path / "snapshots"


@pytest.fixture
def snapshot() -> Snapshot:
    study = make_trial(n=4)
    return request_snapshot(study, COMMAND, "masked", timezone.now(), formats=list(FORMATS))


def process(place: Path, what: str, more: str, around: Sequence[str] = ()) -> subprocess.Popen[str]:
    """Another process on the database of the tests."""
    name = str(connection.settings_dict["NAME"])
    command = [*around, sys.executable, "-c", READY + HERE + what, str(place), name, more]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, text=True)


@contextmanager
def a_worker_stopped_at(name: str, place: Path) -> Iterator[subprocess.Popen[str]]:
    """A worker that holds the claim and is half through a file."""
    worker = process(place, WORK, name)
    assert worker.stdout is not None
    try:
        if worker.stdout.readline() != "here\n":
            pytest.fail(worker.communicate(timeout=SETTLED_S)[1])
        yield worker
    finally:
        if worker.poll() is None:
            worker.kill()
        worker.communicate(timeout=SETTLED_S)


def visible(place: Path) -> list[str]:
    """What is where snapshots are kept but for drafts, whose names begin with a dot."""
    return sorted(path.name for path in place.iterdir() if not path.name.startswith("."))


def everything(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in directory.rglob("*")
        if path.is_file()
    }


@pytest.mark.parametrize("name", ["data/prompts.csv", "data/prompts.dta", "provenance.json"])
def test_a_killed_worker_leaves_nothing_to_see_and_another_gives_the_same_bytes(
    name: str, place: Path, snapshot: Snapshot
) -> None:
    with a_worker_stopped_at(name, place) as worker:
        drafts = [path for path in place.iterdir() if path.name.startswith(".")]
        assert [(draft / name).exists() for draft in drafts] == [True]
        os.kill(worker.pid, signal.SIGKILL)
        assert worker.wait(SETTLED_S) == -signal.SIGKILL
    snapshot.refresh_from_db()
    assert (visible(place), names_of_files(snapshot), snapshot.built_at) == ([], [], None)
    client = Client()
    client.force_login(make_user("stat", snapshot.study, "statistician"))
    (told,) = client.get("/api/v1/studies/relief/snapshots/").json()
    assert (told["files"], told["failed_at"]) == ([], None)
    asked = f"/api/v1/studies/relief/snapshots/{snapshot.pk}/files/{name}"
    assert client.get(asked).status_code == 404

    now = timezone.now()
    assert build_next(now) is None  # whoever holds the claim may live
    assert build_next(now + LEASE + timedelta(seconds=1)) == snapshot
    snapshot.refresh_from_db()
    assert snapshot.built_at is not None
    assert [path.name for path in place.iterdir()] == [directory_of(snapshot).name]
    resumed = everything(directory_of(snapshot))
    shutil.rmtree(directory_of(snapshot))
    assert everything(build_snapshot(snapshot).directory) == resumed


def test_of_two_builds_at_once_one_works_and_the_other_says_so(
    place: Path, snapshot: Snapshot
) -> None:
    with a_worker_stopped_at("data/urine.sav", place) as worker:
        with pytest.raises(SnapshotBusy, match=r"is being built by another process\."):
            build_snapshot(snapshot, wait=False)
        snapshot.refresh_from_db()
        assert (snapshot.failed_at, snapshot.built_at) == (None, None)
        command = process(place, ASK, ALL)
        assert command.stderr is not None
        assert worker.stdin is not None
        said = command.stderr.readline()
        assert said.endswith("is being built by another process. Waiting until it is done.\n")
        worker.stdin.write("on\n")
        worker.stdin.flush()
        out, _ = command.communicate(timeout=SETTLED_S)
        assert worker.wait(SETTLED_S) == 0
    snapshot.refresh_from_db()
    assert command.returncode == 0
    assert f"SHA-256 of SHA256SUMS: {snapshot.sha256}" in out
    assert [path.name for path in place.iterdir()] == [directory_of(snapshot).name]
    assert Snapshot.objects.count() == 1


def on_a_small_disk(place: Path, kilobytes: int) -> list[str]:
    """What to put before a command so that it sees a full disk there; the others do not."""
    mount = f'mount -t tmpfs -o size={kilobytes}k tmpfs "{place}" && exec "$@"'
    return ["unshare", "--mount", "--map-root-user", "sh", "-c", mount, "sh"]


def may_mount() -> bool:
    """Only Linux with user namespaces, and not every sandbox of it."""
    with suppress(OSError):
        probe = [*on_a_small_disk(Path("/tmp"), 64), "true"]  # noqa: S108 - hidden, not written
        return subprocess.run(probe, capture_output=True, check=False).returncode == 0
    return False


@pytest.mark.skipif(not may_mount(), reason="no small disk can be mounted here")
@pytest.mark.parametrize("kilobytes", [8, 300])
def test_a_full_disk_is_said_in_words_and_the_snapshot_can_be_asked_for_again(
    kilobytes: int, place: Path
) -> None:
    make_trial(n=4)
    listed = '; code=$?; ls -A "$0"; exit $code'
    on = on_a_small_disk(place, kilobytes)
    around = [*on, "sh", "-c", f'"$@"{listed}', str(place)]
    command = process(place, ASK, ALL, around)
    out, err = command.communicate(timeout=SETTLED_S)
    said = "The disk is full: make room where snapshots are kept and request it again."
    assert (command.returncode, out) == (1, f"{said}\n"), err  # and nothing is left there
    failed = Snapshot.objects.get()
    assert (failed.failure, failed.built_at, names_of_files(failed)) == (said, None, [])
    call_command("snapshot", "relief", "--format", ALL, stdout=StringIO(), stderr=StringIO())
    assert Snapshot.objects.filter(built_at__isnull=False, failed_at=None).count() == 1
    assert len(visible(place)) == 1


def test_what_an_exception_says_is_not_kept_with_the_snapshot(
    snapshot: Snapshot, place: Path
) -> None:
    def say(name: str, size: int) -> None:
        raise ValueError("what somebody wrote")

    with pytest.raises(ValueError, match="what somebody wrote"):
        build_snapshot(snapshot, say)
    snapshot.refresh_from_db()
    assert snapshot.failure.startswith("Building broke (ValueError): ")
    assert "somebody wrote" not in snapshot.failure


def test_a_worker_that_may_not_go_on_says_what_to_do(snapshot: Snapshot, place: Path) -> None:
    def say(name: str, size: int) -> None:
        raise SoftTimeLimitExceeded  # as Celery does, six hours after the start

    with pytest.raises(SnapshotFailed, match="at most 6 hours, and this one took longer"):
        build_snapshot(snapshot, say)
    snapshot.refresh_from_db()
    assert "build it by manage.py snapshot, which has no limit" in snapshot.failure
    assert list(place.iterdir()) == []
