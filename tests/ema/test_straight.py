"""Uploads as the web server hands them over, past the framework: the same door and answers."""

import io
import json
import logging
import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from wsgiref.types import WSGIApplication

import pytest
from django.core.wsgi import get_wsgi_application
from django.db import connection
from django.test import Client
from django.utils import timezone

from ema import wsgi
from ema.api.straight import straight_to_doors
from ema.models import Device, Phase, Response
from ema.tokens import Admission
from tests import trial
from tests.ema.test_prepared import end_backend

pytestmark = pytest.mark.django_db
SUBMIT, REPORT = "/api/v1/me/submissions:batch", "/api/v1/me/events:batch"
HTTPS = {"HTTP_X_FORWARDED_PROTO": "https"}


@dataclass
class Answer:
    status: int
    headers: dict[str, str]
    content: bytes

    def json(self) -> Any:
        return json.loads(self.content)


@pytest.fixture
def application() -> WSGIApplication:
    return wsgi.application


@pytest.fixture
def phone() -> Admission:
    enrolled_at = timezone.now() - timedelta(days=3)
    return trial.redeem(trial.enrol(trial.make_study(), "S1-001", "Europe/Brussels", enrolled_at))


def ask(
    application: WSGIApplication,
    body: bytes | io.BytesIO,
    token: str = "",
    path: str = SUBMIT,
    method: str = "POST",
    **changes: Any,
) -> Answer:
    """What a web server passes on, and what it is given to send back."""
    told: list[Any] = []
    environ = {
        "REQUEST_METHOD": method,
        "PATH_INFO": path,
        "SCRIPT_NAME": "",
        "QUERY_STRING": "",
        "SERVER_NAME": "127.0.0.1",
        "SERVER_PORT": "80",
        "HTTP_HOST": "127.0.0.1",
        "HTTP_AUTHORIZATION": f"Bearer {token}",
        "CONTENT_TYPE": "application/json",
        "wsgi.url_scheme": "http",
        "wsgi.input": body if isinstance(body, io.BytesIO) else io.BytesIO(body),
        **({} if isinstance(body, io.BytesIO) else {"CONTENT_LENGTH": str(len(body))}),
        **changes,
    }

    def start(status: str, headers: list[tuple[str, str]], error: Any = None) -> Any:
        told.extend((status, headers))

    content = b"".join(application(environ, start))
    status, headers = told
    return Answer(int(status.split()[0]), dict(headers), content)


def batch(**changes: Any) -> bytes:
    version = Phase.objects.get().questionnaire
    item = {
        "id": str(uuid.uuid4()),
        "trigger": "self_initiated",
        "questionnaire": {"key": version.questionnaire.key, "version": version.version},
        "completed_at": timezone.now().isoformat(),
        "answers": [{"item": "stress", "value": 40}],
        **changes,
    }
    return json.dumps({"items": [item]}).encode()


def test_an_upload_is_stored_and_its_answer_states_its_length(
    application: WSGIApplication, phone: Admission
) -> None:
    answer = ask(application, batch(), phone.access_token)
    assert (answer.status, answer.json()["items"][0]["status"]) == (200, "created")
    assert answer.headers == {
        "Content-Type": "application/json",
        "X-Content-Type-Options": "nosniff",
        "Content-Length": str(len(answer.content)),
    }
    assert Response.objects.count() == 1


def test_an_event_is_kept(application: WSGIApplication, phone: Admission) -> None:
    event = {"id": str(uuid.uuid4()), "kind": "clock_changed", "at": timezone.now().isoformat()}
    body = json.dumps({"items": [event]}).encode()
    answer = ask(application, body, phone.access_token, REPORT)
    assert answer.json()["items"] == [{"id": event["id"], "status": "stored"}]


def test_a_body_of_unstated_length_is_read_to_its_end(
    application: WSGIApplication, phone: Admission
) -> None:
    answer = ask(application, io.BytesIO(batch()), phone.access_token)
    assert answer.json()["items"][0]["status"] == "created"


