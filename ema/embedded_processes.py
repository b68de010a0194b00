"""Starts the programs of the embedded servers, as a user they accept and never outliving us."""

import ctypes
import os
import pwd
import signal
import subprocess
import sys
from pathlib import Path

from ema.embedded_servers import Addresses, EmbeddedServersError, Server

LARGEST_LOG = 10_000_000  # bytes; a longer one is put aside at the next start
LIBC = ctypes.CDLL(None, use_errno=True)
CLONE_NEWUSER = 0x10000000
PR_SET_PDEATHSIG = 1


def launch(
    command: list[str | Path], server: Server, addresses: Addresses, held: int
) -> subprocess.Popen[bytes]:
    """Start a program that inherits the lock `held` and ends when this process ends."""
    supervisor, uid = os.getpid(), uid_to_appear_as() if server.refuses_root else None

    def before_the_program() -> None:
        if uid is not None:
            appear_as(uid)
        end_with(supervisor, server.stop_signals[0])

    path = addresses.log(server.name)
    if path.exists() and path.stat().st_size > LARGEST_LOG:
        path.rename(path.with_suffix(".log.old"))
    try:
        with path.open("ab") as output:
            return subprocess.Popen(
                command,
                cwd=addresses.state,
                env={name: value for name, value in os.environ.items() if name[:2] != "PG"},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                pass_fds=[held],
                process_group=0,  # Ctrl-C in the terminal is for the supervisor alone
                preexec_fn=before_the_program,  # noqa: PLW1509 (a supervisor has one thread)
            )
    except subprocess.SubprocessError as error:
        raise EmbeddedServersError(
            "PostgreSQL refuses root and users without a name, and this system does not allow the "
            "user namespace that it would run in instead. Run as an ordinary user, or set "
            "DATABASE_URL to a server of your own."
        ) from error
    except OSError as error:
        raise EmbeddedServersError(f"{command[0]} cannot be run: {error.strerror}.") from error


def uid_to_appear_as() -> int | None:
    """The user to show to PostgreSQL, which insists on one that is named and is not root."""
    named = {entry.pw_uid for entry in pwd.getpwall()}
    if os.geteuid() != 0 and os.geteuid() in named:
        return None
    if sys.platform != "linux":
        raise EmbeddedServersError(
            "PostgreSQL refuses root and users without a name. Run as an ordinary user, or set "
            "DATABASE_URL to a server of your own."
        )
    return min(named - {0}, default=1000)


def appear_as(uid: int) -> None:
    """Enter a user namespace where this process's user is called `uid`.

    To everybody else nothing changes: files keep their owners, and new ones get the real user's.
    """
    real_uid, real_gid = os.geteuid(), os.getegid()
    if LIBC.unshare(CLONE_NEWUSER) != 0:
        raise OSError(ctypes.get_errno(), "unshare")
    Path("/proc/self/setgroups").write_text("deny")
    Path("/proc/self/uid_map").write_text(f"{uid} {real_uid} 1")
    Path("/proc/self/gid_map").write_text(f"{uid} {real_gid} 1")


def end_with(parent: int, stop_signal: signal.Signals) -> None:
    """Have the kernel stop this process when its parent ends; a change of user clears this."""
    if sys.platform == "linux":
        LIBC.prctl(PR_SET_PDEATHSIG, int(stop_signal), 0, 0, 0)
        if os.getppid() != parent:  # it ended before the kernel was told
            os._exit(1)
