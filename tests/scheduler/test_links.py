"""Links by e-mail and SMS, against a mail server and a gateway that check what arrives."""

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from ema import link_settings, push
from ema.models import Prompt, PushRegistration
from scheduler.channels import Message, PushError
from scheduler.links import mail, shared, sms
from scheduler.planning import plan_prompts
from tests import trial
from tests.scheduler.fakes import mailbox, tls
from tests.scheduler.fakes.gateway import TOKEN, Gateway
from tests.scheduler.fakes.mailbox import MailServer
from tests.scheduler.fakes.tls import Certificate, Reply
from tests.scheduler.test_push import dispatch, later, only_prompt, register

pytestmark = pytest.mark.django_db

ADDRESS = "some.one+ema@example.org"
NUMBER = "+32470123456"


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return tls.make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture(autouse=True)
def _trusted(certificate: Certificate, monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    """SMTP goes by SSL_CERT_FILE; apprise has a list of its own, and a variable for it."""
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate.path))
    settings.LINK_URL_TEMPLATE = "https://app.example.org/#prompt={prompt_id}"
    settings.EMAIL_FROM = "check-in@example.org"


@pytest.fixture
def prompt() -> Prompt:
    """Somebody's only prompt, due a second ago."""
    participant = trial.enrol(trial.make_study(), "S1-001", "Asia/Kolkata", timezone.now())
    trial.redeem(participant)
    participant.devices.update(enrolled_at=timezone.now() - timedelta(hours=1))
    plan_prompts(timezone.now())
    return only_prompt(participant)


def expected(prompt: Prompt) -> str:
    local = prompt.expires_at.astimezone(ZoneInfo("Asia/Kolkata"))
    today = datetime.now(ZoneInfo("Asia/Kolkata")).date()
    date = "" if local.date() == today else f" on {local.day} {local:%B}"
    link = f"https://app.example.org/#prompt={prompt.pk}"
    return f"Check-in, until {local:%H:%M}{date}:\n{link}"


def message_to(by: str, address: str, **fields: Any) -> Message:
    prompt, at = Prompt(), datetime.now(UTC)
    registration = PushRegistration(kind=by, address=address)
    times = {"due_at": at, "expires_at": at + timedelta(minutes=30), **fields}
    return Message(prompt.pk, prompt.pk, registration=registration, **times)


# --- e-mail -----------------------------------------------------------------------------


@pytest.fixture
def server(certificate: Certificate, settings: Any) -> Iterator[MailServer]:
    found = MailServer()
    with mailbox.served(found, certificate) as settings.EMAIL_SERVER:
        yield found


@pytest.fixture
def inbox(server: MailServer, prompt: Prompt) -> PushRegistration:
    return register(prompt.participant, "email", ADDRESS)


def test_a_participant_reads_a_link_and_nothing_of_the_trial(
    server: MailServer, inbox: PushRegistration, prompt: Prompt
) -> None:
    assert dispatch().sent == 1
    (got,) = server.received
    assert (got.sender, got.recipients) == ("check-in@example.org", [ADDRESS])
    assert got.was_encrypted
    assert got.mail.get_content_type() == "text/plain"
    assert got.mail.get_content().replace("\r\n", "\n").strip() == expected(prompt)
    assert dict(got.mail.items()).keys() == {
        "Content-Type",
        "MIME-Version",
        "Content-Transfer-Encoding",
        "Subject",
        "From",
        "To",
        "Date",
        "Message-ID",
        "Auto-Submitted",
    }
    assert got.mail["Subject"] == "Check-in"
    assert got.mail["Message-ID"] == f"<{prompt.pk}@example.org>"
    prompt.refresh_from_db()
    assert prompt.sent_at is not None
    assert prompt.deliveries.get().channel == "email"


def test_tls_from_the_first_byte(certificate: Certificate, settings: Any, prompt: Prompt) -> None:
    found = MailServer()
    with mailbox.served(found, certificate, by="smtp+ssl") as settings.EMAIL_SERVER:
        register(prompt.participant, "email", ADDRESS)
        assert dispatch().sent == 1
    assert found.received[0].was_encrypted


def test_a_reminder_refers_to_the_first_mail(server: MailServer) -> None:
    message = message_to("email", ADDRESS, kind="reminder")
    mail.send(message)
    (got,) = server.received
    assert got.mail["References"] == f"<{message.prompt_id}@example.org>"
    assert got.mail["Message-ID"] != got.mail["References"]


