"""CPU time of processes and all their descendants, read from /proc (Linux)."""

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
PARENT, CHILDREN_USER, CHILDREN_SYSTEM = 1, 13, 14  # after "pid (name) "


def cpu_seconds(root: int) -> float:
    """User and system time of a process tree, that of its ended members included.

    To the nanosecond for what runs; the kernel counts what has ended in steps of 10 ms.
    """
    found = dict(_processes())
    children: dict[int, list[int]] = defaultdict(list)
    for pid, fields in found.items():
        children[fields[PARENT]].append(pid)
    ended, running, waiting = 0, 0, [root]
    while waiting:
        pid = waiting.pop()
        fields = found.get(pid, [0] * (CHILDREN_SYSTEM + 1))
        ended += sum(fields[CHILDREN_USER : CHILDREN_SYSTEM + 1])
        running += sum(_nanoseconds(pid))
        waiting += children[pid]
    return ended / os.sysconf("SC_CLK_TCK") + running / 1e9


def _nanoseconds(pid: int) -> Iterator[int]:
    """CPU time of each thread of a process."""
    for schedstat in (PROC / str(pid) / "task").glob("*/schedstat"):
        try:
            yield int(schedstat.read_text().split()[0])
        except OSError:  # it has ended
            continue


def _processes() -> Iterator[tuple[int, list[int]]]:
    for directory in PROC.glob("[0-9]*"):
        try:
            words = (directory / "stat").read_text().rpartition(") ")[2].split()
        except OSError:  # it has ended
            continue
        yield int(directory.name), [0, *map(int, words[1 : CHILDREN_SYSTEM + 1])]
