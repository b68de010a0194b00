"""Send ready HTTP requests over kept connections, several at once, as cheaply as Python can."""

import socket
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import msgspec

PATIENCE_S = 30.0


@dataclass(frozen=True)
class Sent:
    """How long all took together, how long each took, and what the server said of each item."""

    seconds: float
    each_s: list[float]
    replies: list[bytes]

    def refuse_unless_created(self, items: int) -> None:
        """A bench must not praise a server for answers that it did not store."""
        told = [item["status"] for reply in self.replies for item in _items(reply)]
        if told.count("created") != items:
            raise RuntimeError(f"{items} answers were sent; {told.count('created')} were created.")


class Connection:
    """One kept-alive connection to a server that states the length of what it says."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), PATIENCE_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> "Connection":
        return self

    def __exit__(self, *error: object) -> None:
        self._socket.close()

    def send(self, request: bytes) -> bytes:
        """The body of the reply; RuntimeError when its status is not 200."""
        self._socket.sendall(request)
        received = b""
        while b"\r\n\r\n" not in received:
            received += self._more()
        head, _, body = received.partition(b"\r\n\r\n")
        length = int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])
        while len(body) < length:
            body += self._more()
        if not head.startswith(b"HTTP/1.1 200"):
            raise RuntimeError(f"The server refused: {body.decode(errors='replace')}")
        return body

    def _more(self) -> bytes:
        more = self._socket.recv(1 << 16)
        if not more:
            raise RuntimeError("The server closed a connection in the middle of a reply.")
        return more


def send_all(port: int, requests: Sequence[bytes], at_once: int) -> Sent:
    """Send all requests over `at_once` connections, each taking every n-th request."""
    with ExitStack() as stack:
        connections = [stack.enter_context(Connection(port)) for _ in range(at_once)]
        pool = stack.enter_context(ThreadPoolExecutor(at_once))
        shares = [requests[first::at_once] for first in range(at_once)]
        began = time.perf_counter()
        done = list(pool.map(_send_in_turn, connections, shares))
        took = time.perf_counter() - began
    times, replies = zip(*(pair for share in done for pair in share), strict=True)
    return Sent(took, list(times), list(replies))


def _send_in_turn(connection: Connection, requests: Sequence[bytes]) -> list[tuple[float, bytes]]:
    done = []
    for request in requests:
        began = time.perf_counter()
        reply = connection.send(request)
        done.append((time.perf_counter() - began, reply))
    return done


def _items(reply: bytes) -> list[dict[str, str]]:
    items: list[dict[str, str]] = msgspec.json.decode(reply)["items"]
    return items
