"""Uploads, straight from the web server to their doors: the framework costs two thirds of theirs.

Whatever is not plainly an upload that may be answered goes the framework's way: all other methods
and addresses, and what came unencrypted where that is sent elsewhere.
"""

import logging
from collections.abc import Iterable
from functools import partial
from http import HTTPStatus
from typing import TYPE_CHECKING

from django.conf import settings
from django.core.exceptions import RequestDataTooBig
from django.db import close_old_connections
from django.urls import reverse

from ema.api import uploads
from ema.api.errors import SERVER_ERROR, problem

if TYPE_CHECKING:
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

log = logging.getLogger("django.request")  # where the framework says the same of its own


def straight_to_doors(framework: "WSGIApplication") -> "WSGIApplication":
    """A WSGI application that answers uploads itself, and leaves the rest to the framework's."""
    doors = {
        reverse("phone:submissions"): uploads.Submissions.take,
        reverse("phone:events"): uploads.Events.take,
    }
    guards = _guards()

    def application(environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        take = doors.get(environ["PATH_INFO"])
        if take is None or environ["REQUEST_METHOD"] != "POST" or _is_redirected(environ):
            return framework(environ, start_response)
        reply = _answer(take, environ)
        headers = {**reply.headers, **guards, "Content-Length": str(len(reply.content))}
        status = HTTPStatus(reply.status)
        start_response(f"{status.value} {status.phrase}", list(headers.items()))
        return [reply.content]

    return application


def _guards() -> dict[str, str]:
    """What the framework tells every client: not to guess, and to stay with encryption."""
    guards = {"X-Content-Type-Options": "nosniff"}
    if settings.SECURE_HSTS_SECONDS:
        stay = f"max-age={settings.SECURE_HSTS_SECONDS}; includeSubDomains; preload"
        guards["Strict-Transport-Security"] = stay
    return guards


def _is_redirected(environ: "WSGIEnvironment") -> bool:
    """Whether this came unencrypted to a server that then redirects."""
    name, value = settings.SECURE_PROXY_SSL_HEADER or ("wsgi.url_scheme", "https")
    return bool(settings.SECURE_SSL_REDIRECT and environ.get(name) != value)


def _answer(take: uploads.Take, environ: "WSGIEnvironment") -> uploads.Reply:
    authorization, path = environ.get("HTTP_AUTHORIZATION", ""), environ["PATH_INFO"]
    try:
        reply = uploads.answer(take, authorization, partial(_body_of, environ))
    except Exception:
        log.exception("%s: %s", HTTPStatus.INTERNAL_SERVER_ERROR.phrase, path)
        reply = uploads.refused(problem(*SERVER_ERROR))
    else:
        _log(HTTPStatus(reply.status), path)
    if reply.status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        close_old_connections()  # that broke, as the framework does with each request
    return reply


def _log(status: HTTPStatus, path: str) -> None:
    """A line for each refusal, as the framework writes it."""
    if status >= HTTPStatus.BAD_REQUEST:
        level = logging.ERROR if status >= HTTPStatus.INTERNAL_SERVER_ERROR else logging.WARNING
        log.log(level, "%s: %s", status.phrase, path)


def _body_of(environ: "WSGIEnvironment") -> bytes:
    """The body, stated in length or ended by the phone; RequestDataTooBig for a larger one."""
    most = settings.DATA_UPLOAD_MAX_MEMORY_SIZE
    stated = environ.get("CONTENT_LENGTH")
    if stated and int(stated) > most:
        raise RequestDataTooBig
    body: bytes = environ["wsgi.input"].read(int(stated) if stated else most + 1)
    if len(body) > most:
        raise RequestDataTooBig
    return body
