"""Keeps the embedded servers running, and makes sure that nothing of them is ever left over.

Everything here rests on locks that the kernel drops when a process ends, however it ends:

- `supervisor`: held by the one supervisor of a state directory;
- `<server>.clients`: shared by every process that uses the server; who can take it alone knows
  that nobody does;
- `<server>.running`: handed down to the server and all its child processes; who can take it knows
  that no process of an earlier server is alive.
"""

import contextlib
import fcntl
import json
import logging
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import FrameType

from ema.embedded_processes import launch
from ema.embedded_servers import Addresses, EmbeddedServersError, Server, tail, user_name

STOP_PATIENCE = 30.0  # seconds an orderly shutdown may take before it is forced
FAILED_STARTS_ALLOWED = 5
LONGEST_PAUSE = 10.0  # seconds between two attempts to start a server that keeps ending

log = logging.getLogger(__name__)


class FileLock:
    """A lock on a file that the kernel drops when the last process holding it ends."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def take_alone(self) -> bool:
        return self._take(fcntl.LOCK_EX)

    def take_shared(self) -> bool:
        return self._take(fcntl.LOCK_SH)

    def _take(self, kind: int) -> bool:
        try:
            fcntl.flock(self.descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def drop(self) -> None:
        fcntl.flock(self.descriptor, fcntl.LOCK_UN)

    def close(self) -> None:
        """Let go of this process's hold only: processes that inherited the lock keep it."""
        os.close(self.descriptor)

    def is_in_place(self) -> bool:
        """Whether the file is still the one at its path, and not deleted or replaced."""
        try:
            return os.path.samestat(os.fstat(self.descriptor), self.path.stat())
        except OSError:
            return False

    def note(self, facts: dict[str, int | bool]) -> None:
        os.ftruncate(self.descriptor, 0)
        os.pwrite(self.descriptor, json.dumps(facts).encode(), 0)

    def facts(self) -> dict[str, int | bool]:
        """What the last holder noted; only worth believing while somebody holds the lock."""
        try:
            return dict(json.loads(os.pread(self.descriptor, 1000, 0)))
        except ValueError:
            return {}


class Watch:
    """One server, started, restarted and stopped as it is needed."""

    def __init__(self, server: Server, addresses: Addresses, keep: bool) -> None:
        self.server = server
        self.addresses = addresses
        self.keep = keep  # run it even while nobody uses it
        self.clients = FileLock(addresses.lock(f"{server.name}.clients"))
        self.process: subprocess.Popen[bytes] | None = None
        self.ready = False
        self.started_at = 0.0
        self.next_start = 0.0
        self.pause = 0.1
        self.failed_starts = 0
        self.leftovers_since: float | None = None

    def step(self) -> bool:
        """Do what is due now; true while the server is in use."""
        if not self.keep and self.clients.take_alone():
            # A newcomer waits for this lock, so it never meets a server that is going down.
            self.ask_to_stop()
            self.finish_stopping()
            self.clients.drop()
            return False
        self._notice_an_end()
        if self.process is None:
            if time.monotonic() >= self.next_start:
                self._start()
        elif not self.ready and self.server.settle():
            self.ready, self.failed_starts = True, 0
            log.info("%s is ready (process %d)", self.server.name, self.process.pid)
        return True

    def _notice_an_end(self) -> None:
        if self.process is None or self.process.poll() is None:
            return
        code, lived = self.process.returncode, time.monotonic() - self.started_at
        self.failed_starts += not self.ready
        self.process, self.ready = None, False
        if self.failed_starts >= FAILED_STARTS_ALLOWED:
            log_tail = tail(self.addresses.log(self.server.name))
            raise EmbeddedServersError(f"{self.server.name} does not start.{log_tail}")
        self.pause = 0.1 if lived > 60 else min(2 * self.pause, LONGEST_PAUSE)
        self.next_start = time.monotonic() + self.pause
        log.warning(
            "%s ended by itself (code %d); starting it again in %.1f s",
            self.server.name,
            code,
            self.pause,
        )

    def _start(self) -> None:
        running = FileLock(self.addresses.lock(f"{self.server.name}.running"))
        try:
            if not running.take_alone():
                self._wait_for_leftovers(running)
                return
            self.leftovers_since = None
            make_socket_directory(self.addresses.sockets)
            self.server.prepare(self._launcher(running))
            self.process = self._launcher(running)(self.server.command())
            self.started_at = time.monotonic()
            running.note({"pid": self.process.pid})
        finally:
            running.close()  # the server has inherited it

    def _launcher(self, running: FileLock) -> Callable[[list[str | Path]], subprocess.Popen[bytes]]:
        return lambda command: launch(command, self.server, self.addresses, running.descriptor)

    def _wait_for_leftovers(self, running: FileLock) -> None:
        """Processes of a server whose supervisor was killed are ending, or are made to."""
        now = time.monotonic()
        if self.leftovers_since is None:
            self.leftovers_since = now
            log.info("waiting for processes of an earlier %s to end", self.server.name)
            if sys.platform != "linux":  # there the kernel has told them already
                with contextlib.suppress(KeyError, ProcessLookupError, PermissionError):
                    os.kill(int(running.facts()["pid"]), self.server.stop_signals[0])
        elif now - self.leftovers_since > STOP_PATIENCE:
            raise EmbeddedServersError(
                f"An earlier {self.server.name} in {self.addresses.state} does not end "
                f"(process {running.facts().get('pid')}). Stop it, then start again."
            )
        self.next_start = now + 0.1

    def ask_to_stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(self.server.stop_signals[0])

    def finish_stopping(self) -> None:
        """Wait for the end, insisting more and more."""
        if self.process is None:
            return
        for harder in self.server.stop_signals[1:]:
            try:
                self.process.wait(STOP_PATIENCE)
            except subprocess.TimeoutExpired:
                log.warning("%s does not stop; sending it %s", self.server.name, harder.name)
                self.process.send_signal(harder)
        self.process.wait()
        log.info("%s has stopped", self.server.name)
        self.process, self.ready, self.next_start = None, False, 0.0


