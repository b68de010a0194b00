"""How embedded servers end, in order or by force, and that nothing is lost or left over."""

import contextlib
import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from ema import embedded
from tests.ema.embedding import (
    ONLY_VALKEY,
    assert_nothing_is_left,
    client,
    countable,
    end,
    execute,
    foreground,
    postmaster_of,
    processes_of,
    query,
    start_client,
    state_of_its_own,
    supervisor_of,
    valkey,
    value,
    wait_until,
)

pytestmark = countable


@pytest.fixture
def state(tmp_path: Path) -> Iterator[Path]:
    with state_of_its_own(tmp_path) as state:
        yield state


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
