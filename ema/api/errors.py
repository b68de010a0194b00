"""Errors are for people: problem+json (RFC 9457) with a stable `code`."""

from typing import Any

from django.core.exceptions import RequestDataTooBig
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest, HttpResponseBase, JsonResponse
from django.views import defaults
from redis.exceptions import RedisError
from rest_framework import exceptions, status
from rest_framework.response import Response

from ema.access import NoAccess

API = "/api/"

CODES = {
    400: "invalid",
    401: "unauthorised",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    413: "too_large",
    415: "unsupported_media_type",
    429: "too_many_requests",
    503: "database_away",
}


class Problem(Exception):
    """A refusal with its status, its stable code and one clear sentence.

    `errors` are faults of the body: each a JSON pointer and a sentence.
    """

    def __init__(
        self,
        status: int,
        code: str,
        title: str,
        headers: dict[str, str] | None = None,
        errors: list[dict[str, str]] | None = None,
    ) -> None:
        super().__init__(title)
        self.status, self.code, self.title, self.headers = status, code, title, headers or {}
        self.errors = errors


def problem(
    status: int,
    code: str,
    title: str,
    headers: dict[str, str] | None = None,
    errors: list[dict[str, str]] | None = None,
) -> Response:
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "code": code}
    if errors:
        body["errors"] = errors
    return Response(body, status, headers=headers, content_type="application/problem+json")


def as_problem(error: Exception, context: dict[str, Any]) -> Response | None:
    """REST framework's exception handler: None lets a defect be a 500 with its traceback logged."""
    match error:
        case Problem():
            return problem(error.status, error.code, error.title, error.headers, error.errors)
        case NoAccess():
            return problem(404, "not_found", str(error))
        case RequestDataTooBig():
            return problem(413, "too_large", "The body is larger than 2 MB: send half.")
        case OperationalError() | InterfaceError():
            title = "The database is away; nothing was stored. Try again."
            return problem(503, "database_away", title, {"Retry-After": "5"})
        case RedisError():
            title = "Requests cannot be counted just now, so this one is not taken. Try again."
            return problem(503, "limits_away", title, {"Retry-After": "5"})
        case exceptions.APIException():
            return _from_framework(error)
    return None


def _from_framework(error: exceptions.APIException) -> Response:
    headers = {}
    if wait := getattr(error, "wait", None):
        headers["Retry-After"] = str(int(wait) + 1)
    if challenge := getattr(error, "auth_header", None):
        headers["WWW-Authenticate"] = challenge
    code = CODES.get(error.status_code, "error")
    if isinstance(error, exceptions.ValidationError):
        errors = list(pointed(error.detail))
        title = "; ".join(f"{e['pointer'].strip('/') or 'body'}: {e['detail']}" for e in errors)
        return problem(status.HTTP_400_BAD_REQUEST, code, title, headers, errors)
    return problem(error.status_code, code, str(error.detail), headers)


def pointed(detail: Any, pointer: str = "") -> Any:
    """Each message with the JSON pointer of its field."""
    if isinstance(detail, dict):
        for name, below in detail.items():
            step = "" if name == "non_field_errors" else f"/{name}"
            yield from pointed(below, pointer + step)
    elif isinstance(detail, list):
        for below in detail:
            yield from pointed(below, pointer)
    else:
        yield {"pointer": pointer, "detail": str(detail)}


# --- outside of any door ----------------------------------------------------------------

SERVER_ERROR = (500, "server_error", "The server failed on this request. Try again later.")


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponseBase:
    """Programs get a problem where there is no such address, people get a page."""
    if not request.path.startswith(API):
        return defaults.page_not_found(request, exception)
    return bare_problem(404, "not_found", "There is nothing at this address.")


def server_error(request: HttpRequest) -> HttpResponseBase:
    """A defect of ours, in the form that the one who asked can read."""
    if not request.path.startswith(API):
        return defaults.server_error(request)
    return bare_problem(*SERVER_ERROR)


def bare_problem(
    status: int, code: str, title: str, headers: dict[str, str] | None = None
) -> JsonResponse:
    """A problem where the REST framework has no part."""
    body = {"type": "about:blank", "title": title, "status": status, "code": code}
    content_type = "application/problem+json"
    return JsonResponse(body, status=status, content_type=content_type, headers=headers)
