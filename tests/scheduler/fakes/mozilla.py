"""Mozilla's push service, autopush: RFC 8030 towards servers, a WebSocket towards Firefox.

One browser at a time. Messages wait until they are acknowledged; of one topic only the last does.
"""

import json
import socket
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from typing import Any

from websockets.exceptions import ConnectionClosed
from websockets.http11 import Request, Response
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

from tests.scheduler.fakes.tls import Reply
from tests.scheduler.fakes.web import StrictService, accepted, base64url

GONE, UNKNOWN = 410, 404
Said = dict[str, Any]


class Autopush(StrictService):
    """Keeps the channels a browser registered, and what the browser said of each message."""

    def __init__(self) -> None:
        super().__init__()
        self.address = ""
        self.is_away = False
        self.acks: list[int] = []
        self.sent: list[Said] = []
        self.channels: dict[str, str] = {}  # and the key of the server that may use them
        self._left: set[str] = set()
        self._waiting: dict[str, Said] = {}
        self._uaid = ""
        self._browser: ServerConnection | None = None
        self._lock = threading.RLock()

    # --- towards servers ----------------------------------------------------------------

    def absence(self, subscriber: str) -> int:
        if subscriber in self._left:
            return GONE
        return 0 if subscriber in self.channels else UNKNOWN

    def take(self, subscriber: str, headers: dict[str, str], body: bytes) -> Reply:
        _, _, key = headers["authorization"].partition("k=")
        if key != self.channels[subscriber].rstrip("="):
            self.refused.append("the channel was made for another server's key")
            return Reply(403)
        version = uuid.uuid4().hex
        message = {
            "messageType": "notification",
            "channelID": subscriber,
            "version": version,
            "data": base64url(body),
            "headers": {"encoding": headers["content-encoding"]},
        }
        with self._lock:
            self._waiting[headers.get("topic", version)] = message
            self._send(message)
        return accepted(self.origin, headers)

    # --- towards the browser ------------------------------------------------------------

    def converse(self, browser: ServerConnection) -> None:
        """A connection from its hello to its end."""
        with suppress(ConnectionClosed):  # a browser that ends says no goodbye
            for text in browser:
                self._hear(browser, json.loads(text))
        with self._lock:
            if self._browser is browser:
                self._browser = None

    def _hear(self, browser: ServerConnection, said: Said) -> None:
        with self._lock:
            match said.get("messageType", "ping"):
                case "hello":
                    self._greet(browser, said)
                case "register":
                    self.channels[said["channelID"]] = said.get("key", "")
                    endpoint = f"{self.origin}/push/{said['channelID']}"
                    self._reply(said, status=200, pushEndpoint=endpoint)
                case "unregister":
                    self._leave([said["channelID"]])
                    self._reply(said, status=200)
                case "ack":
                    self._settle(said["updates"])
                case "ping":
                    self._send({})

    def _greet(self, browser: ServerConnection, said: Said) -> None:
        """A browser that does not say its former name is another one, without channels."""
        self._browser = browser
        if not self._uaid or said.get("uaid") != self._uaid:
            self._uaid = uuid.uuid4().hex
            self._leave(list(self.channels))
        hello = {"messageType": "hello", "status": 200, "uaid": self._uaid, "broadcasts": {}}
        self._send({**hello, "use_webpush": said["use_webpush"]})
        for message in self._waiting.values():
            self._send(message)

    def _leave(self, channels: list[str]) -> None:
        self._left.update(channels)
        for each in channels:
            self.channels.pop(each, None)
        self._waiting = {
            topic: message
            for topic, message in self._waiting.items()
            if message["channelID"] in self.channels
        }

    def _settle(self, updates: list[Said]) -> None:
        read = {update["version"] for update in updates}
        self.acks += [update["code"] for update in updates]
        self._waiting = {
            topic: message
            for topic, message in self._waiting.items()
            if message["version"] not in read
        }

    def _reply(self, said: Said, **more: Any) -> None:
        self._send({"messageType": said["messageType"], "channelID": said["channelID"], **more})

    def _send(self, message: Said) -> None:
        if self._browser is None:
            return
        if message.get("messageType") == "notification":
            self.sent.append(message)
        with suppress(ConnectionClosed):  # a message waits for the next hello
            self._browser.send(json.dumps(message))

    # --- the network --------------------------------------------------------------------

    def hang_up(self) -> None:
        """The browser is cut off until `come_back`."""
        self.is_away = True
        with self._lock:
            browser, self._browser = self._browser, None
        if browser:
            browser.socket.shutdown(socket.SHUT_RDWR)

    def come_back(self) -> None:
        self.is_away = False

    def admit(self, browser: ServerConnection, request: Request) -> Response | None:
        if self.is_away:
            return browser.respond(HTTPStatus.SERVICE_UNAVAILABLE, "away")
        return None


@contextmanager
def listening(autopush: Autopush) -> Iterator[None]:
    """Autopush at `autopush.address` for browsers, until the block ends."""
    protocol = Subprotocol("push-notification")
    server = serve(
        autopush.converse,
        "127.0.0.1",
        0,
        subprotocols=[protocol],
        process_request=autopush.admit,
    )
    autopush.address = f"ws://127.0.0.1:{server.socket.getsockname()[1]}"
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
