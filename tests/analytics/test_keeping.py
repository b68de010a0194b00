"""While Valkey is away pages are computed and not kept: whoever looks sees the same."""

import logging
import socket
import time
from pathlib import Path

import pytest
import redis
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from analytics import keeping
from analytics.coupling import estimate_couplings
from analytics.report_cache import renew_reports
from ema import embedded
from ema.models import Study
from tests.analytics.answers import make_trial, make_user

pytestmark = pytest.mark.django_db
PAGES = (
    "/studies/relief/comparison/",
    "/studies/relief/comparison/figure.svg",
    "/studies/relief/cremas/",
    "/api/v1/studies/relief/comparison",
    "/api/v1/studies/relief/cremas",
)


def keep_at(settings: Settings, address: str) -> None:
    default = settings.CACHES["default"] | {"LOCATION": address}
    settings.CACHES = settings.CACHES | {"default": default}


@pytest.fixture
def study() -> Study:
    study = make_trial()
    estimate_couplings(timezone.now())
    return study


@pytest.fixture
def reader(study: Study) -> Client:
    client = Client()
    client.force_login(make_user("stella", study, "statistician"))
    return client


def statuses(client: Client) -> dict[str, int]:
    return {page: client.get(page).status_code for page in PAGES}


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.name == "analytics.keeping"]


def test_pages_open_while_valkey_is_stopped_and_are_kept_when_it_is_back(
    reader: Client, settings: Settings, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    state = tmp_path / "queue"
    address = embedded.ensure(state, postgres=False).redis_url
    keep_at(settings, address)
    try:
        fine = statuses(reader)
        assert set(fine.values()) == {200}
        embedded.stop_and_wait(state)
        with caplog.at_level(logging.WARNING):
            assert statuses(reader) == fine
            assert told(caplog) == ["Valkey is away, so reports are not kept: ConnectionError"]
            embedded.ensure(state, postgres=False)
            assert statuses(reader) == fine
        assert told(caplog)[1:] == ["Valkey is back, so reports are kept again."]
        assert redis.Redis.from_url(address).dbsize() > 0
    finally:
        embedded.stop_and_wait(state)


def test_a_worker_makes_no_report_that_nobody_would_find(study: Study, settings: Settings) -> None:
    keep_at(settings, "redis://127.0.0.1:1")
    assert renew_reports() == 0
    keep_at(settings, settings.CELERY_BROKER_URL.replace("redis+socket", "unix"))
    assert renew_reports() == 1


def test_a_valkey_that_says_nothing_is_given_up(settings: Settings) -> None:
    with socket.socket() as mute:
        mute.bind(("127.0.0.1", 0))
        mute.listen()
        keep_at(settings, f"redis://127.0.0.1:{mute.getsockname()[1]}")
        began = time.monotonic()
        assert keeping.get("nothing") is None
        assert time.monotonic() - began < 4


def test_signing_in_needs_no_valkey(study: Study, settings: Settings) -> None:
    keep_at(settings, "redis://127.0.0.1:1")
    make_user("ines", study, "investigator")
    client = Client()
    form = {"username": "ines", "password": "wrong"}
    assert client.post("/admin/login/", form).status_code == 200
    answer = client.post("/admin/login/", form | {"password": "correct horse"})
    assert answer.status_code == 302
    assert client.get("/studies/relief/today/").status_code == 200


def test_enrolling_a_phone_waits_for_valkey_as_its_attempts_are_counted_there(
    study: Study, settings: Settings
) -> None:
    keep_at(settings, "redis://127.0.0.1:1")
    answer = Client().post("/api/v1/enrolments/redeem", {}, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (503, "limits_away")
