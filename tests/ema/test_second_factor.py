"""The second factor of operators, and the tokens of their programs."""

import re
from base64 import b64encode
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from django_otp.oath import totp
from django_otp.plugins.otp_static.models import StaticDevice, StaticToken
from django_otp.plugins.otp_totp.models import TOTPDevice
from pytest_django import Settings

from ema.models import ApiToken, AuditEvent, Study
from tests import trial

pytestmark = pytest.mark.django_db
PASSWORD = "correct horse battery"
PAGE = "/account/second-factor/"
API = "/api/v1/studies/demo/snapshots/"


@pytest.fixture(autouse=True)
def _required(settings: Settings) -> None:
    settings.MFA_REQUIRED = True


@pytest.fixture
def study() -> Study:
    study = trial.make_study()
    user = User.objects.create_user("ines", password=PASSWORD)
    study.memberships.create(user=user, role="investigator")
    return study


def signed_in(study: Study) -> Client:
    client = Client()
    form = {"username": "ines", "password": PASSWORD}
    assert client.post("/admin/login/", form).status_code == 302
    return client


def code_now() -> str:
    """What the phone shows; that it was used a moment ago is forgotten."""
    TOTPDevice.objects.update(last_t=-1, throttling_failure_count=0)
    return f"{totp(TOTPDevice.objects.get().bin_key):06}"


def write(client: Client, code: str, **more: str) -> Any:
    return client.post(PAGE, {"code": code, **more})


def enrolled(study: Study) -> tuple[Client, list[str]]:
    client = signed_in(study)
    client.get(PAGE)
    said = write(client, code_now()).content.decode()
    return client, re.findall(r"<code>([0-9A-Z-]{19})</code>", said)


def test_no_page_opens_before_the_second_factor(study: Study) -> None:
    client = signed_in(study)
    for path in ("/studies/", "/admin/", "/studies/demo/plans/", "/account/", "/admin/nothing/"):
        answer = client.get(path)
        assert answer.headers["Location"] == f"{PAGE}?next={path}", path
    assert client.post("/studies/demo/snapshots/request/").status_code == 302
    assert client.get(API).status_code == 401
    assert client.get("/health/live").status_code == 200


def test_the_first_sign_in_enrols_a_phone_and_shows_recovery_codes_once(study: Study) -> None:
    client = signed_in(study)
    shown = client.get(PAGE).content.decode()
    secret = re.search(r"Secret: <code>([A-Z2-7 ]+)</code>", shown)
    assert secret
    assert "<svg" in shown
    assert "style=" not in shown
    answer = write(client, code_now(), next="/studies/demo/plans/")
    codes = re.findall(r"<code>([0-9A-Z-]{19})</code>", answer.content.decode())
    assert len(set(codes)) == 10
    assert 'href="/studies/demo/plans/"' in answer.content.decode()
    assert "no-store" in answer.headers["Cache-Control"]
    assert client.get("/studies/").status_code == 200
    again = client.get(PAGE).content.decode()
    assert secret[1] not in again
    assert codes[0] not in again
    assert AuditEvent.objects.get(action="second_factor.enrolled").subject == "user ines"


def test_only_hashes_of_recovery_codes_are_kept(study: Study) -> None:
    _, codes = enrolled(study)
    kept = set(StaticToken.objects.values_list("token", flat=True))
    assert len(kept) == 10
    assert not kept & {code.replace("-", "") for code in codes} | kept & set(codes)


def test_each_sign_in_asks_for_a_code(study: Study) -> None:
    enrolled(study)
    client = signed_in(study)
    assert client.get("/studies/").status_code == 302
    answer = write(client, code_now(), next="/studies/demo/plans/")
    assert answer.headers["Location"] == "/studies/demo/plans/"
    assert client.get("/studies/").status_code == 200
    assert client.get(API).status_code == 200


def test_a_code_works_once(study: Study) -> None:
    enrolled(study)
    code = code_now()
    assert write(signed_in(study), code).status_code == 302
    second = write(signed_in(study), code)
    assert second.status_code == 400
    assert "was used already" in second.content.decode()


def test_a_recovery_code_works_once_however_it_is_typed(study: Study) -> None:
    _, codes = enrolled(study)
    assert write(signed_in(study), codes[0].lower().replace("-", " ")).status_code == 302
    assert write(signed_in(study), codes[0]).status_code == 400
    StaticDevice.objects.update(throttling_failure_count=0)
    assert write(signed_in(study), codes[1]).status_code == 302


def test_wrong_codes_are_answered_slower_and_slower(study: Study) -> None:
    enrolled(study)
    client = signed_in(study)
    right = f"{(int(code_now()) + 1) % 1_000_000:06}"
    assert "This code is wrong" in write(client, right).content.decode()
    assert "Try again in 1 s" in write(client, right).content.decode()
    last = TOTPDevice.objects.get().throttling_failure_timestamp
    TOTPDevice.objects.update(throttling_failure_timestamp=last - timedelta(seconds=1.1))
    write(client, right)
    assert "Try again in 2 s" in write(client, right).content.decode()
    assert client.get("/studies/").status_code == 302


def test_a_wrong_first_code_enrols_nothing(study: Study) -> None:
    client = signed_in(study)
    client.get(PAGE)
    assert write(client, "12").status_code == 400
    assert not TOTPDevice.objects.filter(confirmed=True).exists()
    assert client.get("/studies/").status_code == 302


def test_the_way_on_leads_to_this_server_only(study: Study) -> None:
    enrolled(study)
    answer = write(signed_in(study), code_now(), next="https://elsewhere.example/")
    assert answer.headers["Location"] == "/"


