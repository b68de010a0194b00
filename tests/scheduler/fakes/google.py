"""Google: the OAuth grant of a service account, and FCM's HTTP v1 door."""

import json
import secrets
import time
from typing import Any
from urllib.parse import parse_qs

import jwt
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from tests.scheduler.fakes.tls import Reply, Service

PROJECT = "a-trial"
EMAIL = "sender@a-trial.iam.gserviceaccount.com"
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"


def fault(status: int, name: str, code: str = "", **more: Any) -> Reply:
    """As FCM writes its errors."""
    details: list[dict[str, Any]] = []
    if code:
        details.append(
            {"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}
        )
    if "field" in more:
        violation = {"field": more["field"], "description": "Invalid registration token"}
        details.append(
            {"@type": "type.googleapis.com/google.rpc.BadRequest", "fieldViolations": [violation]}
        )
    content = {"error": {"code": status, "message": "…", "status": name, "details": details}}
    return Reply(status, content, more.get("headers", {}))


class Google(Service):
    """Grants tokens to the one account, and takes messages for the phones it knows."""

    def __init__(self, lifetime_s: int = 3600) -> None:
        super().__init__()
        self.key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        self.lifetime_s = lifetime_s
        self.tokens: dict[str, float] = {}
        self.grants = 0
        self.phones = {"phone-" + "a" * 140}
        self.received: list[dict[str, Any]] = []

    @property
    def account(self) -> dict[str, str]:
        pem = self.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return {
            "project_id": PROJECT,
            "client_email": EMAIL,
            "private_key": pem.decode(),
            "token_uri": f"{self.origin}/token",
        }

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> Reply:
        if path == "/token":
            return self._grant(body)
        if path != f"/v1/projects/{PROJECT}/messages:send":
            return fault(404, "NOT_FOUND")
        token = headers.get("authorization", "").removeprefix("Bearer ")
        if self.tokens.get(token, 0.0) < time.time():
            return fault(401, "UNAUTHENTICATED")
        if self.plays:
            return self.plays.pop(0)
        return self._take(json.loads(body)["message"])

    def _take(self, message: dict[str, Any]) -> Reply:
        if not all(isinstance(value, str) for value in message["data"].values()):
            return fault(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", field="message.data")
        if not message["android"]["ttl"].endswith("s"):
            return fault(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", field="message.android.ttl")
        if message["token"] not in self.phones:
            return fault(404, "NOT_FOUND", "UNREGISTERED")
        self.received.append(message)
        return Reply(200, {"name": f"projects/{PROJECT}/messages/{len(self.received)}"})

    def _grant(self, body: bytes) -> Reply:
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        if form.get("grant_type") != "urn:ietf:params:oauth:grant-type:jwt-bearer":
            return Reply(400, {"error": "unsupported_grant_type"})
        try:
            claims = jwt.decode(
                form["assertion"],
                self.key.public_key(),
                algorithms=["RS256"],
                audience=f"{self.origin}/token",
                issuer=EMAIL,
                options={"require": ["iat", "exp", "scope"]},
            )
        except jwt.PyJWTError as error:
            return Reply(400, {"error": "invalid_grant", "error_description": str(error)})
        if claims["scope"] != SCOPE or claims["exp"] - claims["iat"] > 3600:
            return Reply(400, {"error": "invalid_scope"})
        token = secrets.token_urlsafe()
        self.tokens[token] = time.time() + self.lifetime_s
        self.grants += 1
        return Reply(200, {"access_token": token, "expires_in": self.lifetime_s})
