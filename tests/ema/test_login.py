"""Signing in: guesses are counted, sessions end."""

from base64 import b64encode
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from ema import sessions
from ema.models import Study
from tests import trial

pytestmark = pytest.mark.django_db
RIGHT, WRONG = "correct horse battery", "wrong horse"
API = "/api/v1/studies/demo/snapshots/"


@pytest.fixture
def study() -> Study:
    study = trial.make_study()
    user = User.objects.create_user("ines", password=RIGHT)
    study.memberships.create(user=user, role="investigator")
    return study


def sign_in(client: Client, password: str, name: str = "ines", **more: Any) -> Any:
    return client.post("/admin/login/", {"username": name, "password": password}, **more)


def ask_api(client: Client, password: str, name: str = "ines") -> Any:
    text = b64encode(f"{name}:{password}".encode()).decode()
    return client.get(API, headers={"Authorization": f"Basic {text}"})


@pytest.mark.parametrize("door", [sign_in, ask_api])
def test_the_fifth_failure_locks_a_name_at_an_address(
    study: Study, door: Callable[..., Any]
) -> None:
    client = Client()
    assert [door(client, WRONG).status_code < 429 for _ in range(4)] == [True] * 4
    door(client, WRONG)
    locked = door(client, RIGHT)
    assert locked.status_code == 429
    assert 800 < int(locked.headers["Retry-After"]) <= 900
    assert "Too many" in locked.content.decode()
    assert "Content-Security-Policy" in locked.headers


def test_a_page_says_how_long_the_lock_lasts(study: Study) -> None:
    client = Client()
    for _ in range(6):
        locked = sign_in(client, WRONG)
    said = locked.content.decode()
    assert "Try again in 15 minutes, or ask an administrator." in said
    assert "ines" not in said


def test_a_lock_of_one_door_holds_at_the_other(study: Study) -> None:
    client = Client()
    for _ in range(5):
        ask_api(client, WRONG)
    assert sign_in(client, RIGHT).status_code == 429


def test_other_names_and_other_addresses_are_not_locked(study: Study) -> None:
    User.objects.create_user("ada", password=RIGHT)
    client = Client()
    for _ in range(6):
        sign_in(client, WRONG)
    assert sign_in(client, RIGHT, REMOTE_ADDR="198.51.100.7").status_code == 302
    assert sign_in(Client(), RIGHT, name="ada").status_code < 400


def test_an_address_is_what_a_trusted_proxy_tells(study: Study, settings: Settings) -> None:
    settings.REST_FRAMEWORK = settings.REST_FRAMEWORK | {"NUM_PROXIES": 1}
    client = Client()
    for number in range(6):  # what the guesser writes in front changes nothing
        written = f"192.0.2.{number}, 198.51.100.7"
        sign_in(client, WRONG, headers={"X-Forwarded-For": written})
    told = {"X-Forwarded-For": "203.0.113.9, 198.51.100.7"}
    assert sign_in(client, RIGHT, headers=told).status_code == 429
    assert sign_in(client, RIGHT, headers={"X-Forwarded-For": "198.51.100.8"}).status_code == 302


def test_a_right_password_ends_the_count(study: Study) -> None:
    for _ in range(3):
        client = Client()
        assert [sign_in(client, WRONG).status_code for _ in range(4)] == [200] * 4
        assert sign_in(client, RIGHT).status_code == 302


def test_a_password_is_kept_as_argon2_makes_it(study: Study) -> None:
    assert User.objects.get().password.startswith("argon2$argon2id$")


def test_no_password_is_kept_of_failed_attempts(study: Study) -> None:
    from axes.models import AccessAttempt

    sign_in(Client(), WRONG)
    [kept] = AccessAttempt.objects.values_list("post_data", flat=True)
    assert WRONG not in kept


def age(client: Client, name: str, by: timedelta) -> None:
    session = client.session
    session[name] = (timezone.now() - by).timestamp()
    session.save()


@pytest.mark.parametrize(
    ("mark", "after", "sentence"),
    [
        (sessions.SEEN_AT, timedelta(minutes=31), "after 30 minutes without a request"),
        (sessions.SIGNED_IN_AT, timedelta(hours=8, minutes=1), "8 hours after signing in"),
    ],
)
def test_a_session_ends_and_says_why(
    study: Study, mark: str, after: timedelta, sentence: str
) -> None:
    client = Client()
    sign_in(client, RIGHT)
    assert client.get("/studies/").status_code == 200
    age(client, mark, after)
    answer = client.get("/studies/", follow=True)
    assert answer.redirect_chain == [("/admin/login/?next=/studies/", 302)]
    assert sentence in answer.content.decode()
    assert client.get("/studies/").status_code == 302


@pytest.mark.parametrize(
    ("mark", "after"),
    [
        (sessions.SEEN_AT, timedelta(minutes=29)),
        (sessions.SIGNED_IN_AT, timedelta(hours=7, minutes=59)),
    ],
)
def test_a_session_in_use_goes_on(study: Study, mark: str, after: timedelta) -> None:
    client = Client()
    sign_in(client, RIGHT)
    age(client, mark, after)
    assert client.get("/studies/").status_code == 200


def test_a_request_puts_off_the_end_by_idling_and_not_the_other(study: Study) -> None:
    client = Client()
    sign_in(client, RIGHT)
    began = client.session[sessions.SIGNED_IN_AT]
    age(client, sessions.SEEN_AT, timedelta(minutes=29))
    client.get("/studies/")
    assert timezone.now().timestamp() - client.session[sessions.SEEN_AT] < 60
    assert client.session[sessions.SIGNED_IN_AT] == began


def test_an_ended_session_opens_no_door_of_the_api(study: Study) -> None:
    client = Client()
    sign_in(client, RIGHT)
    assert client.get(API).status_code == 200
    age(client, sessions.SEEN_AT, timedelta(hours=1))
    assert client.get(API).status_code == 401


def test_a_phone_has_no_session(study: Study) -> None:
    phone = trial.redeem(trial.enrol(study, "S1-001", "UTC", timezone.now()))
    client = Client(headers={"Authorization": f"Bearer {phone.access_token}"})
    answer = client.get("/api/v1/me/config")
    assert answer.status_code == 200
    assert "Vary" not in answer.headers or "Cookie" not in answer.headers["Vary"]
    assert not client.cookies
