"""Push channels against push services that check what the real ones check."""

import base64
import re
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from django.core.management import call_command
from django.utils import timezone

from ema import push, vapid
from ema.models import Participant, Prompt, PushRegistration, Study
from ema.push import from_base64url
from scheduler import channels
from scheduler.channels import Gone, Message, PushError
from scheduler.delivery import Dispatched, dispatch_due
from scheduler.planning import plan_prompts
from scheduler.push import apns, http2, webpush
from scheduler.push.shared import KeptToken
from tests import trial
from tests.scheduler.fakes import apple as apple_fake
from tests.scheduler.fakes import tls, web
from tests.scheduler.fakes.apple import Apple
from tests.scheduler.fakes.google import Google, fault
from tests.scheduler.fakes.tls import Certificate, Reply
from tests.scheduler.fakes.web import PushService

pytestmark = pytest.mark.django_db

PHONE = "phone-" + "a" * 140
DEVICE = "ab" * 32


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return tls.make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(autouse=True)
def _trusted(certificate: Certificate) -> Iterator[None]:
    with tls.trusted(certificate):
        yield


@pytest.fixture
def someone() -> Participant:
    participant = trial.enrol(trial.make_study(), "S1-001", "Europe/Brussels", timezone.now())
    trial.redeem(participant)
    participant.devices.update(enrolled_at=timezone.now() - timedelta(hours=1))
    plan_prompts(timezone.now())
    return participant


@pytest.fixture
def prompt(someone: Participant) -> Prompt:
    """Their only prompt, due a second ago."""
    return only_prompt(someone)


def only_prompt(someone: Participant) -> Prompt:
    first = someone.prompts.filter(cancelled_at=None).order_by("due_at")[0]
    someone.prompts.exclude(pk=first.pk).delete()
    first.due_at = timezone.now() - timedelta(seconds=1)
    first.expires_at = first.due_at + timedelta(minutes=30)
    first.save()
    return first


def register(participant: Participant, kind: str, address: str, **keys: str) -> PushRegistration:
    device = participant.devices.active().get()
    return push.register(device=device, kind=kind, address=address, keys=keys, now=timezone.now())


def dispatch() -> Dispatched:
    return dispatch_due(timezone.now())


def later(prompt: Prompt) -> Dispatched:
    """A run ten minutes on."""
    at = timezone.now() + timedelta(minutes=10)
    return dispatch_due(at, clock=lambda: at)


# --- Web Push ---------------------------------------------------------------------------


@pytest.fixture
def service(certificate: Certificate, settings: Any) -> Iterator[PushService]:
    found = PushService()
    settings.VAPID_PRIVATE_KEY = vapid.new_private_key()
    settings.VAPID_SUBJECT = "mailto:trial@example.org"
    with tls.served(found, certificate):
        settings.PUSH_HOSTS = [found.origin.removeprefix("https://")]
        yield found


@pytest.fixture
def browser(service: PushService, someone: Participant) -> PushRegistration:
    endpoint, keys = service.subscribe()
    return register(someone, "webpush", endpoint, **keys)


def test_a_browser_is_told_what_is_due_and_nothing_of_the_trial(
    service: PushService, browser: PushRegistration, prompt: Prompt
) -> None:
    done = dispatch()
    assert service.refused == []
    assert done.sent == 1
    (message,) = service.received
    assert message.content == {
        "prompt_id": str(prompt.pk),
        "kind": "prompt",
        "title": "Check-in",
        "due_at": prompt.due_at.isoformat(),
        "expires_at": prompt.expires_at.isoformat(),
    }
    assert (message.urgency, message.topic) == ("high", prompt.pk.hex)
    assert 1780 <= message.ttl < 1800
    prompt.refresh_from_db()
    assert prompt.sent_at is not None
    assert prompt.deliveries.get().channel == "webpush"


def test_only_the_browser_can_read_the_message(
    service: PushService, browser: PushRegistration, prompt: Prompt
) -> None:
    dispatch()
    raw = service.received[0].raw
    assert b"Check-in" not in raw
    assert str(prompt.pk).encode() not in raw


