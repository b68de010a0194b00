"""Signing in: whose address it is, and what is said to those who guessed too often."""

from datetime import timedelta
from math import ceil
from typing import Any

from axes.helpers import get_client_username
from axes.models import AccessAttempt
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.utils import timezone

from ema.api.errors import API, bare_problem
from ema.pages import answer_page


def client_address(request: Any) -> str | None:
    """Who asks, as the proxies that are trusted tell it (TRUSTED_PROXIES)."""
    told = request.META.get("HTTP_X_FORWARDED_FOR", "").split(",")
    trusted = settings.REST_FRAMEWORK["NUM_PROXIES"]
    if trusted and told != [""]:
        return str(told[-min(trusted, len(told))].strip())
    return request.META.get("REMOTE_ADDR") or None


def locked_out(
    request: HttpRequest, answer: HttpResponse | None, credentials: dict[str, Any] | None
) -> HttpResponse:
    """What whoever may not try for a while is told, instead of the answer there was."""
    wait = seconds_locked(name=get_client_username(request, credentials) or "", request=request)
    headers = {"Retry-After": str(wait)}
    if request.path.startswith(API):
        title = "Too many failed attempts with this name from this address. Try again later."
        return bare_problem(429, "too_many_requests", title, headers)
    page = answer_page(
        request, "ema/locked_out.html", "Too many attempts", 429, minutes=ceil(wait / 60)
    )
    page.headers["Retry-After"] = headers["Retry-After"]
    return page


def seconds_locked(*, name: str, request: Any) -> int:
    """How long this user name stays refused from this address."""
    last = (
        AccessAttempt.objects.filter(username=name, ip_address=client_address(request))
        .order_by("-attempt_time")
        .values_list("attempt_time", flat=True)
        .first()
    )
    ends_at = (last or timezone.now()) + timedelta(minutes=settings.LOGIN_LOCKED_MINUTES)
    return max(1, ceil((ends_at - timezone.now()).total_seconds()))
