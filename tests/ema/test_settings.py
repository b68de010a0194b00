"""A wrong setting stops the start with a sentence that names its variable."""

import json
import multiprocessing
import os
import runpy
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.conf import settings

KEY = "k" * 50
PRELOADED = [
    "tests.ema.test_settings",
    "django_stubs_ext",
    "ema.embedded",
    "ema.link_settings",
    "ema.push_settings",
    "scipy.stats",
]
MANAGE = str(Path(__file__).parents[2] / "manage.py")
SERVER = {"DATABASE_URL": "postgres://a:b@127.0.0.1:1/c", "REDIS_URL": "redis://127.0.0.1:1/0"}


def manage(*arguments: str, **environ: str) -> "subprocess.CompletedProcess[str]":
    """`manage.py ARGUMENTS` with only the named settings."""
    return subprocess.run(
        [sys.executable, MANAGE, *arguments],
        env={**surroundings(), **environ},
        capture_output=True,
        text=True,
        check=False,
    )


def surroundings() -> dict[str, str]:
    kept = ("PATH", "HOME", "FOURBEAT_STATE_DIR")
    return {name: os.environ[name] for name in kept if name in os.environ}


def check(environ: Mapping[str, str], said: Path) -> int | None:
    """`manage.py check` in a process of its own; its exit code.

    It need not import anew what knows nothing of settings.
    """
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(PRELOADED)
    process = processes.Process(target=_check, args=({**surroundings(), **environ}, said))
    process.start()
    process.join()
    return process.exitcode


def _check(environ: Mapping[str, str], said: Path) -> None:
    os.environ.clear()
    os.environ.update(environ)
    sys.argv = [MANAGE, "check"]
    with said.open("w") as sys.stdout:
        sys.stderr = sys.stdout
        runpy.run_path(MANAGE, run_name="__main__")


FROM = {"EMAIL_FROM": "check-in@example.org"}
EMAIL = {"EMAIL_URL": "smtp+tls://user:pa%2Fss@mail.example.org", **FROM}
SMS = "smseagles://secret-token@sms.example.org/{to}"
LINK = "https://app.example.org/#prompt={prompt_id}"


def account(token_uri: str) -> str:
    """A service account whose key is none."""
    known = {"project_id": "p", "client_email": "a@b", "private_key": "none"}
    return json.dumps({**known, "token_uri": token_uri})


def p8() -> str:
    """A key as Apple hands it out, on one line as environments often want it."""
    key = ec.generate_private_key(ec.SECP256R1())
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    return pem.decode().replace("\n", "\\n")