def test_a_reset_lets_enrol_anew_and_closes_sessions(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    client, _ = enrolled(study)
    call_command("reset_second_factor", "ines", reason="phone stolen")
    assert "ines enrols a phone when they sign in next." in capsys.readouterr().out
    assert client.get("/studies/").status_code == 302
    assert "Enrol your phone" in client.get(PAGE).content.decode()
    assert AuditEvent.objects.get(action="second_factor.reset").reason == "phone stolen"
    TOTPDevice.objects.all().delete()
    with pytest.raises(CommandError, match="ines has enrolled no second factor") as refused:
        call_command("reset_second_factor", "ines", reason="again")
    assert refused.value.returncode == 1


def test_no_administrator_reads_a_secret(study: Study) -> None:
    enrolled(study)
    client = Client()
    root = User.objects.create_user("root", is_superuser=True, is_staff=True)
    client.force_login(root)
    client.get(PAGE)
    root_phone = TOTPDevice.objects.get(user=root)
    write(client, f"{totp(root_phone.bin_key):06}")
    for path in ("otp_totp/totpdevice", "otp_static/staticdevice", "axes/accessattempt"):
        assert client.get(f"/admin/{path}/").status_code == 404, path


def test_new_recovery_codes_replace_those_before(study: Study) -> None:
    client, before = enrolled(study)
    said = client.post("/account/recovery-codes/").content.decode()
    after = re.findall(r"<code>([0-9A-Z-]{19})</code>", said)
    assert len(after) == 10
    assert write(signed_in(study), before[0]).status_code == 400
    StaticDevice.objects.update(throttling_failure_count=0)
    assert write(signed_in(study), after[0]).status_code == 302


# --- tokens -------------------------------------------------------------------------------


def make_token(client: Client, name: str = "nightly report", days: str = "30") -> Any:
    return client.post("/account/tokens/", {"name": name, "days": days})


def token_in(answer: Any) -> str:
    found = re.search(r"<code>(fbt_[\w-]+)</code>", answer.content.decode())
    assert found
    return found[1]


def ask(token: str) -> Any:
    return Client().get(API, headers={"Authorization": f"Bearer {token}"})


def test_a_token_is_shown_once_and_only_its_hash_is_kept(study: Study) -> None:
    client, _ = enrolled(study)
    token = token_in(make_token(client))
    shown = client.get("/account/").content.decode()
    assert "nightly report" in shown
    assert token not in shown
    kept = ApiToken.objects.values_list("token_hash", "name").get()
    assert token not in kept
    assert token not in str(list(AuditEvent.objects.values("before", "after", "subject")))
    assert ask(token).status_code == 200


def test_a_revoked_token_opens_nothing_from_the_next_request_on(study: Study) -> None:
    client, _ = enrolled(study)
    token = token_in(make_token(client))
    client.post(f"/account/tokens/{ApiToken.objects.get().pk}/revoke/")
    assert ask(token).status_code == 401
    assert AuditEvent.objects.filter(action="api_token.revoked").count() == 1


@pytest.mark.parametrize("ended", ["expired", "the user is inactive", "the role is gone"])
def test_a_token_ends_with_its_time_its_owner_and_their_role(study: Study, ended: str) -> None:
    client, _ = enrolled(study)
    token = token_in(make_token(client))
    now = timezone.now()
    if ended == "expired":
        ApiToken.objects.update(made_at=now - timedelta(days=2), expires_at=now)
    elif ended == "the user is inactive":
        User.objects.update(is_active=False)
    else:
        study.memberships.all().delete()
    assert ask(token).status_code == (404 if ended == "the role is gone" else 401)


@pytest.mark.parametrize(
    ("name", "days", "sentence"),
    [
        ("", "30", "Name the token after what it is for"),
        ("n" * 61, "30", "in up to 60 characters"),
        ("report", "0", "A token lasts 1 to 366 days."),
        ("report", "367", "A token lasts 1 to 366 days."),
        ("report", "soon", "A token lasts 1 to 366 days."),
    ],
)
def test_a_wrong_token_is_refused_in_a_sentence(
    study: Study, name: str, days: str, sentence: str
) -> None:
    client, _ = enrolled(study)
    answer = make_token(client, name, days)
    assert answer.status_code == 400
    assert sentence in answer.content.decode()
    assert not ApiToken.objects.exists()


def test_nobody_revokes_the_token_of_another(study: Study, settings: Settings) -> None:
    client, _ = enrolled(study)
    token = token_in(make_token(client))
    settings.MFA_REQUIRED = False
    other = Client()
    other.force_login(User.objects.create_user("ada"))
    path = f"/account/tokens/{ApiToken.objects.get().pk}/revoke/"
    assert other.post(path).status_code == 404
    settings.MFA_REQUIRED = True
    assert ask(token).status_code == 200


@pytest.mark.parametrize("required", [True, False])
def test_a_password_alone_opens_the_api_only_without_the_requirement(
    study: Study, settings: Settings, required: bool
) -> None:
    settings.MFA_REQUIRED = required
    text = b64encode(f"ines:{PASSWORD}".encode()).decode()
    answer = Client().get(API, headers={"Authorization": f"Basic {text}"})
    assert answer.status_code == (401 if required else 200)
    assert ("make a token on the page Your account" in answer.content.decode()) is required


def test_without_the_requirement_a_password_opens_the_pages(
    study: Study, settings: Settings
) -> None:
    settings.MFA_REQUIRED = False
    assert signed_in(study).get("/studies/").status_code == 200
