"""PostgreSQL and Valkey for one machine, started when nobody has named a server.

With `DATABASE_URL` and `REDIS_URL` unset, the doors of the project (manage.py, web server, Celery,
tests) call `ensure_where_unset()` once. The first process to ask starts a supervisor in the
background, the others share its servers, and they stop when the last process that asked has ended,
however it ended. `python -m ema.embedded` runs the same servers in the foreground.

    ema.embedded             the doors: ensure, release, stop_and_wait, the command line
    ema.embedded_supervisor  keeps the servers running, and leaves nothing behind
    ema.embedded_processes   starts their programs
    ema.embedded_servers     what the two servers are, and where
"""

import argparse
import logging
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from ema.embedded_servers import Addresses, EmbeddedServersError, Postgres, Server, Valkey, tail
from ema.embedded_supervisor import (
    AlreadyRunningError,
    FileLock,
    Supervisor,
    prepare_state_directory,
)

__all__ = [
    "Addresses",
    "EmbeddedServersError",
    "ensure",
    "ensure_where_unset",
    "release",
    "stop_and_wait",
]

PROJECT = Path(__file__).resolve().parent.parent
DEFAULT_STATE = Path(os.environ.get("FOURBEAT_STATE_DIR") or PROJECT / ".data").expanduser()
log = logging.getLogger("ema.embedded")

VARIABLES = {"postgres": "DATABASE_URL", "valkey": "REDIS_URL"}

# What this process uses, by lock file. Open for as long as the process lives, and in processes
# forked from it.
_held: dict[Path, FileLock] = {}
# Supervisors this process has started, kept so that their end is noticed.
_started: list[subprocess.Popen[bytes]] = []


def ensure_where_unset(
    state_dir: Path | str = DEFAULT_STATE, environ: Mapping[str, str] = os.environ
) -> Addresses:
    """Have PostgreSQL unless DATABASE_URL is set, and Valkey unless REDIS_URL is set."""
    return ensure(state_dir, **where_unset(environ))


def where_unset(environ: Mapping[str, str]) -> dict[str, bool]:
    return {name: not environ.get(variable) for name, variable in VARIABLES.items()}


def ensure(
    state_dir: Path | str, *, postgres: bool = True, valkey: bool = True, timeout: float = 60
) -> Addresses:
    """Return when the chosen servers accept connections, starting them if they do not run.

    They run at least until this process ends or calls `release()`. Raises EmbeddedServersError
    when they cannot be had within `timeout` seconds.
    """
    addresses = Addresses.of(state_dir)
    servers = chosen(addresses, postgres, valkey)
    if not servers:
        return addresses
    prepare_state_directory(addresses)
    for server in servers:
        server.check()
    held_before = set(_held)
    try:
        wait_until_they_answer(addresses, servers, time.monotonic() + timeout)
    except BaseException:
        let_go(set(_held) - held_before)
        raise
    return addresses


def wait_until_they_answer(
    addresses: Addresses, servers: Sequence[Server], deadline: float
) -> None:
    story = addresses.log("supervisor")
    begins = story.stat().st_size if story.exists() else 0
    supervisor: subprocess.Popen[bytes] | None = None
    while time.monotonic() < deadline:
        if hold(addresses, servers):
            if all(server.answers() for server in servers):
                return
            if supervisor is None or supervisor.poll() == 0:  # 0: another one was there
                supervisor = start_supervisor(addresses)
            elif supervisor.poll():
                raise EmbeddedServersError(f"The servers did not start.{tail(story, begins)}")
        time.sleep(0.05)
    logs = [tail(addresses.log(server.name)) for server in servers]
    raise EmbeddedServersError(
        f"The servers do not answer in time.{tail(story, begins)}" + "".join(logs)
    )


def hold(addresses: Addresses, servers: Sequence[Server]) -> bool:
    """Note with the kernel that this process uses the servers; false while one is being stopped."""
    for server in servers:
        path = addresses.lock(f"{server.name}.clients")
        if path not in _held or not _held[path].is_in_place():
            lock = FileLock(path)
            if not lock.take_shared():
                lock.close()
                return False
            _held[path] = lock
    return True


def let_go(paths: set[Path]) -> None:
    for path in paths:
        _held.pop(path).close()


def release(state_dir: Path | str = DEFAULT_STATE) -> None:
    """Stop using the servers; they stop when nobody uses them any more."""
    addresses = Addresses.of(state_dir)
    names = {addresses.lock(f"{name}.clients") for name in VARIABLES}
    let_go(names & set(_held))