@pytest.mark.parametrize(
    ("body", "token", "status", "code"),
    [
        (b"{", None, 400, "batch_unreadable"),
        (b'{"items": []}', "of nobody", 401, "unauthorised"),
        (b'{"items": []}', "", 401, "unauthorised"),
        (b'{"items": [' + b"{}," * 100 + b"{}]}", None, 413, "batch_too_large"),
        (b" " * (2 * 1024 * 1024 + 1), None, 413, "too_large"),
    ],
)
def test_a_refusal_is_the_same_problem_both_ways(
    application: WSGIApplication,
    phone: Admission,
    client: Client,
    caplog: pytest.LogCaptureFixture,
    body: bytes,
    token: str | None,
    status: int,
    code: str,
) -> None:
    token = phone.access_token if token is None else token
    with caplog.at_level(logging.WARNING):
        answer = ask(application, body, token)
    assert (answer.status, answer.json()["code"]) == (status, code)
    assert answer.headers["Content-Type"] == "application/problem+json"
    beside = client.post(
        SUBMIT, body, content_type="application/json", headers={"authorization": f"Bearer {token}"}
    )
    assert (answer.status, answer.json()) == (beside.status_code, beside.json())
    said = ("WWW-Authenticate", "Retry-After")
    assert [answer.headers.get(name) for name in said] == [beside.get(name) for name in said]
    line, framework = [(each.name, each.levelname, each.message) for each in caplog.records]
    assert line == framework


@pytest.mark.parametrize("ended", ["revoked_at", "access_expires_at"])
def test_a_phone_that_is_shut_out_stores_nothing(
    application: WSGIApplication, phone: Admission, ended: str
) -> None:
    Device.objects.update(**{ended: timezone.now() - timedelta(seconds=1)})
    for path in (SUBMIT, REPORT):
        assert ask(application, batch(), phone.access_token, path).status == 401
    assert not Response.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_no_phone_notices_that_the_server_lost_its_connection(
    application: WSGIApplication, phone: Admission
) -> None:
    body = batch()
    for path in (SUBMIT, REPORT):
        assert ask(application, body, phone.access_token, path).status == 200
        end_backend()
        assert ask(application, body, phone.access_token, path).status == 200


def test_a_body_without_end_is_not_read_on(application: WSGIApplication, phone: Admission) -> None:
    endless = io.BytesIO(b" " * 5_000_000)
    answer = ask(application, endless, phone.access_token)
    assert (answer.status, answer.json()["code"]) == (413, "too_large")
    assert endless.tell() < 3_000_000


def test_all_else_goes_the_frameworks_way(application: WSGIApplication) -> None:
    assert ask(application, b"", method="GET").json()["code"] == "unauthorised"
    assert ask(application, b"", path="/api/v1/nowhere").json()["code"] == "not_found"
    assert ask(application, b"", path="/health/live", method="GET").status == 200


@pytest.mark.django_db(transaction=True)
def test_what_comes_unencrypted_is_redirected_like_a_page(phone: Admission, settings: Any) -> None:
    settings.SECURE_SSL_REDIRECT = True
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    application = straight_to_doors(get_wsgi_application())  # the framework reads them once
    assert ask(application, batch(), phone.access_token).status == 301
    assert not Response.objects.exists()
    assert ask(application, batch(), phone.access_token, **HTTPS).status == 200


def test_a_client_is_told_to_stay_with_encryption_as_by_a_page(
    phone: Admission, settings: Any
) -> None:
    settings.SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    settings.SECURE_HSTS_SECONDS = 31_536_000
    settings.SECURE_HSTS_INCLUDE_SUBDOMAINS = settings.SECURE_HSTS_PRELOAD = True
    application = straight_to_doors(get_wsgi_application())
    upload = ask(application, batch(), phone.access_token, **HTTPS)
    page = ask(application, b"", path="/health/live", method="GET", **HTTPS)
    name = "Strict-Transport-Security"
    assert upload.headers[name] == page.headers[name] != ""


@pytest.mark.django_db(transaction=True)
def test_a_defect_is_a_problem_for_the_phone_and_a_line_in_the_log(
    application: WSGIApplication,
    phone: Admission,
    caplog: pytest.LogCaptureFixture,
) -> None:
    with trial.without("ema_response"), caplog.at_level(logging.ERROR):
        answer = ask(application, batch(), phone.access_token)
    assert (answer.status, answer.json()["code"]) == (500, "server_error")
    assert caplog.text.count(f"Internal Server Error: {SUBMIT}") == 1


@pytest.mark.django_db(transaction=True)
def test_while_the_database_is_away_phones_are_asked_to_come_again(
    application: WSGIApplication,
    phone: Admission,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    body = batch()
    connection.close()
    with monkeypatch.context() as away:
        away.setitem(connection.settings_dict, "HOST", "/nowhere")
        answer = ask(application, body, phone.access_token)
    assert (answer.status, answer.json()["code"]) == (503, "database_away")
    assert answer.headers["Retry-After"] == "5"
    [line] = caplog.records
    assert (line.levelname, line.message) == ("ERROR", f"Service Unavailable: {SUBMIT}")
    assert ask(application, body, phone.access_token).status == 200
