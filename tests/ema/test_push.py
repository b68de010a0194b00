"""Push registrations: phones say where they can be told; the server calls nowhere else."""

import base64
import json
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import IntegrityError, transaction
from django.test import Client
from django.utils import timezone

from ema import audit, push, studies
from ema.models import PushRegistration, Study
from ema.models.study import Role
from ema.tokens import Admission
from tests import trial

pytestmark = pytest.mark.django_db

PATH = "/api/v1/me/push-registration"
ENDPOINT = "https://updates.push.services.mozilla.com/wpush/v2/gAAAAABk"
KEYS = {
    "p256dh": base64.urlsafe_b64encode(b"\x04" + bytes(64)).decode().rstrip("="),
    "auth": base64.urlsafe_b64encode(bytes(16)).decode().rstrip("="),
}
TOKEN = "ab" * 32


@pytest.fixture
def phone(study: Study) -> Admission:
    return trial.redeem(trial.enrol(study, "S1-001", "Europe/Brussels", timezone.now()))


def ask(phone: Admission, method: str = "PUT", **content: Any) -> Any:
    return Client().generic(
        method,
        PATH,
        json.dumps(content),
        content_type="application/json",
        headers={"Authorization": f"Bearer {phone.access_token}"},
    )


def test_a_phone_registers_and_takes_it_back(phone: Admission) -> None:
    answer = ask(phone, kind="webpush", address=ENDPOINT, keys={**KEYS, "more": "ignored"})
    assert (answer.status_code, answer.content) == (204, b"")
    registration = PushRegistration.objects.live().get()
    assert registration.device == phone.device
    assert (registration.kind, registration.address) == ("webpush", ENDPOINT)
    assert registration.keys == KEYS
    assert ask(phone, "DELETE").status_code == 204
    assert not PushRegistration.objects.exists()
    assert ask(phone, "DELETE").status_code == 204


def test_a_new_registration_takes_the_place_of_the_former_even_a_dead_one(
    phone: Admission,
) -> None:
    ask(phone, kind="apns", address=TOKEN)
    former = PushRegistration.objects.get()
    assert push.retire(former, reason="Unregistered", now=timezone.now())
    assert not PushRegistration.objects.live().exists()
    assert ask(phone, kind="fcm", address="f" * 140).status_code == 204
    registration = PushRegistration.objects.live().get()
    assert (registration.kind, registration.keys, registration.death) == ("fcm", {}, "")


def test_a_phone_that_registered_anew_is_not_retired_for_its_old_address(
    phone: Admission,
) -> None:
    ask(phone, kind="apns", address=TOKEN)
    old = PushRegistration.objects.get()
    ask(phone, kind="apns", address="cd" * 32)
    assert not push.retire(old, reason="Unregistered", now=timezone.now())
    assert PushRegistration.objects.live().exists()


def test_an_address_belongs_to_the_phone_that_named_it_last(study: Study, phone: Admission) -> None:
    other = trial.redeem(trial.enrol(study, "S1-002", "Europe/Brussels", timezone.now()))
    ask(phone, kind="apns", address=TOKEN)
    ask(other, kind="apns", address=TOKEN)
    assert PushRegistration.objects.live().get().device == other.device
    assert PushRegistration.objects.get(device=phone.device).death


def test_a_replaced_phone_has_no_live_registration(phone: Admission) -> None:
    ask(phone, kind="apns", address=TOKEN)
    trial.redeem(phone.device.participant)
    assert not PushRegistration.objects.live().exists()


@pytest.mark.parametrize(
    "address",
    [
        ENDPOINT,
        "https://fcm.googleapis.com/fcm/send/abc:def",
        "https://web.push.apple.com/QGx",
        "https://db5p.notify.windows.com/w/?token=BQY%2fa",
    ],
)
def test_the_known_push_services_are_accepted(phone: Admission, address: str) -> None:
    assert ask(phone, kind="webpush", address=address, keys=KEYS).status_code == 204