@pytest.mark.parametrize(
    ("environ", "sentence"),
    [
        ({"PLAN_EVERY_S": "soon"}, "PLAN_EVERY_S='soon' is wrong: it must be a number of seconds"),
        ({"PLAN_EVERY_S": "0"}, "PLAN_EVERY_S='0' is wrong: it must be a number of seconds above"),
        ({"DISPATCH_EVERY_S": "-5"}, "DISPATCH_EVERY_S='-5' is wrong"),
        ({"COUPLE_EVERY_S": "nan"}, "COUPLE_EVERY_S='nan' is wrong"),
        ({"SNAPSHOT_EVERY_S": "inf"}, "SNAPSHOT_EVERY_S='inf' is wrong"),
        ({"TRUSTED_PROXIES": "two"}, "TRUSTED_PROXIES='two' is wrong: it must be a whole number"),
        (
            {"QUIET_PHONE_DAYS": "0"},
            "QUIET_PHONE_DAYS='0' is wrong: it must be a whole number of da",
        ),
        ({"TRUSTED_PROXIES": "-1"}, "TRUSTED_PROXIES='-1' is wrong: it must be a whole number, 0"),
        ({"DEBUG": "maybe"}, "DEBUG='maybe' is wrong: it must be on or off."),
        ({"LOG_LEVEL": "foo"}, "LOG_LEVEL='foo' is wrong: it must be one of DEBUG, INFO,"),
        ({"REDEEM_RATE": "abc"}, "REDEEM_RATE='abc' is wrong: it must be a number per second"),
        ({"REDEEM_RATE": "5/fortnight"}, "REDEEM_RATE='5/fortnight' is wrong"),
        ({"REDIS_URL": "foo"}, "REDIS_URL='foo' is wrong: it must be redis://host:6379/0"),
        ({"REDIS_URL": "redis://host:port/0"}, "REDIS_URL='redis://host:port/0' is wrong"),
        ({"REDIS_URL": "redis://"}, "REDIS_URL='redis://' is wrong"),
        ({"DELIVERY_CHANNEL": "pigeon"}, "DELIVERY_CHANNEL='pigeon' is wrong"),
        ({"DELIVERY_CHANNEL": "webhook"}, "DELIVERY_WEBHOOK_URL must be an http(s) address"),
        ({"PUSH_HOSTS": "https://a.org/"}, "PUSH_HOSTS: 'https://a.org/' is wrong"),
        ({"VAPID_PRIVATE_KEY": "short"}, "VAPID_PRIVATE_KEY must be 32 bytes in base64url"),
        ({"VAPID_PRIVATE_KEY": "A" * 43}, "VAPID_PRIVATE_KEY must be 32 bytes in base64url"),
        ({"VAPID_PRIVATE_KEY": "_" * 43}, "VAPID_PRIVATE_KEY must be 32 bytes in base64url"),
        ({"VAPID_PRIVATE_KEY": "B" * 43}, "VAPID_SUBJECT must say whom"),
        ({"FCM_SERVICE_ACCOUNT": "/nowhere"}, "FCM_SERVICE_ACCOUNT names a file that cannot"),
        (
            {"FCM_SERVICE_ACCOUNT": "{}"},
            "FCM_SERVICE_ACCOUNT must be the JSON of a service account",
        ),
        ({"FCM_SERVICE_ACCOUNT": account("http://a.org")}, "its token_uri must begin with https"),
        ({"FCM_SERVICE_ACCOUNT": account("https://a.org")}, "must hold an RSA key of Google"),
        ({"FCM_URL": "http://a.org"}, "FCM_URL='http://a.org' is wrong: write https://host."),
        ({"APNS_KEY": "-----BEGIN"}, "APNS_KEY must hold the .p8 key of Apple"),
        ({"APNS_KEY": p8()}, "APNS_KEY_ID must be set when APNS_KEY is."),
        ({"APNS_URL": "https://a.org/path"}, "APNS_URL='https://a.org/path' is wrong"),
        ({"EMAIL_URL": "mail.example.org"}, "EMAIL_URL is wrong: write smtp+tls://"),
        ({"EMAIL_URL": "smtps://u:p@mail.example.org"}, "EMAIL_URL is wrong: write smtp+tls://"),
        ({"EMAIL_URL": "smtp+tls://"}, "EMAIL_URL is wrong"),
        ({"EMAIL_URL": "smtp+tls://h:port"}, "EMAIL_URL is wrong"),
        ({"EMAIL_URL": "smtp+tls://h?timeout=60"}, "EMAIL_URL is wrong"),
        ({"EMAIL_URL": "smtp://mail.example.org"}, "EMAIL_URL: smtp:// sends in the clear"),
        ({"EMAIL_URL": "smtp+ssl://h"}, "EMAIL_FROM must be the address"),
        (
            {"EMAIL_URL": "smtp+ssl://h", "EMAIL_FROM": "Trial <a@b.org>"},
            "EMAIL_FROM must be the address",
        ),
        (EMAIL, "LINK_URL_TEMPLATE must be set when EMAIL_URL or SMS_URL is"),
        ({"SMS_URL": SMS}, "LINK_URL_TEMPLATE must be set when EMAIL_URL or SMS_URL is"),
        ({"LINK_URL_TEMPLATE": LINK.replace("https", "http")}, "LINK_URL_TEMPLATE must be set"),
        ({"LINK_URL_TEMPLATE": "https://a.org/{prompt_id}"}, "LINK_URL_TEMPLATE must be set"),
        ({"LINK_URL_TEMPLATE": "https://a.org/#x"}, "LINK_URL_TEMPLATE must be set"),
        ({"LINK_URL_TEMPLATE": LINK + "&arm={arm}"}, "LINK_URL_TEMPLATE must be set"),
        ({"SMS_URL": "pigeon://{to}"}, "SMS_URL is wrong: write an SMS service"),
        ({"SMS_URL": "smseagles://token@host/"}, "SMS_URL is wrong: write an SMS service"),
        ({"SMS_URL": "twilio://x:y@z/{to}"}, "SMS_URL is wrong: write an SMS service"),
        ({"SMS_URL": "smseagle://token@host/{to}"}, "in the clear: write smseagles."),
        ({"SMS_URL": SMS + "?verify=no"}, "SMS_URL must not change verify"),
        ({"SMS_URL": SMS + "?redirect=yes"}, "SMS_URL must not change verify"),
        ({"SMS_URL": SMS + "?rto=60"}, "SMS_URL must not change verify"),
        ({"SMS_URL": SMS + "?retry=3"}, "SMS_URL must not change verify"),
        (SERVER, "SECRET_KEY is not set"),
        ({**SERVER, "SECRET_KEY": "short"}, "SECRET_KEY shorter than 32 characters"),
        ({**SERVER, "SECRET_KEY": KEY, "ALLOWED_HOSTS": "*"}, "* in ALLOWED_HOSTS"),
        ({**SERVER, "SECRET_KEY": KEY, "DEBUG": "on"}, "must not run with DEBUG on"),
        ({"DATABASE_URL": "postgres://"}, "DATABASE_URL must name a PostgreSQL server and a data"),
        ({"DATABASE_URL": "nonsense"}, "DATABASE_URL must name a PostgreSQL server"),
        ({"DATABASE_URL": "mysql://a@b/c"}, "DATABASE_URL must name a PostgreSQL server"),
        ({"DATABASE_URL": "postgres://a:b@host:port/c"}, "DATABASE_URL cannot be read"),
    ],
)
def test_a_wrong_setting_is_named(environ: dict[str, str], sentence: str, tmp_path: Path) -> None:
    key = {"SECRET_KEY": KEY if "SECRET" not in sentence else ""}
    assert check({**key, **environ}, tmp_path / "said") == 2
    said = (tmp_path / "said").read_text()
    assert sentence in said
    assert "Traceback" not in said
    assert "secret-token" not in said


