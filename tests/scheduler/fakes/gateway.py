"""An SMS gateway as SMSEagle builds them: JSON-RPC with a token, one number, one text."""

import json
from threading import Event
from typing import NamedTuple

from tests.scheduler.fakes.tls import Reply, Service

TOKEN = "aaBBcc0123456789"


class Received(NamedTuple):
    to: str
    text: str


class Gateway(Service):
    """Takes what is complete; while `hangs` is set it answers only when the test ends."""

    def __init__(self) -> None:
        super().__init__()
        self.received: list[Received] = []
        self.requests = 0
        self.hangs = False
        self.ended = Event()

    @property
    def url(self) -> str:
        """As SMS_URL."""
        return f"smseagles://{TOKEN}@{self.origin.removeprefix('https://')}/{{to}}"

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> Reply:
        self.requests += 1
        if self.hangs:
            self.ended.wait(30)
        if self.plays:
            return self.plays.pop(0)
        asked = json.loads(body)
        if (path, asked["method"]) != ("/jsonrpc/sms", "sms.send_sms"):
            return Reply(404)
        wanted = asked["params"]
        if wanted["access_token"] != TOKEN:
            return Reply(200, {"result": "Invalid access token"})
        self.received.append(Received(wanted["to"], wanted["message"]))
        return Reply(200, {"result": {"message_id": str(len(self.received)), "status": "ok"}})
