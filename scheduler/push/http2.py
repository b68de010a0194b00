"""HTTP/2 clients, lent to one thread at a time.

Threads that share an HTTP/2 connection of httpx send its streams out of order, and the other side
then closes it; a test shows that ours do not.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from queue import Empty, LifoQueue

import httpx

from scheduler.channels import TIMEOUT_S

idle: LifoQueue[httpx.Client] = LifoQueue()


@contextmanager
def lent() -> Iterator[httpx.Client]:
    """The client that was used last, its connection still open; a new one when all are out."""
    try:
        client = idle.get_nowait()
    except Empty:
        client = httpx.Client(http2=True, timeout=TIMEOUT_S, follow_redirects=False)
    try:
        yield client
    finally:
        idle.put(client)


def close_idle() -> None:
    """Close the connections of all clients that nobody uses."""
    while True:
        try:
            idle.get_nowait().close()
        except Empty:
            return