@pytest.mark.parametrize(
    "address",
    [
        "http://updates.push.services.mozilla.com/wpush/v2/x",
        "https://fcm.googleapis.com:8443/x",
        "https://fcm.googleapis.com@127.0.0.1/x",
        "https://user:secret@fcm.googleapis.com/x",
        "https://127.0.0.1/x",
        "https://[::1]/x",
        "https://169.254.169.254/latest/meta-data",
        "https://push.services.mozilla.com/x",
        "https://evilpush.services.mozilla.com/x",
        "https://fcm.googleapis.com.example.org/x",
        "https://example.org/?fcm.googleapis.com/",
        "https://example.org\\@fcm.googleapis.com/x",
        "https://example.org#fcm.googleapis.com/x",
        "https://fcm.googleapis.com\n.example.org/x",
        "https://fcm.googleapis.com./x",
        "https://fcm。googleapis。com/x",
        "https:fcm.googleapis.com/x",
        "https://fcm.googleapis.com",
        "file:///etc/passwd",
        "nothing",
    ],
)
def test_the_server_calls_no_address_but_a_known_push_service(
    phone: Admission, address: str
) -> None:
    answer = ask(phone, kind="webpush", address=address, keys=KEYS)
    assert answer.status_code == 400
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "address_refused"
    assert not PushRegistration.objects.exists()


def test_more_push_services_are_allowed_by_a_setting(phone: Admission, settings: Any) -> None:
    settings.PUSH_HOSTS = ["*.push.example.org", "10.0.0.7:8443"]
    for address, status in {
        "https://a.push.example.org/x": 204,
        "https://push.example.org/x": 400,
        "https://10.0.0.7:8443/x": 204,
        "https://10.0.0.7/x": 400,
    }.items():
        assert ask(phone, kind="webpush", address=address, keys=KEYS).status_code == status


@pytest.mark.parametrize(
    ("content", "code", "about"),
    [
        ({"kind": "pigeon", "address": "x"}, "invalid", "kind"),
        ({"kind": "fcm"}, "invalid", "address"),
        ({"kind": "fcm", "address": "with space" * 5}, "address_refused", "Firebase"),
        ({"kind": "apns", "address": "xyz"}, "address_refused", "hexadecimal"),
        ({"kind": "apns", "address": "../3/device/" + TOKEN}, "address_refused", "hexadecimal"),
        ({"kind": "webpush", "address": ENDPOINT}, "keys_refused", "keys.p256dh"),
        (
            {"kind": "webpush", "address": ENDPOINT, "keys": {**KEYS, "auth": "AA"}},
            "keys_refused",
            "keys.auth",
        ),
        (
            {"kind": "webpush", "address": ENDPOINT, "keys": {**KEYS, "p256dh": "A" * 87}},
            "keys_refused",
            "keys.p256dh",
        ),
        ({"kind": "webpush", "address": ENDPOINT, "keys": "none"}, "invalid", "keys"),
        ({"kind": "fcm", "address": "f" * 2001}, "invalid", "address"),
    ],
)
def test_a_malformed_registration_is_refused_with_one_sentence(
    phone: Admission, content: dict[str, Any], code: str, about: str
) -> None:
    answer = ask(phone, **content)
    assert (answer.status_code, answer.json()["code"]) == (400, code)
    assert about in answer.json()["title"]


def test_without_a_token_nobody_registers() -> None:
    answer = Client().put(PATH, {}, content_type="application/json")
    assert answer.status_code == 401


@pytest.mark.parametrize(
    "wrong",
    [{"kind": "pigeon"}, {"address": ""}, {"keys": {}}, {"died_at": timezone.now()}],
)
def test_the_database_refuses_what_no_registration_can_be(
    phone: Admission, wrong: dict[str, Any]
) -> None:
    fields = {"kind": "webpush", "address": ENDPOINT, "keys": KEYS, "registered_at": timezone.now()}
    with pytest.raises(IntegrityError), transaction.atomic():
        PushRegistration.objects.create(device=phone.device, **{**fields, **wrong})


# --- links by e-mail and SMS ------------------------------------------------------------


@pytest.fixture
def _links(settings: Any) -> None:
    settings.EMAIL_SERVER = {"host": "127.0.0.1"}
    settings.SMS_URL = "jsons://sms.example.org/?:to={to}"