def test_the_encryption_equals_the_example_of_rfc_8291() -> None:
    number = from_base64url("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw")
    encrypted = webpush.encrypt(
        b"When I grow up, I want to be a watermelon",
        {
            "p256dh": "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZ"
            "GH6SRpkNtoIAiw4",
            "auth": "BTBZMqHH6r4Tts7J_aSIgg",
        },
        salt=from_base64url("DGv6ra1nlYgDCS1FRnbzlw"),
        private_key=ec.derive_private_key(int.from_bytes(number, "big"), ec.SECP256R1()),
    )
    assert web.base64url(encrypted) == (
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27ml"
        "mlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95bQpu6cVPT"
        "pK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )


@pytest.mark.parametrize("status", [404, 410])
def test_a_subscription_that_is_gone_retires_and_is_never_asked_again(
    service: PushService, browser: PushRegistration, prompt: Prompt, status: int
) -> None:
    service.plays = [Reply(status)]
    assert dispatch().failed == 1
    browser.refresh_from_db()
    assert browser.died_at is not None
    assert str(status) in browser.death
    assert later(prompt).queued == 0
    assert service.requests == 1
    prompt.refresh_from_db()
    assert (prompt.sent_at, prompt.undelivered) == (None, "channel_failed")


def test_prompts_of_a_dead_registration_are_told_apart_from_missed_ones(
    service: PushService, browser: PushRegistration, prompt: Prompt
) -> None:
    push.retire(browser, reason="gone", now=timezone.now())
    assert dispatch().queued == 0
    dispatch_due(prompt.expires_at)
    prompt.refresh_from_db()
    assert prompt.undelivered == "channel_failed"


def test_a_phone_that_registers_anew_is_told_again(
    service: PushService, browser: PushRegistration, someone: Participant, prompt: Prompt
) -> None:
    push.retire(browser, reason="gone", now=timezone.now())
    endpoint, keys = service.subscribe()
    register(someone, "webpush", endpoint, **keys)
    assert dispatch().sent == 1


def test_a_prompt_falls_to_the_webhook_when_its_registration_is_dead(
    service: PushService, browser: PushRegistration, prompt: Prompt, settings: Any
) -> None:
    settings.DELIVERY_CHANNEL = "webhook"
    settings.DELIVERY_WEBHOOK_URL = f"{service.origin}/due"
    service.plays = [Reply(410), Reply(200)]
    assert dispatch().failed == 1
    prompt.refresh_from_db()
    assert prompt.undelivered == ""
    assert dispatch().sent == 1
    ends = {each.channel: each.sent_at is not None for each in prompt.deliveries.all()}
    assert ends == {"webpush": False, "webhook": True}


def test_a_message_that_is_too_large_is_not_sent_again(
    service: PushService, browser: PushRegistration, prompt: Prompt
) -> None:
    service.plays = [Reply(413)]
    assert dispatch().failed == 1
    browser.refresh_from_db()
    assert browser.died_at is None
    assert later(prompt).queued == 0


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_push_service_is_left_alone_for_as_long_as_it_asks(
    service: PushService, browser: PushRegistration, prompt: Prompt, status: int
) -> None:
    service.plays = [Reply(status, headers={"Retry-After": "120"})]
    assert dispatch().postponed == 1
    wait = prompt.deliveries.get().next_attempt_at - timezone.now()
    assert wait > timedelta(seconds=115)
    assert later(prompt).sent == 1


def test_a_redirect_is_not_followed(
    service: PushService, browser: PushRegistration, prompt: Prompt
) -> None:
    service.plays = [Reply(307, headers={"Location": f"{service.origin}/elsewhere"})]
    assert dispatch().failed == 1
    assert service.requests == 1


def test_a_push_service_that_is_not_there_is_asked_again(
    service: PushService, browser: PushRegistration, prompt: Prompt, settings: Any
) -> None:
    settings.PUSH_HOSTS = ["127.0.0.1:9"]
    PushRegistration.objects.update(address="https://127.0.0.1:9/push/x")
    assert dispatch().postponed == 1


def test_a_host_that_is_no_longer_allowed_is_not_called(
    service: PushService, browser: PushRegistration, prompt: Prompt, settings: Any
) -> None:
    settings.PUSH_HOSTS = []
    assert dispatch().failed == 1
    assert service.requests == 0


def test_keys_that_are_on_no_curve_retire_the_registration(
    service: PushService, browser: PushRegistration, prompt: Prompt
) -> None:
    wrong = {**browser.keys, "p256dh": web.base64url(b"\x04" + bytes(range(64)))}
    PushRegistration.objects.update(keys=wrong)
    assert dispatch().failed == 1
    browser.refresh_from_db()
    assert browser.died_at is not None


def test_a_registration_taken_back_after_queueing_is_not_used(
    service: PushService, browser: PushRegistration, prompt: Prompt
) -> None:
    service.plays = [Reply(503)]
    dispatch()
    push.forget(browser.device)
    later(prompt)
    assert service.requests == 1


def test_a_kind_without_settings_goes_by_the_default_channel(
    someone: Participant, prompt: Prompt
) -> None:
    register(someone, "fcm", PHONE)
    assert dispatch().sent == 1
    assert prompt.deliveries.get().channel == "console"


def test_the_command_prints_keys_that_the_settings_accept(
    capsys: pytest.CaptureFixture[str],
) -> None:
    call_command("vapid_keys")
    printed = capsys.readouterr().out
    private = re.search(r"^VAPID_PRIVATE_KEY=([\w-]{43})$", printed, re.M)
    public = re.search(r": ([\w-]{87})$", printed, re.M)
    assert private
    assert public
    assert vapid.public_key(vapid.private_key(private[1])) == public[1]
    assert len(base64.urlsafe_b64decode(public[1] + "=")) == 65


# --- FCM --------------------------------------------------------------------------------


@pytest.fixture
def google(certificate: Certificate, settings: Any) -> Iterator[Google]:
    found = Google()
    with tls.served(found, certificate):
        settings.FCM_URL = found.origin
        settings.FCM_SERVICE_ACCOUNT = found.account
        yield found


def test_an_android_phone_is_told_and_the_token_is_kept(
    google: Google, someone: Participant, prompt: Prompt
) -> None:
    register(someone, "fcm", PHONE)
    assert dispatch().sent == 1
    (message,) = google.received
    assert message["notification"] == {"title": "Check-in"}
    assert message["data"]["prompt_id"] == message["android"]["collapse_key"] == str(prompt.pk)
    assert 1780 <= int(message["android"]["ttl"].rstrip("s")) < 1800
    Prompt.objects.update(sent_at=None)
    prompt.deliveries.all().delete()
    assert dispatch().sent == 1
    assert google.grants == 1


@pytest.mark.parametrize(
    "reply",
    [
        fault(404, "NOT_FOUND", "UNREGISTERED"),
        fault(403, "PERMISSION_DENIED", "SENDER_ID_MISMATCH"),
        fault(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT", field="message.token"),
    ],
)
def test_a_token_that_fcm_does_not_know_retires(
    google: Google, someone: Participant, prompt: Prompt, reply: Reply
) -> None:
    registration = register(someone, "fcm", PHONE)
    google.plays = [reply]
    assert dispatch().failed == 1
    registration.refresh_from_db()
    assert "FCM answered" in registration.death


@pytest.mark.parametrize(
    ("reply", "is_permanent"),
    [
        (fault(400, "INVALID_ARGUMENT", "INVALID_ARGUMENT"), True),
        (fault(401, "UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR"), False),
        (fault(403, "PERMISSION_DENIED"), True),
        (fault(404, "NOT_FOUND"), True),
        (fault(429, "RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", headers={"Retry-After": "60"}), False),
        (fault(500, "INTERNAL", "INTERNAL"), False),
        (fault(503, "UNAVAILABLE", "UNAVAILABLE", headers={"Retry-After": "60"}), False),
        (Reply(502), False),
    ],
)
def test_every_other_error_of_fcm_leaves_the_registration_alive(
    google: Google, someone: Participant, prompt: Prompt, reply: Reply, is_permanent: bool
) -> None:
    registration = register(someone, "fcm", PHONE)
    google.plays = [reply]
    done = dispatch()
    assert (done.failed, done.postponed) == ((1, 0) if is_permanent else (0, 1))
    registration.refresh_from_db()
    assert registration.died_at is None
    if "Retry-After" in reply.headers:
        assert prompt.deliveries.get().next_attempt_at > timezone.now() + timedelta(seconds=55)


def test_no_other_word_of_googles_answer_is_kept(
    google: Google, someone: Participant, prompt: Prompt
) -> None:
    register(someone, "fcm", PHONE)
    google.plays = [fault(403, "CANARY", "CANARY")]
    assert dispatch().failed == 1
    assert prompt.deliveries.get().failure == "FCM answered 403"


def test_a_token_that_google_took_back_is_asked_for_again(
    google: Google, someone: Participant, prompt: Prompt
) -> None:
    register(someone, "fcm", PHONE)
    google.plays = [fault(503, "UNAVAILABLE", "UNAVAILABLE")]
    assert dispatch().postponed == 1
    google.tokens.clear()
    prompt.deliveries.update(next_attempt_at=timezone.now())
    assert dispatch().postponed == 1
    prompt.deliveries.update(next_attempt_at=timezone.now())
    assert dispatch().sent == 1
    assert google.grants == 2


def test_a_token_that_is_nearly_over_is_renewed(
    google: Google, someone: Participant, prompt: Prompt
) -> None:
    google.lifetime_s = 299
    register(someone, "fcm", PHONE)
    google.plays = [fault(503, "UNAVAILABLE", "UNAVAILABLE")]
    dispatch()
    prompt.deliveries.update(next_attempt_at=timezone.now())
    assert dispatch().sent == 1
    assert google.grants == 2


def test_an_account_that_google_refuses_leaves_the_prompt_waiting(
    google: Google, someone: Participant, prompt: Prompt, settings: Any
) -> None:
    register(someone, "fcm", PHONE)
    settings.FCM_SERVICE_ACCOUNT = {
        **google.account,
        "private_key": Google().account["private_key"],
    }
    assert dispatch().postponed == 1
    assert google.received == []


# --- APNs -------------------------------------------------------------------------------


@pytest.fixture
def apple(certificate: Certificate, settings: Any) -> Iterator[Apple]:
    found = Apple()
    with apple_fake.served(found, certificate):
        settings.APNS_URL = found.origin
        settings.APNS_KEY = found.key_pem
        settings.APNS_KEY_ID = apple_fake.KEY_ID
        settings.APNS_TEAM_ID = apple_fake.TEAM
        settings.APNS_TOPIC = apple_fake.TOPIC
        yield found
        http2.close_idle()


def test_an_iphone_is_told_over_http_2(apple: Apple, someone: Participant, prompt: Prompt) -> None:
    register(someone, "apns", DEVICE)
    assert dispatch().sent == 1
    ((headers, content),) = apple.received
    assert headers["apns-collapse-id"] == content["prompt_id"] == str(prompt.pk)
    assert int(headers["apns-expiration"]) == int(prompt.expires_at.timestamp())
    assert content["aps"]["alert"] == {"title": "Check-in"}


@pytest.mark.parametrize(
    ("status", "reason"),
    [
        (400, "BadDeviceToken"),
        (400, "DeviceTokenNotForTopic"),
        (410, "Unregistered"),
        (410, "ExpiredToken"),
    ],
)
def test_a_device_that_apple_does_not_know_retires(
    apple: Apple, someone: Participant, prompt: Prompt, status: int, reason: str
) -> None:
    registration = register(someone, "apns", DEVICE)
    apple.plays = [Reply(status, {"reason": reason, "timestamp": 1})]
    assert dispatch().failed == 1
    registration.refresh_from_db()
    assert reason in registration.death


PERMANENT = {
    400: "BadCollapseId BadExpirationDate BadMessageId BadPriority BadTopic DuplicateHeaders"
    " IdleTimeout InvalidPushType MissingDeviceToken MissingTopic PayloadEmpty TopicDisallowed",
    404: "BadPath",
    405: "MethodNotAllowed",
    413: "PayloadTooLarge",
}
PASSING = {
    403: "BadCertificate BadCertificateEnvironment ExpiredProviderToken Forbidden"
    " InvalidProviderToken MissingProviderToken UnrelatedKeyIdInToken",
    429: "TooManyProviderTokenUpdates TooManyRequests",
    500: "InternalServerError",
    503: "ServiceUnavailable Shutdown",
}


@pytest.mark.parametrize(
    ("status", "reason", "is_permanent"),
    [
        (status, reason, of is PERMANENT)
        for of in (PERMANENT, PASSING)
        for status, reasons in of.items()
        for reason in reasons.split()
    ],
)
def test_every_other_error_of_apple_leaves_the_registration_alive(
    apple: Apple, settings: Any, status: int, reason: str, is_permanent: bool
) -> None:
    apple.plays = [Reply(status, {"reason": reason})]
    with pytest.raises(PushError, match=reason) as raised:
        apns.send(message_to("apns", DEVICE))
    assert raised.value.permanent == is_permanent
    assert not isinstance(raised.value, Gone)


def test_no_other_word_of_apples_answer_is_kept(
    apple: Apple, someone: Participant, prompt: Prompt
) -> None:
    register(someone, "apns", DEVICE)
    apple.plays = [Reply(400, {"reason": "Canary"})]
    assert dispatch().failed == 1
    assert prompt.deliveries.get().failure == "APNs answered 400"


def message_to(kind: str, address: str) -> Message:
    at = datetime.now(UTC)
    registration = PushRegistration(kind=kind, address=address)
    prompt = Prompt(id="5b" * 16)
    until = at + timedelta(minutes=30)
    return Message(prompt.pk, prompt.pk, at, until, registration=registration)


def test_the_provider_token_is_kept_and_an_expired_one_is_replaced(
    apple: Apple, monkeypatch: pytest.MonkeyPatch
) -> None:
    for _ in range(3):
        apns.send(message_to("apns", DEVICE))
    assert len(apple.tokens) == 1
    (old,) = apple.tokens
    apple.plays = [Reply(403, {"reason": "ExpiredProviderToken"})]
    with pytest.raises(PushError):
        apns.send(message_to("apns", DEVICE))
    apns.send(message_to("apns", DEVICE))
    assert len(apple.received) == 4
    assert apple.tokens >= {old}


def test_eight_threads_at_once_reach_apple_over_few_connections(apple: Apple) -> None:
    failures: list[Exception] = []

    def many() -> None:
        for _ in range(25):
            try:
                apns.send(message_to("apns", DEVICE))
            except PushError as error:
                failures.append(error)

    threads = [threading.Thread(target=many) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(apple.received) == 200
    assert apple.connections <= 8


def test_a_kept_token_is_issued_once_and_again_when_its_time_is_over() -> None:
    kept, issued = KeptToken(), list[str]()

    def issue(now: datetime) -> tuple[str, datetime]:
        issued.append(f"token {len(issued)}")
        return issued[-1], now + timedelta(seconds=len(issued) - 1)

    assert kept.get("a", issue) == "token 0"
    assert kept.get("a", issue) == kept.get("a", issue) == "token 1"
    assert kept.get("b", issue) == "token 2"
    kept.drop("token 1")
    assert kept.get("b", issue) == "token 2"
    kept.drop("token 2")
    assert kept.get("b", issue) == "token 3"


def test_a_study_without_push_settings_is_as_before(someone: Participant) -> None:
    assert Study.objects.count() == 1
    assert channels.routes() == ([], "console", None)