@pytest.mark.parametrize(
    "answer",
    [
        "550 5.1.1 <some.one+ema@example.org> unknown",
        "550 no such user",
        "553 5.1.3 bad",
        "550 5.2.1 closed",
    ],
)
def test_an_address_that_is_unknown_dies_and_is_never_asked_again(
    server: MailServer, inbox: PushRegistration, prompt: Prompt, answer: str
) -> None:
    server.plays = [answer]
    assert dispatch().failed == 1
    inbox.refresh_from_db()
    assert inbox.died_at is not None
    assert answer[:3] in inbox.death
    assert "example.org" not in inbox.death + prompt.deliveries.get().failure
    assert later(prompt).queued == 0
    assert len(server.asked) == 1
    prompt.refresh_from_db()
    assert (prompt.sent_at, prompt.undelivered) == (None, "channel_failed")


@pytest.mark.parametrize(
    "answer",
    [
        "550 5.7.1 blocked",
        "552 5.2.2 full",
        "554 5.7.1 relay access denied",
        "DATA 554 5.7.1 spam",
        "DATA 550 spam",
    ],
)
def test_a_refused_message_fails_and_the_address_lives(
    server: MailServer, inbox: PushRegistration, prompt: Prompt, answer: str
) -> None:
    server.plays = [answer]
    assert dispatch().failed == 1
    inbox.refresh_from_db()
    assert inbox.died_at is None
    assert later(prompt).queued == 0


@pytest.mark.parametrize(
    "answer", ["450 4.2.0 greylisted", "421 4.3.2 shutting down", "DATA 451 4.3.0 later"]
)
def test_a_busy_mail_server_is_asked_again(
    server: MailServer, inbox: PushRegistration, prompt: Prompt, answer: str
) -> None:
    server.plays = [answer]
    assert dispatch().postponed == 1
    assert server.received == []
    assert later(prompt).sent == 1


def test_each_answer_is_waited_for_five_seconds() -> None:
    """Of a mail server, and of a gateway, too: SMS_URL may not ask for more."""
    assert link_settings.TIMEOUT_S == 5


def test_a_mail_server_that_hangs_is_left(
    server: MailServer, inbox: PushRegistration, prompt: Prompt, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_settings, "TIMEOUT_S", 0.5)
    server.delay_s = 14  # less than a whole conversation may take
    began = monotonic()
    assert dispatch().postponed == 1
    assert 0.4 < monotonic() - began < 14
    server.delay_s = 0
    assert later(prompt).sent == 1


def test_a_slow_conversation_ends_before_the_lease_does(
    server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shared, "LONGEST_S", 0.5)
    server.delay_s = 0.4
    with pytest.raises(PushError, match=r"it took too long|timed out") as raised:
        mail.send(message_to("email", ADDRESS))
    assert not raised.value.permanent
    assert server.received == []


def test_a_mail_server_that_is_not_there_is_asked_again(
    server: MailServer, inbox: PushRegistration, prompt: Prompt, settings: Any
) -> None:
    settings.EMAIL_SERVER = {**settings.EMAIL_SERVER, "port": mailbox.free_port()}
    assert dispatch().postponed == 1


def test_a_wrong_password_kills_no_address(
    server: MailServer, inbox: PushRegistration, prompt: Prompt, settings: Any
) -> None:
    settings.EMAIL_SERVER = {**settings.EMAIL_SERVER, "password": "wrong"}
    assert dispatch().postponed == 1
    inbox.refresh_from_db()
    assert inbox.died_at is None


