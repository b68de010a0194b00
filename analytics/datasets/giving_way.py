"""A build gives way to uploads: it offers the processor to others twice in every millisecond.

A scheduler lets whoever computes go on until its next tick, of 4 ms on many machines. An upload
takes 2 ms and changes hands six times between the web server, PostgreSQL and the disk, so on few
cores it would often wait for ticks (`python -m benchmarks beside`).
"""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

EVERY_S = 0.0005


@contextmanager
def giving_way() -> Iterator[None]:
    """Give way for the length of the block; in a thread, or where the alarm is in use, not."""
    is_main = threading.current_thread() is threading.main_thread()
    if not is_main or signal.getsignal(signal.SIGALRM) is not signal.SIG_DFL:
        yield
        return
    signal.signal(signal.SIGALRM, _give_way)
    signal.siginterrupt(signal.SIGALRM, False)  # reads and writes of libraries just go on
    signal.setitimer(signal.ITIMER_REAL, EVERY_S, EVERY_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL)


def _give_way(number: int, frame: FrameType | None) -> None:
    os.sched_yield()
