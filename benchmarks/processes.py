"""CPU time of processes and all their descendants, read from /proc (Linux)."""

import os
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

PROC = Path("/proc")
PARENT, USER, SYSTEM, CHILDREN_USER, CHILDREN_SYSTEM = 1, 11, 12, 13, 14  # after "pid (name) "


def cpu_seconds(root: int) -> float:
    """User and system time of a process tree, that of its ended members included.

    The kernel counts in steps of 10 ms.
    """
    found = dict(_processes())
    children: dict[int, list[int]] = defaultdict(list)
    for pid, fields in found.items():
        children[fields[PARENT]].append(pid)
    ticks, waiting = 0, [root]
    while waiting:
        pid = waiting.pop()
        fields = found.get(pid, [0] * (CHILDREN_SYSTEM + 1))
        ticks += sum(fields[USER : CHILDREN_SYSTEM + 1])
        waiting += children[pid]
    return ticks / os.sysconf("SC_CLK_TCK")


def _processes() -> Iterator[tuple[int, list[int]]]:
    for directory in PROC.glob("[0-9]*"):
        try:
            words = (directory / "stat").read_text().rpartition(") ")[2].split()
        except OSError:  # it has ended
            continue
        yield int(directory.name), [0, *map(int, words[1 : CHILDREN_SYSTEM + 1])]
