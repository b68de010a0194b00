"""Apple: APNs over real HTTP/2, with its ES256 provider token."""

import json
import re
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, RequestReceived, StreamEnded

from tests.scheduler.fakes.tls import Certificate, Reply

KEY_ID, TEAM, TOPIC = "KEY1234567", "TEAM123456", "org.example.trial"


class Apple:
    """Takes alerts for the devices it knows. What is in `plays` comes first."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.devices = {"ab" * 32}
        self.plays: list[Reply] = []
        self.received: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.tokens: set[str] = set()
        self.connections = 0
        self.origin = ""

    @property
    def key_pem(self) -> str:
        pem = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return pem.decode()

    def answer(self, headers: dict[str, str], body: bytes) -> Reply:
        if reason := self._token_fault(headers.get("authorization", "")):
            return Reply(403, {"reason": reason})
        if self.plays:
            return self.plays.pop(0)
        if reason := self._fault(headers, body):
            return Reply(400, {"reason": reason})
        self.received.append((headers, json.loads(body)))
        return Reply(200)

    def _token_fault(self, authorization: str) -> str:
        token = authorization.removeprefix("bearer ")
        if not token:
            return "MissingProviderToken"
        try:
            claims = jwt.decode(token, self.key.public_key(), algorithms=["ES256"], issuer=TEAM)
        except jwt.PyJWTError:
            return "InvalidProviderToken"
        if jwt.get_unverified_header(token)["kid"] != KEY_ID or "exp" in claims:
            return "InvalidProviderToken"
        self.tokens.add(token)
        return "ExpiredProviderToken" if claims["iat"] < time.time() - 3600 else ""

    def _fault(self, headers: dict[str, str], body: bytes) -> str:
        path = re.fullmatch(r"/3/device/([0-9a-f]+)", headers[":path"])
        expiration = headers.get("apns-expiration", "")
        checks = {
            "BadPath": path is not None and headers[":method"] == "POST",
            "MissingTopic": "apns-topic" in headers,
            "TopicDisallowed": headers.get("apns-topic") == TOPIC,
            "InvalidPushType": headers.get("apns-push-type") == "alert",
            "BadPriority": headers.get("apns-priority") in ("1", "5", "10"),
            "BadCollapseId": len(headers.get("apns-collapse-id", "").encode()) <= 64,
            "BadExpirationDate": expiration.isdecimal() and int(expiration) > time.time(),
            "PayloadEmpty": bool(body),
            "BadDeviceToken": path is not None and path[1] in self.devices,
        }
        return next((reason for reason, is_right in checks.items() if not is_right), "")


@contextmanager
def served(apple: Apple, certificate: Certificate) -> Iterator[None]:
    """Apple at `apple.origin` until the block ends; a thread per connection."""
    context = certificate.context("h2")
    with socket.create_server(("127.0.0.1", 0)) as listening:
        apple.origin = f"https://127.0.0.1:{listening.getsockname()[1]}"
        thread = threading.Thread(target=_accept, args=(apple, listening, context))
        thread.start()
        yield
        listening.shutdown(socket.SHUT_RDWR)
    thread.join()


def _accept(apple: Apple, listening: socket.socket, context: ssl.SSLContext) -> None:
    with suppress(OSError):  # it was closed: the end
        while True:
            plain, _ = listening.accept()
            threading.Thread(target=_converse, args=(apple, plain, context), daemon=True).start()


def _converse(apple: Apple, plain: socket.socket, context: ssl.SSLContext) -> None:
    with suppress(OSError), context.wrap_socket(plain, server_side=True) as connection:
        assert connection.selected_alpn_protocol() == "h2"
        apple.connections += 1
        talk = H2Connection(H2Configuration(client_side=False, header_encoding="utf-8"))
        talk.initiate_connection()
        connection.sendall(talk.data_to_send())
        streams: dict[int, tuple[dict[str, str], bytearray]] = {}
        while received := connection.recv(65536):
            for event in talk.receive_data(received):
                _hear(apple, talk, streams, event)
            connection.sendall(talk.data_to_send())


def _hear(apple: Apple, talk: H2Connection, streams: dict[int, Any], event: object) -> None:
    match event:
        case RequestReceived():
            pairs: Any = event.headers
            streams[event.stream_id or 0] = (dict(pairs), bytearray())
        case DataReceived():
            streams[event.stream_id or 0][1].extend(event.data or b"")
            talk.acknowledge_received_data(event.flow_controlled_length or 0, event.stream_id or 0)
        case StreamEnded():
            headers, body = streams.pop(event.stream_id or 0)
            _reply(talk, event.stream_id or 0, apple.answer(headers, bytes(body)))


def _reply(talk: H2Connection, stream: int, reply: Reply) -> None:
    head = [(":status", str(reply.status)), ("apns-id", "1")]
    head += [(name.lower(), value) for name, value in reply.headers.items()]
    talk.send_headers(stream, head, end_stream=reply.content is None)
    if reply.content is not None:
        talk.send_data(stream, json.dumps(reply.content).encode(), end_stream=True)
