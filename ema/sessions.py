"""Sessions end: after a while without a sign of their owner, and some hours after signing in."""

from collections.abc import Callable
from datetime import datetime

from django.conf import settings
from django.contrib import messages
from django.contrib.auth import SESSION_KEY, logout
from django.contrib.sessions.backends.base import SessionBase
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

SIGNED_IN_AT, SEEN_AT = "signed_in_at", "seen_at"
NOTED_EVERY_S = 60.0  # a request more often writes nothing


def expiring_sessions(
    get_response: Callable[[HttpRequest], HttpResponse],
) -> Callable[[HttpRequest], HttpResponse]:
    def middleware(request: HttpRequest) -> HttpResponse:
        has_session = settings.SESSION_COOKIE_NAME in request.COOKIES
        if has_session and (why := why_over(request.session, timezone.now())):
            logout(request)
            messages.info(request, why)
        answer = get_response(request)
        if request.session.accessed and SESSION_KEY in request.session:
            note(request.session, timezone.now())
        return answer

    return middleware


def why_over(session: SessionBase, now: datetime) -> str:
    """Why this session is over, in words; empty while it is not."""
    idle = settings.SESSION_IDLE_MINUTES
    if _seconds_since(session.get(SEEN_AT), now) > idle * 60:
        return f"You were signed out after {idle} minutes without a request. Sign in again."
    hours = settings.SESSION_HOURS
    if _seconds_since(session.get(SIGNED_IN_AT), now) > hours * 3600:
        return f"You were signed out {hours} hours after signing in. Sign in again."
    return ""


def note(session: SessionBase, now: datetime) -> None:
    """Keep when its owner signed in and was seen last."""
    if SIGNED_IN_AT not in session:
        session[SIGNED_IN_AT] = now.timestamp()
    seen_at = session.get(SEEN_AT)
    if seen_at is None or _seconds_since(seen_at, now) >= NOTED_EVERY_S:
        session[SEEN_AT] = now.timestamp()


def _seconds_since(at: float | None, now: datetime) -> float:
    return 0.0 if at is None else now.timestamp() - at
