"""Firebase Cloud Messaging, HTTP v1, with the OAuth grant of a service account."""

from datetime import datetime, timedelta
from typing import Any

import httpx
import jwt
from django.conf import settings

from scheduler.channels import TITLE, Gone, Message, PushError, post, retry_after
from scheduler.push.shared import KeptToken, registration_of

SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
GRANT = "urn:ietf:params:oauth:grant-type:jwt-bearer"
RENEW_BEFORE = timedelta(minutes=5)
GONE = frozenset({"UNREGISTERED", "SENDER_ID_MISMATCH"})
NEVER = frozenset({400, 403, 404})
WORDS = (  # of FCM, and of Google; no other word of an answer is kept
    "UNSPECIFIED_ERROR INVALID_ARGUMENT UNREGISTERED SENDER_ID_MISMATCH QUOTA_EXCEEDED UNAVAILABLE"
    " INTERNAL THIRD_PARTY_AUTH_ERROR CANCELLED UNKNOWN DEADLINE_EXCEEDED NOT_FOUND ALREADY_EXISTS"
    " PERMISSION_DENIED UNAUTHENTICATED RESOURCE_EXHAUSTED FAILED_PRECONDITION ABORTED"
    " OUT_OF_RANGE UNIMPLEMENTED DATA_LOSS"
)
CODES = frozenset(WORDS.split())
access = KeptToken()


def send(message: Message) -> None:
    """One notification to the phone's registration token."""
    registration = registration_of(message)
    account = settings.FCM_SERVICE_ACCOUNT
    token = access.get(account["private_key"], lambda now: grant(account, now))
    reply = post(
        "FCM",
        f"{settings.FCM_URL}/v1/projects/{account['project_id']}/messages:send",
        json={"message": notification(message, registration.address)},
        headers={"Authorization": f"Bearer {token}"},
    )
    if reply.status_code == httpx.codes.UNAUTHORIZED:
        access.drop(token)
    if not reply.is_success:
        raise refusal(reply)


def notification(message: Message, token: str) -> dict[str, Any]:
    """Neutral words; the prompt's id is the tag on Android, Apple and the web alike."""
    tag, seconds = str(message.prompt_id), message.seconds_left()
    return {
        "token": token,
        "notification": {"title": TITLE},
        "data": message.content(),
        "android": {
            "priority": "HIGH",
            "ttl": f"{seconds}s",
            "collapse_key": tag,
            "notification": {"tag": tag},
        },
        "apns": {
            "headers": {
                "apns-priority": "10",
                "apns-collapse-id": tag,
                "apns-expiration": str(int(message.expires_at.timestamp())),
            }
        },
        "webpush": {
            "headers": {"TTL": str(seconds), "Urgency": "high"},
            "notification": {"tag": tag},
        },
    }


def refusal(reply: httpx.Response) -> PushError:
    """What FCM's answer means for this registration and this message."""
    code, about_token = _fault(reply)
    words = f"FCM answered {reply.status_code} {code if code in CODES else ''}".rstrip()
    if code in GONE or (code == "INVALID_ARGUMENT" and about_token):
        return Gone(words)
    return PushError(words, permanent=reply.status_code in NEVER, retry_after=retry_after(reply))


def _fault(reply: httpx.Response) -> tuple[str, bool]:
    """FCM's own error code (or Google's status), and whether it is about the token."""
    try:
        error = reply.json()["error"]
        details = [each for each in error.get("details", []) if isinstance(each, dict)]
        codes = [each["errorCode"] for each in details if "errorCode" in each]
        fields = [
            violation.get("field")
            for each in details
            for violation in each.get("fieldViolations", [])
        ]
        return str((codes or [error.get("status", "")])[0]), "message.token" in fields
    except (ValueError, KeyError, TypeError, AttributeError):
        return "", False


def grant(account: dict[str, str], now: datetime) -> tuple[str, datetime]:
    """An access token for the service account, and until when it is used."""
    issued = int(now.timestamp())
    claims: dict[str, Any] = {
        "iss": account["client_email"],
        "scope": SCOPE,
        "aud": account["token_uri"],
        "iat": issued,
        "exp": issued + 3600,
    }
    signed = jwt.encode(claims, account["private_key"], algorithm="RS256")
    form = {"grant_type": GRANT, "assertion": signed}
    reply = post("Google's OAuth", account["token_uri"], data=form)
    if not reply.is_success:
        raise PushError(
            f"Google's OAuth answered {reply.status_code}", retry_after=retry_after(reply)
        )
    try:
        content = reply.json()
        lifetime = timedelta(seconds=int(content["expires_in"]))
        return str(content["access_token"]), now + lifetime - RENEW_BEFORE
    except (ValueError, KeyError, TypeError) as error:
        raise PushError("Google's OAuth answered without a token") from error
