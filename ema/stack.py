"""Run the parts of the product as child processes of one machine: web, worker, beat.

`manage.py serve` keeps all of them up; demo, replay and tests start what they need. Children are
started through `manage.py`, like anywhere else, and are stopped in the reverse order.
"""

import errno
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

import httpx
from django.conf import settings

from ema.embedded_processes import end_with

STOP_WITHIN_S = 15.0
START_WITHIN_S = 60.0
LARGEST_LOG = 10_000_000  # bytes; a longer one is put aside at the next start


class StackError(Exception):
    """A part did not start, or ended; the message says which and shows its last words."""


@dataclass(frozen=True)
class Part:
    """A child process and its log."""

    name: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def last_words(self, lines: int = 15) -> str:
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


def start_part(name: str, *arguments: str, environ: Mapping[str, str] | None = None) -> Part:
    """Start `manage.py ARGUMENTS`, logging to `<state>/log/<name>.log`."""
    log = Path(settings.STATE_DIR) / "log" / f"{name}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(settings.BASE_DIR / "manage.py"), *arguments]
    if log.exists() and log.stat().st_size > LARGEST_LOG:
        log.rename(log.with_suffix(".log.old"))
    with log.open("ab") as out:
        process = subprocess.Popen(  # noqa: S603 - our own command line
            command,
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environ or {})},
            start_new_session=True,
            preexec_fn=partial(end_with, os.getpid(), signal.SIGTERM),  # noqa: PLW1509
        )
    return Part(name, process, log)


def stop_part(part: Part) -> None:
    """Ask, then insist: the part and everything it started are gone afterwards."""
    if part.process.poll() is None:
        part.process.terminate()
        with suppress(subprocess.TimeoutExpired):
            part.process.wait(STOP_WITHIN_S)
    with suppress(ProcessLookupError):  # what a killed part left behind, or it itself
        os.killpg(part.process.pid, signal.SIGKILL)
    part.process.wait()


@contextmanager
def running(*parts: Part) -> Iterator[None]:
    """Keep parts for the length of a block, and stop them in the reverse order."""
    try:
        yield
    finally:
        for part in reversed(parts):
            stop_part(part)


def free_port(host: str = "127.0.0.1") -> int:
    with socket.socket() as probe:
        probe.bind((host, 0))
        return int(probe.getsockname()[1])


def refuse_unusable_port(host: str, port: int) -> None:
    """StackError where a server cannot listen, saying why."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                raise StackError(
                    f"Port {port} of {host} is in use, perhaps by another demo or server: open "
                    f"http://{host}:{port}/, or name another with --port."
                ) from error
            raise StackError(
                f"Nothing can listen on {host}, port {port} ({error.strerror}): name an address "
                "of this machine with --host, and a port that this user may open."
            ) from error


def wait_for_web(part: Part, url: str) -> None:
    """Until `/health/live` answers, or StackError with what the web process said."""
    deadline = time.monotonic() + START_WITHIN_S
    with httpx.Client(timeout=2) as client:  # one: each reads all certificates of the machine
        while time.monotonic() < deadline:
            if part.process.poll() is not None:
                raise StackError(f"The web process ended at once:\n{part.last_words()}")
            try:
                if client.get(f"{url}/health/live").status_code == httpx.codes.OK:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.1)
    raise StackError(f"{url} did not answer within {START_WITHIN_S:.0f} s:\n{part.last_words()}")


@contextmanager
def web(
    host: str = "127.0.0.1",
    port: int = 0,
    workers: int = 1,
    threads: int = 1,
    environ: Mapping[str, str] | None = None,
) -> Iterator[str]:
    """A web server of our own for the length of a block; its address."""
    port = port or free_port(host)
    with running(start_web(host, port, workers, threads, environ)):
        yield f"http://{host}:{port}"


def start_web(
    host: str,
    port: int,
    workers: int = 1,
    threads: int = 1,
    environ: Mapping[str, str] | None = None,
) -> Part:
    """A web server that answers already."""
    refuse_unusable_port(host, port)
    numbers = {"--port": port, "--workers": workers, "--threads": threads}
    options = [text for name, number in numbers.items() for text in (name, str(number))]
    part = start_part(f"web-{port}", "web", "--host", host, *options, environ=environ)
    with ExitStack() as undo:
        undo.callback(stop_part, part)
        wait_for_web(part, f"http://{host}:{port}")
        undo.pop_all()
    return part


def start_worker(environ: Mapping[str, str] | None = None) -> Part:
    """A Celery worker that plans, couples and builds snapshots."""
    return start_part("worker", "worker", environ=environ)


def start_dispatcher(environ: Mapping[str, str] | None = None) -> Part:
    """A Celery worker for delivery alone, so that nothing delays it."""
    return start_part("dispatcher", "worker", "--queues", "delivery", environ=environ)


def start_beat(environ: Mapping[str, str] | None = None) -> Part:
    return start_part("beat", "beat", environ=environ)


JOBS = (start_worker, start_dispatcher, start_beat)


@contextmanager
def jobs(environ: Mapping[str, str] | None = None) -> Iterator[list[Part]]:
    """All of Celery for the length of a block."""
    parts = [start(environ) for start in JOBS]
    with running(*parts):
        yield parts


@contextmanager
def stopped_in_order() -> Iterator[None]:
    """Let SIGTERM and Ctrl-C end the block alike, so that the parts are stopped.

    A shell starts background jobs with SIGINT ignored; here it always counts.
    """

    def stop(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = {each: signal.signal(each, stop) for each in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
