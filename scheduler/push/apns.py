"""Apple Push Notification service, over HTTP/2 with a provider token."""

from datetime import datetime, timedelta

import httpx
import jwt
from django.conf import settings

from scheduler.channels import TITLE, Gone, Message, PushError, post, retry_after
from scheduler.push.http2 import lent
from scheduler.push.shared import KeptToken, registration_of

TOKEN_LIFETIME = timedelta(minutes=50)  # Apple refuses one older than an hour
GONE = frozenset({"BadDeviceToken", "DeviceTokenNotForTopic", "Unregistered", "ExpiredToken"})
NEVER = frozenset({400, 404, 405, 413})
WORDS = (  # of Apple's table; no other word of an answer is kept
    "BadCertificate BadCertificateEnvironment BadCollapseId BadExpirationDate BadMessageId BadPath"
    " BadPriority BadTopic DuplicateHeaders ExpiredProviderToken Forbidden IdleTimeout"
    " InternalServerError InvalidProviderToken InvalidPushType MethodNotAllowed MissingDeviceToken"
    " MissingProviderToken MissingTopic PayloadEmpty PayloadTooLarge ServiceUnavailable Shutdown"
    " TooManyProviderTokenUpdates TooManyRequests TopicDisallowed UnrelatedKeyIdInToken"
)
REASONS = GONE | frozenset(WORDS.split())
provider = KeptToken()


def send(message: Message) -> None:
    """One alert to the phone's device token."""
    registration = registration_of(message)
    token = provider.get(settings.APNS_KEY + settings.APNS_KEY_ID, issue)
    tag = str(message.prompt_id)
    headers = {
        "authorization": f"bearer {token}",
        "apns-topic": settings.APNS_TOPIC,
        "apns-push-type": "alert",
        "apns-priority": "10",
        "apns-collapse-id": tag,
        "apns-expiration": str(int(message.expires_at.timestamp())),
    }
    alert = {"alert": {"title": TITLE}, "sound": "default", "thread-id": tag}
    content = {"aps": alert, **message.content()}
    url = f"{settings.APNS_URL}/3/device/{registration.address}"
    with lent() as client:
        reply = post("APNs", url, by=client, json=content, headers=headers)
    if not reply.is_success:
        raise refusal(reply, token)


def issue(now: datetime) -> tuple[str, datetime]:
    """A provider token, signed by the key that Apple gave to the team."""
    token = jwt.encode(
        {"iss": settings.APNS_TEAM_ID, "iat": int(now.timestamp())},
        settings.APNS_KEY,
        algorithm="ES256",
        headers={"kid": settings.APNS_KEY_ID},
    )
    return token, now + TOKEN_LIFETIME


def refusal(reply: httpx.Response, token: str) -> PushError:
    """What Apple's answer means for this registration, this message and our token."""
    try:
        reason = str(reply.json()["reason"])
    except (ValueError, KeyError, TypeError):
        reason = ""
    words = f"APNs answered {reply.status_code} {reason if reason in REASONS else ''}".rstrip()
    if reason in GONE or reply.status_code == httpx.codes.GONE:
        return Gone(words)
    if reason == "ExpiredProviderToken":
        provider.drop(token)
    return PushError(words, permanent=reply.status_code in NEVER, retry_after=retry_after(reply))
