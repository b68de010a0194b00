"""A simulated trial to take pictures of: one of its own, or one that runs already."""

import os
import re
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from ema.stack import free_port

SIZE = ("--participants", "40", "--days", "14")
LOGIN = re.compile(r"^ +(\w+) +(demo\S*-\w+) +(\S+)$", re.MULTILINE)
SERVED = re.compile(r"^ +(http://\S+?)/ +studies,", re.MULTILINE)
STUDY = re.compile(r"in study (\S+) \(simulated\)")
READY = "It keeps running"


class NoDemo(RuntimeError):
    """There is no demo to take pictures of; the message says why."""


class Demo(NamedTuple):
    """Where a demo is served, its study, and name and password by role."""

    address: str
    study: str
    logins: dict[str, tuple[str, str]]


def read(said: str) -> Demo:
    """What `manage.py demo` printed. Raises NoDemo."""
    served, study = SERVED.search(said), STUDY.search(said)
    logins = {role: (name, password) for role, name, password in LOGIN.findall(said)}
    if not (served and study and logins):
        raise NoDemo("This is not what manage.py demo prints: no address, study and logins in it.")
    return Demo(served[1], study[1], logins)


@contextmanager
def running() -> Iterator[Demo]:
    """Start a demo with servers and data of its own, and stop it afterwards."""
    with tempfile.TemporaryDirectory(prefix="fourbeat-") as state:
        command = [sys.executable, "manage.py", "demo", *SIZE, "--port", str(free_port())]
        started = subprocess.Popen(
            command,
            env=os.environ | {"FOURBEAT_STATE_DIR": state},
            cwd=Path(__file__).parent.parent,
            stdout=subprocess.PIPE,
            text=True,
        )
        try:
            yield read(_said(started))
        finally:
            started.send_signal(signal.SIGINT)
            started.wait(60)


def _said(started: subprocess.Popen[str]) -> str:
    """What it prints until it is ready, shown meanwhile."""
    lines: list[str] = []
    for line in started.stdout or ():
        print(line, end="", flush=True)
        lines.append(line)
        if READY in line:
            return "".join(lines)
    raise NoDemo("The demo ended before it was ready, as it says above.")
