"""A web app for phones, served beside the API on one address, as a proxy in front would."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx

EXAMPLE = Path(__file__).resolve().parents[2] / "docs" / "examples" / "web-push"
PAGE = """<!doctype html><meta charset="utf-8"><title>An app</title>
<script type="module">
import { register, unregister } from "./register.js";
window.heard = [];
window.app = { register, unregister };
navigator.serviceWorker.addEventListener("message", (event) => window.heard.push(event.data));
</script>
"""
KEPT = {"authorization", "content-type"}


@contextmanager
def served(api: str) -> Iterator[str]:
    """The address of the app: its files, and /api/ from the server at `api`."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            path = EXAMPLE / self.path.removeprefix("/")
            if self.path == "/":
                self._answer(200, "text/html", PAGE.encode())
            elif path.suffix == ".js" and path in EXAMPLE.iterdir():
                self._answer(200, "text/javascript", path.read_bytes())
            else:
                self._answer(404, "text/plain", b"")

        def do_PUT(self) -> None:
            headers = {name: value for name, value in self.headers.items() if name.lower() in KEPT}
            answer = httpx.request(
                self.command,
                f"{api}{self.path}",
                content=self.rfile.read(int(self.headers.get("Content-Length", 0))),
                headers={**headers, "X-Forwarded-Proto": "https"},
            )
            content_type = answer.headers.get("Content-Type", "text/plain")
            self._answer(answer.status_code, content_type, answer.content)

        def do_DELETE(self) -> None:
            self.do_PUT()

        def _answer(self, status: int, content_type: str, content: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            if status != httpx.codes.NO_CONTENT:
                self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield f"http://localhost:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
