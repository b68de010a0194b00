"""Headers, the second factor, 503 while the database is away, who acts."""

from collections.abc import Callable
from functools import cache

from django.conf import settings
from django.contrib.auth.views import redirect_to_login
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponse
from django.urls import reverse

from ema import second_factor
from ema.acting import acting
from ema.api.errors import API, bare_problem

READS = ("GET", "HEAD", "OPTIONS")
GetResponse = Callable[[HttpRequest], HttpResponse]


def content_security_policy(get_response: GetResponse) -> GetResponse:
    policy = "; ".join(f"{name} {' '.join(of)}" for name, of in settings.SECURE_CSP.items())

    def middleware(request: HttpRequest) -> HttpResponse:
        response = get_response(request)
        response.headers.setdefault("Content-Security-Policy", policy)
        return response

    return middleware


def names_who_acts(get_response: GetResponse) -> GetResponse:
    """Tells the database which operator sends something; who only reads changes nothing."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if request.method in READS:
            return get_response(request)
        try:
            if not request.user.is_authenticated:
                return get_response(request)
            with acting(request.user):
                return get_response(request)
        except (OperationalError, InterfaceError):  # of looking up the user: views have their own
            return database_away()

    return middleware


def database_away() -> HttpResponse:
    title = "The database is away; nothing was stored. Try again."
    return bare_problem(503, "database_away", title, {"Retry-After": "5"})


def second_factor_first(get_response: GetResponse) -> GetResponse:
    """Whoever signed in shows the second factor before any page; programs are asked by the API."""

    def middleware(request: HttpRequest) -> HttpResponse:
        has_session = settings.SESSION_COOKIE_NAME in request.COOKIES
        if has_session and not _is_open(request.path) and second_factor.is_missing(request):
            return redirect_to_login(request.get_full_path(), reverse("account:second-factor"))
        return get_response(request)

    return middleware


def _is_open(path: str) -> bool:
    """Pages on the way to the second factor, and what is not for people who signed in."""
    return path.startswith(API) or path in _open_addresses()


@cache
def _open_addresses() -> frozenset[str]:
    named = ("account:second-factor", "admin:login", "admin:logout", "live", "ready")
    return frozenset(map(reverse, named))


class DatabaseAway:
    """Turns a lost database into 503 with Retry-After: phones keep their answers and come back."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if not isinstance(error, OperationalError | InterfaceError):
            return None
        return database_away()