@pytest.mark.usefixtures("_links")
@pytest.mark.parametrize(
    ("kind", "address"),
    [
        ("email", "a@b.example.org"),
        ("email", "some.one+ema@example.org"),
        ("email", "o'neil_x@xn--bcher-kva.example"),
        ("email", "a" * 64 + "@example.org"),
        ("sms", "+32470123456"),
        ("sms", "+12015550123"),
    ],
)
def test_an_address_for_links_is_kept(phone: Admission, kind: str, address: str) -> None:
    assert ask(phone, kind=kind, address=address).status_code == 204
    found = PushRegistration.objects.live().get()
    assert (found.kind, found.address, found.keys) == (kind, address, {})


@pytest.mark.usefixtures("_links")
@pytest.mark.parametrize(
    ("kind", "address"),
    [
        ("email", "someone"),
        ("email", "someone@localhost"),
        ("email", "a@b.org, c@d.org"),
        ("email", "Some One <a@b.org>"),
        ("email", '"a b"@example.org'),
        ("email", "a@b.org\r\nBcc: c@d.org"),
        ("email", "a\n@b.org"),
        ("email", "a..b@example.org"),
        ("email", "a@-b.org"),
        ("email", "a" * 65 + "@example.org"),
        ("email", "a@" + "b" * 63 + ("." + "b" * 63) * 3 + ".org"),
        ("email", "é@example.org"),
        ("sms", "0470123456"),
        ("sms", "+32 470 12 34 56"),
        ("sms", "+0470123456"),
        ("sms", "+3247"),
        ("sms", "+" + "1" * 16),
        ("sms", "+32470123456\n"),
        ("sms", "+32470123456/+32470123457"),
        ("sms", "+３２４７０１２３４５６"),
    ],
)
def test_what_is_no_address_is_refused_in_one_sentence(
    phone: Admission, kind: str, address: str
) -> None:
    # Space around an address is trimmed by the door, so the check is asked itself.
    with pytest.raises(push.RegistrationRefused, match=f"An address of kind {kind} is "):
        push.refuse_wrong_address(kind, address)
    if address == address.strip():
        answer = ask(phone, kind=kind, address=address)
        assert (answer.status_code, answer.json()["code"]) == (400, "address_refused")
    assert not PushRegistration.objects.exists()


@pytest.mark.parametrize(
    ("kind", "address", "setting"),
    [("email", "a@example.org", "EMAIL_URL"), ("sms", "+32470123456", "SMS_URL")],
)
def test_a_kind_that_is_not_set_up_is_refused(
    phone: Admission, kind: str, address: str, setting: str
) -> None:
    answer = ask(phone, kind=kind, address=address)
    assert (answer.status_code, answer.json()["code"]) == (400, "kind_unavailable")
    assert setting in answer.json()["title"]
    assert not PushRegistration.objects.exists()


@pytest.mark.usefixtures("_links")
def test_nobody_loses_an_address_because_another_names_it(study: Study, phone: Admission) -> None:
    other = trial.redeem(trial.enrol(study, "S1-002", "Europe/Brussels", timezone.now()))
    for each in (phone, other):
        assert ask(each, kind="email", address="both@example.org").status_code == 204
    assert PushRegistration.objects.live().count() == 2


def test_a_coordinator_sees_dead_registrations_but_no_address(
    study: Study, phone: Admission
) -> None:
    other = trial.redeem(trial.enrol(study, "S1-002", "Europe/Brussels", timezone.now()))
    ask(phone, kind="apns", address=TOKEN)
    ask(other, kind="apns", address="cd" * 32)
    dead = PushRegistration.objects.get(device=phone.device)
    push.retire(dead, reason="410 Unregistered", now=timezone.now())
    client = Client()
    user = User.objects.create_user("cora", password="not used")
    studies.grant(
        user=user,
        role=Role.COORDINATOR,
        study=study,
        site=study.sites.get(),
        actor=audit.COMMAND,
    )
    client.force_login(user)
    listed = client.get("/admin/ema/pushregistration/?dead=yes").content.decode()
    assert "410 Unregistered" in listed
    assert "S1-001" in listed
    assert "S1-002" not in listed
    assert "S1-002" in client.get("/admin/ema/pushregistration/?dead=no").content.decode()
    one = client.get(f"/admin/ema/pushregistration/{dead.pk}/change/").content.decode()
    assert TOKEN not in listed + one
    assert client.get("/admin/ema/pushregistration/add/").status_code == 403