def test_a_certificate_that_is_not_trusted_gets_no_mail(
    server: MailServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(PushError, match="certificate"):
        mail.send(message_to("email", ADDRESS))
    assert server.asked == []


def test_a_server_without_tls_gets_no_mail_in_the_clear(
    certificate: Certificate, settings: Any
) -> None:
    found = MailServer()
    with (
        mailbox.served(found, certificate, by="smtp") as settings.EMAIL_SERVER,
        pytest.raises(PushError, match="STARTTLS"),
    ):
        mail.send(message_to("email", ADDRESS))
    assert found.asked == []


@pytest.mark.parametrize("kind", ["email", "sms"])
def test_nothing_is_sent_after_it_expired(server: MailServer, gateway: Gateway, kind: str) -> None:
    send = {"email": mail.send, "sms": sms.send}[kind]
    late = message_to(kind, ADDRESS if kind == "email" else NUMBER, expires_at=datetime.now(UTC))
    with pytest.raises(PushError, match="expired") as raised:
        send(late)
    assert raised.value.permanent
    assert (server.asked, gateway.requests) == ([], 0)


def test_an_address_with_a_line_break_is_not_written_to(server: MailServer) -> None:
    with pytest.raises(PushError, match="an e-mail address such as"):
        mail.send(message_to("email", f"{ADDRESS}\r\nBcc: other@example.org"))
    assert server.asked == []


def test_the_text_names_the_day_when_it_is_another(settings: Any) -> None:
    tomorrow = datetime.now(UTC).replace(hour=0, minute=5) + timedelta(days=1)
    assert shared.until(message_to("sms", NUMBER, expires_at=tomorrow)) == (
        f"00:05 on {tomorrow.day} {tomorrow:%B}"
    )


# --- SMS --------------------------------------------------------------------------------


@pytest.fixture
def gateway(certificate: Certificate, settings: Any) -> Iterator[Gateway]:
    found = Gateway()
    with tls.served(found, certificate):
        settings.SMS_URL = found.url
        yield found
        found.ended.set()


@pytest.fixture
def number(gateway: Gateway, prompt: Prompt) -> PushRegistration:
    return register(prompt.participant, "sms", NUMBER)


def test_a_number_gets_one_short_text(
    gateway: Gateway, number: PushRegistration, prompt: Prompt
) -> None:
    assert link_settings.sms_url(gateway.url) == gateway.url
    assert dispatch().sent == 1
    assert gateway.received == [(NUMBER, expected(prompt))]
    assert len(gateway.received[0].text) <= 160
    assert prompt.deliveries.get().channel == "sms"


@pytest.mark.parametrize(
    ("reply", "is_permanent"),
    [
        (Reply(400, {"result": "bad number"}), True),
        (Reply(401), False),
        (Reply(429), False),
        (Reply(503), False),
        (Reply(307, headers={"Location": "/jsonrpc/sms"}), False),
        (Reply(200, {"result": {"status": "error"}}), False),
    ],
)
def test_a_gateway_that_refuses_kills_no_number(
    gateway: Gateway, number: PushRegistration, prompt: Prompt, reply: Reply, is_permanent: bool
) -> None:
    gateway.plays = [reply]
    done = dispatch()
    assert (done.failed, done.postponed) == ((1, 0) if is_permanent else (0, 1))
    number.refresh_from_db()
    assert number.died_at is None
    assert gateway.requests == 1
    assert later(prompt).sent == (0 if is_permanent else 1)


def test_a_gateway_that_hangs_is_left(
    gateway: Gateway, number: PushRegistration, prompt: Prompt, settings: Any
) -> None:
    settings.SMS_URL += "?rto=0.5"
    gateway.hangs = True
    began = monotonic()
    assert dispatch().postponed == 1
    assert 0.4 < monotonic() - began < 14


@pytest.fixture
def root_log() -> Iterator[list[str]]:
    """What reaches the handlers of the root: pytest's own listens at each logger."""
    told: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: told.append(record.getMessage())  # type: ignore[method-assign]
    root = logging.getLogger()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield told
    root.setLevel(level)
    root.removeHandler(handler)


def test_neither_logs_nor_failures_tell_numbers_or_tokens(
    gateway: Gateway, number: PushRegistration, prompt: Prompt, root_log: list[str]
) -> None:
    gateway.plays = [Reply(400, {"result": f"no such number {NUMBER}"})]
    assert dispatch().failed == 1
    failure = prompt.deliveries.get().failure
    assert failure == "the SMS gateway answered 400"
    logging.getLogger("scheduler").debug("what a debugging operator sees")
    assert "what a debugging operator sees" in root_log
    assert not [line for line in root_log if NUMBER[1:] in line or TOKEN in line]


def test_a_certificate_that_is_not_trusted_gets_no_number(
    gateway: Gateway, number: PushRegistration, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("REQUESTS_CA_BUNDLE")
    assert dispatch().postponed == 1
    assert gateway.requests == 0


def test_a_prompt_falls_to_the_webhook_when_the_number_is_refused(
    gateway: Gateway, number: PushRegistration, prompt: Prompt, settings: Any
) -> None:
    settings.DELIVERY_CHANNEL = "webhook"
    gateway.plays = [Reply(400)]
    assert dispatch().failed == 1
    settings.DELIVERY_WEBHOOK_URL = "http://127.0.0.1:9/"
    assert dispatch().queued == 1
    assert {each.channel for each in prompt.deliveries.all()} == {"sms", "webhook"}


def test_a_number_taken_back_gets_nothing(
    gateway: Gateway, number: PushRegistration, prompt: Prompt
) -> None:
    gateway.plays = [Reply(503)]
    dispatch()
    push.forget(number.device)
    later(prompt)
    assert gateway.requests == 1