def stop_and_wait(state_dir: Path | str = DEFAULT_STATE, timeout: float = 20) -> bool:
    """Stop using the servers and wait until they are gone.

    False when they stay: other processes use them, somebody runs them in the foreground, or they
    take longer than `timeout` seconds to stop.
    """
    release(state_dir)
    addresses = Addresses.of(state_dir)
    deadline = time.monotonic() + timeout
    while supervisor_runs(addresses):
        if used_by_others(addresses) or time.monotonic() > deadline:
            return False
        time.sleep(0.1)
    _started[:] = [process for process in _started if process.poll() is None]
    return True


def supervisor_runs(addresses: Addresses) -> bool:
    path = addresses.lock("supervisor")
    if not path.exists():
        return False
    lock = FileLock(path)
    try:
        return not lock.take_alone()
    finally:
        lock.close()


def used_by_others(addresses: Addresses) -> bool:
    """Whether a client or a person in the foreground keeps the servers running."""
    supervisor = FileLock(addresses.lock("supervisor"))
    kept = supervisor.facts().get("until_unused") is False
    supervisor.close()
    return kept or any(has_clients(addresses.lock(f"{name}.clients")) for name in VARIABLES)


def has_clients(path: Path) -> bool:
    lock = FileLock(path)
    try:
        # Alone: nobody holds it. Shared only: clients do. Neither: the supervisor is stopping.
        return not lock.take_alone() and lock.take_shared()
    finally:
        lock.close()


def start_supervisor(addresses: Addresses) -> subprocess.Popen[bytes]:
    """Start a supervisor that outlives this process, unknown to its terminal."""
    path = os.pathsep.join(filter(None, [str(PROJECT), os.environ.get("PYTHONPATH")]))
    arguments = ["--state", str(addresses.state), "--until-unused"]
    with addresses.log("supervisor").open("ab") as output:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "ema.embedded", *arguments],
            cwd="/",
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    _started.append(process)
    return process


def chosen(addresses: Addresses, postgres: bool, valkey: bool) -> list[Server]:
    servers: list[Server] = []
    if postgres:
        servers.append(Postgres(addresses))
    if valkey:
        servers.append(Valkey(addresses))
    return servers


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the servers in the foreground; the exit code is 1 when they cannot be run."""
    options = parser().parse_args(arguments)
    os.umask(0o077)
    logging.basicConfig(
        level=logging.INFO, format="%(asctime)s embedded: %(message)s", stream=sys.stderr
    )
    addresses = Addresses.of(options.state)
    try:
        run(addresses, options.until_unused)
    except AlreadyRunningError as refusal:
        if options.until_unused:  # processes that start at once all try
            log.info("another supervisor is there: process %s", refusal.pid)
            return 0
        log.error("%s", refusal)
        return 1
    except EmbeddedServersError as error:
        log.error("%s", error)
        return 1
    return 0


def run(addresses: Addresses, until_unused: bool) -> None:
    if until_unused:  # the clients' locks say which server is wanted, and the clients have checked
        prepare_state_directory(addresses)
        Supervisor(addresses, chosen(addresses, True, True), until_unused).run()
        return
    urls = {"postgres": addresses.database_url, "valkey": addresses.redis_url}
    wanted = where_unset(os.environ)
    for name, variable in VARIABLES.items():
        log.info("%s: %s", name, urls[name] if wanted[name] else f"not here, {variable} is set")
    servers = chosen(addresses, **wanted)
    if servers:
        prepare_state_directory(addresses)
        for server in servers:
            server.check()
        Supervisor(addresses, servers, until_unused).run()


def parser() -> argparse.ArgumentParser:
    described = argparse.ArgumentParser(
        prog="python -m ema.embedded",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        description=(
            "Run PostgreSQL and Valkey for this machine until Ctrl-C.\n\n"
            "Usually nobody needs to: manage.py, the web server, Celery and the tests start them\n"
            "when DATABASE_URL and REDIS_URL are unset, and stop them when the last one ends.\n"
            "Use this to keep them running in between, or to look inside:\n\n"
            "  python -m ema.embedded                  one terminal\n"
            "  psql 'postgresql://…'                   another, with the address shown\n\n"
            "A server whose variable (DATABASE_URL, REDIS_URL) is set is not started."
        ),
        epilog=(
            "The state directory holds the data (postgres/, valkey/), the logs (log/) and the\n"
            "locks (locks/). Nobody else can read it. Deleting it, when nothing runs, deletes\n"
            "all data. SIGINT and SIGTERM stop both servers in order."
        ),
    )
    described.add_argument(
        "--state",
        type=Path,
        default=DEFAULT_STATE,
        metavar="DIR",
        help="where data, logs and locks are kept (default: FOURBEAT_STATE_DIR, now %(default)s)",
    )
    described.add_argument(
        "--until-unused",
        action="store_true",
        help="stop each server when no process uses it any more (how the project starts them)",
    )
    return described


if __name__ == "__main__":
    sys.exit(main())