class Supervisor:
    """Runs servers until told to stop, or until nobody uses them."""

    def __init__(self, addresses: Addresses, servers: Sequence[Server], until_unused: bool) -> None:
        self.addresses = addresses
        self.until_unused = until_unused
        self.told_to_stop = False
        self.watches = [Watch(server, addresses, keep=not until_unused) for server in servers]

    def run(self) -> None:
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, self._stop_soon)
        with claim(self.addresses, self.until_unused) as lock:
            try:
                while self._still_wanted(lock):
                    in_use = [watch.step() for watch in self.watches]
                    if not any(in_use):
                        return
                    settled = all(watch.ready for watch in self.watches)
                    time.sleep(0.25 if settled else 0.05)
            finally:
                self._stop()

    def _stop_soon(self, number: int, frame: FrameType | None) -> None:
        self.told_to_stop = True

    def _still_wanted(self, lock: FileLock) -> bool:
        """Not after a signal, nor when the state directory has been deleted underneath."""
        return not self.told_to_stop and lock.is_in_place()

    def _stop(self) -> None:
        for watch in self.watches:
            watch.ask_to_stop()
        for watch in self.watches:
            watch.finish_stopping()
        with contextlib.suppress(OSError):
            self.addresses.sockets.rmdir()


@contextlib.contextmanager
def claim(addresses: Addresses, until_unused: bool) -> Iterator[FileLock]:
    """Be the only supervisor of the state directory, or say politely that one is there already.

    The short patience is for one that is just leaving and for a passing look at the lock.
    """
    lock = FileLock(addresses.lock("supervisor"))
    patience = time.monotonic() + 1
    while not lock.take_alone():
        if time.monotonic() > patience:
            raise AlreadyRunningError(addresses, lock.facts())
        time.sleep(0.05)
    lock.note({"pid": os.getpid(), "until_unused": until_unused})
    try:
        yield lock
    finally:
        lock.close()


class AlreadyRunningError(EmbeddedServersError):
    """Another supervisor serves this state directory."""

    def __init__(self, addresses: Addresses, facts: dict[str, int | bool]) -> None:
        self.pid = facts.get("pid")
        ending = (
            "It stops by itself when the last process that uses it ends."
            if facts.get("until_unused")
            else "Stop it with Ctrl-C where it was started, or with kill."
        )
        super().__init__(
            f"The embedded servers of {addresses.state} already run (supervisor: process "
            f"{self.pid}): PostgreSQL at {addresses.database_url}, Valkey at "
            f"{addresses.redis_url}. Use them as they are. {ending}"
        )


def prepare_state_directory(addresses: Addresses) -> None:
    """Make the state directory, closed to everybody else, or say why it cannot be used."""
    state = addresses.state
    try:
        state.mkdir(mode=0o700, parents=True, exist_ok=True)
        owner = state.stat().st_uid
        if owner != os.geteuid():
            raise EmbeddedServersError(
                f"The state directory {state} belongs to {user_name(owner)}, and this is "
                f"{user_name(os.geteuid())}. Run as {user_name(owner)}, or choose another."
            )
        state.chmod(0o700)
        for name in ("log", "locks"):
            (state / name).mkdir(mode=0o700, exist_ok=True)
        FileLock(addresses.lock("supervisor")).close()
    except OSError as error:
        raise EmbeddedServersError(
            f"The state directory {state} cannot be written ({error.strerror}: "
            f"{error.filename}). Choose another one, or set DATABASE_URL and REDIS_URL."
        ) from error


def make_socket_directory(directory: Path) -> None:
    """Make the directory of the sockets; refuse one that somebody else has put in its place."""
    with contextlib.suppress(FileExistsError):
        directory.mkdir(mode=0o700)
    status = directory.lstat()
    ours = stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid()
    if not ours or stat.S_IMODE(status.st_mode) != 0o700:
        raise EmbeddedServersError(
            f"{directory} is not a directory that only {user_name(os.geteuid())} can enter, so the "
            "servers are not put there. Find out who made it, and remove it."
        )
