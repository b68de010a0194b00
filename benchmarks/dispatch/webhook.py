"""A webhook in this process: where prompts arrive."""

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

ANSWER_S = 0.02  # how long the webhook takes


class Arrival(NamedTuple):
    prompt_id: str
    at: datetime
    expires_at: datetime


@contextmanager
def webhook() -> Iterator[tuple[str, list[Arrival]]]:
    """Its address, and what arrived there."""
    arrivals: list[Arrival] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            expires_at = datetime.fromisoformat(content["expires_at"])
            arrivals.append(Arrival(content["prompt_id"], datetime.now(UTC), expires_at))
            time.sleep(ANSWER_S)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A dispatcher that is killed while it sends is what the drill is about."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/due", arrivals
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
