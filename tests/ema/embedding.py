"""Processes that use embedded servers, and what can be seen of them from outside."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ema import embedded
from ema.embedded import Addresses

countable = pytest.mark.skipif(
    not Path("/proc/self/cwd").exists(), reason="counts processes through /proc"
)
PROJECT = Path(__file__).resolve().parents[2]
# A process that uses the servers until its standard input closes.
CLIENT = """
import sys
from ema.embedded import EmbeddedServersError, ensure_where_unset
try:
    ensure_where_unset(sys.argv[1])
except EmbeddedServersError as error:
    sys.exit(str(error))
print("ready", flush=True)
sys.stdin.read()
"""
ONLY_VALKEY = {"DATABASE_URL": "postgresql://elsewhere/fourbeat"}


@contextlib.contextmanager
def state_of_its_own(directory: Path) -> Iterator[Path]:
    """A state directory in a path with spaces; whatever a failed test leaves running is ended."""
    state = directory / "a state directory"
    yield state
    embedded.release(state)
    for pid in processes_of(state):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(Addresses.of(state).sockets, ignore_errors=True)


def environment(extra: dict[str, str] | None = None) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.endswith("_URL")}
    return {**kept, "PYTHONPATH": str(PROJECT), **(extra or {})}


def run(
    command: list[str], extra: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=environment(extra),
        cwd="/",
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def short_client(state: Path) -> list[str]:
    return [sys.executable, "-c", CLIENT, str(state)]


def start_client(state: Path, extra: dict[str, str] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        short_client(state),
        env=environment(extra),
        cwd="/",
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def answer_of(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    assert process.stderr is not None
    answer: str = process.stdout.readline().strip() or process.stderr.read()
    return answer


def end(process: subprocess.Popen[str]) -> None:
    process.communicate(timeout=20)


@contextlib.contextmanager
def client(state: Path, extra: dict[str, str] | None = None) -> Iterator[subprocess.Popen[str]]:
    """Another process that uses the servers inside the `with` block."""
    process = start_client(state, extra)
    try:
        answer = answer_of(process)
        assert answer == "ready", answer
        yield process
    finally:
        end(process)


def supervisor_command(state: Path) -> list[str]:
    return [sys.executable, "-m", "ema.embedded", "--state", str(state)]


def run_supervisor(state: Path, extra: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return run(supervisor_command(state), extra)


@contextlib.contextmanager
def foreground(
    state: Path, extra: dict[str, str] | None = None
) -> Iterator[subprocess.Popen[bytes]]:
    """A supervisor such as a person starts, ready to serve."""
    process = subprocess.Popen(
        supervisor_command(state), env=environment(extra), cwd="/", stderr=subprocess.DEVNULL
    )
    try:
        wait_until(lambda: value(state, "anything") is None)
        yield process
    finally:
        process.terminate()
        process.wait(20)


def query(state: Path, statement: str) -> object:
    """The one value of a statement, or None while PostgreSQL is not there."""
    try:
        with psycopg.connect(Addresses.of(state).database_url) as connection:
            row = connection.execute(statement.encode()).fetchone()
    except psycopg.OperationalError:
        return None
    return row[0] if row else None


def execute(state: Path, *statements: str) -> None:
    with psycopg.connect(Addresses.of(state).database_url) as connection:
        for statement in statements:
            connection.execute(statement.encode())


def valkey(state: Path) -> redis.Redis:
    socket = str(Addresses.of(state).valkey_socket)
    once = Retry(NoBackoff(), retries=0)
    return redis.Redis(unix_socket_path=socket, decode_responses=True, retry=once)


def value(state: Path, key: str) -> str | None:
    """The value of a key; a word of its own while Valkey is not there."""
    try:
        with valkey(state) as server:
            answer: str | None = server.get(key)
            return answer
    except redis.RedisError:
        return "not there"


def supervisor_of(state: Path) -> int:
    return int(json.loads((state / "locks" / "supervisor").read_text())["pid"])


def postmaster_of(state: Path) -> int:
    return int((state / "postgres" / "postmaster.pid").read_text().splitlines()[0])


def processes_of(state: Path) -> set[int]:
    """The supervisor and every process of the servers, whatever they call themselves."""
    sockets = str(Addresses.of(state).sockets)
    found = set()
    for number in filter(str.isdigit, (each.name for each in os.scandir("/proc"))):
        with contextlib.suppress(OSError):
            command = Path(f"/proc/{number}/cmdline").read_bytes().decode(errors="replace")
            home = Path(f"/proc/{number}/cwd").readlink()
            ours = "--until-unused" in command and str(state) in command
            if ours or sockets in command or f"{home}/".startswith(f"{state}/"):
                found.add(int(number))
    return found


def assert_nothing_is_left(state: Path) -> None:
    with contextlib.suppress(TimeoutError):
        wait_until(lambda: not processes_of(state))
    assert not processes_of(state)
    assert not Addresses.of(state).sockets.exists()


def wait_until(condition: Callable[[], bool], seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError
        time.sleep(0.02)