@pytest.mark.parametrize(
    "environ",
    [
        {"DEBUG": "", "REDIS_URL": "", "LOG_LEVEL": "info", "REDEEM_RATE": "100000/min"},
        {"DEBUG": "True", "REDIS_URL": "rediss://:word@host", "PLAN_EVERY_S": "0.5"},
        {"EMAIL_URL": "smtp://localhost", **FROM, "LINK_URL_TEMPLATE": LINK},
        {**EMAIL, "SMS_URL": SMS, "LINK_URL_TEMPLATE": LINK},
        {"DEBUG": "off", "REDIS_URL": "unix:///tmp/valkey.sock", "REDEEM_RATE": "1/hour"},
    ],
)
def test_right_settings_are_taken(environ: dict[str, str], tmp_path: Path) -> None:
    said = tmp_path / "said"
    assert check({"SECRET_KEY": KEY, **environ}, said) == 0, said.read_text()


def test_a_database_that_cannot_be_reached_is_named() -> None:
    ended = manage("migrate", **SERVER, SECRET_KEY=KEY)
    assert ended.returncode == 2
    assert "'c' at 127.0.0.1 (from DATABASE_URL)" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_state_directory_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    in_the_way = tmp_path / "file"
    in_the_way.write_text("")
    ended = manage("migrate", FOURBEAT_STATE_DIR=str(in_the_way / "state"))
    assert ended.returncode == 2
    assert f"FOURBEAT_STATE_DIR={in_the_way / 'state'} cannot be written" in ended.stderr


def test_the_settings_of_a_server_pass_djangos_deployment_check() -> None:
    server = {**SERVER, "SECRET_KEY": "aB3$xyz9" * 8, "ALLOWED_HOSTS": "trial.example.org"}
    ended = manage("check", "--deploy", "--fail-level", "WARNING", **server)
    assert ended.returncode == 0, ended.stderr


def test_the_key_of_a_machine_is_made_once_and_kept_to_its_owner() -> None:
    path = Path(settings.STATE_DIR) / "secret_key"
    assert path.read_text() == settings.SECRET_KEY
    assert path.stat().st_mode & 0o777 == 0o600
    assert len(settings.SECRET_KEY) > 50


def test_zones_come_from_the_pinned_package_only() -> None:
    import zoneinfo

    assert zoneinfo.TZPATH == ()
