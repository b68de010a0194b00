"""Others are told of an alert that nobody acknowledges, and of nothing that was found."""

import hashlib
import hmac
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from ema import alert_messages, alert_webhook, alerts
from ema.alert_messages import Escalated, escalate
from ema.audit import Actor
from ema.models import Alert, AlertMessage, AlertRule
from tests import trial
from tests.ema.alert_rules import add_rule, an_answer
from tests.ema.test_admin import page, sign_in
from tests.scheduler.fakes import babble, mailbox, tls
from tests.scheduler.fakes.mailbox import MailServer
from tests.scheduler.fakes.tls import Certificate, Reply, Service

pytestmark = pytest.mark.django_db

HOUR = timedelta(hours=1)
CHIEF = "chief@example.org"
NOTHING = Escalated(0, 0, 0, 0)


class Pager(Service):
    """Keeps what is posted; answers 204, or what `plays` has."""

    def __init__(self) -> None:
        super().__init__()
        self.got: list[tuple[dict[str, str], bytes]] = []

    def answer(self, path: str, headers: dict[str, str], body: bytes) -> Reply:
        self.got.append((headers, body))
        return self.plays.pop(0) if self.plays else Reply(204)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Certificate:
    return tls.make_certificate(tmp_path_factory.mktemp("tls"))


@pytest.fixture
def server(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> Iterator[MailServer]:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))
    settings.EMAIL_FROM = "alerts@example.org"
    found = MailServer()
    with mailbox.served(found, certificate) as settings.EMAIL_SERVER:
        yield found


@pytest.fixture
def pager(
    certificate: Certificate, monkeypatch: pytest.MonkeyPatch, settings: Any
) -> Iterator[Pager]:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate.path))
    found = Pager()
    with tls.served(found, certificate):
        settings.ALERT_WEBHOOK_HOSTS = [found.origin.removeprefix("https://")]
        yield found


def an_alert(**rule: Any) -> Alert:
    """Raised now, of a rule that tells others after four hours; whose study has arms."""
    study = trial.make_study()
    person = trial.enrol(study, "S1-001", "Europe/Brussels", timezone.now())
    trial.allocate(person, "clonidine")
    trial.redeem(person)
    add_rule(
        study,
        title="Strong craving",
        severity="urgent",
        value="90.25",
        escalate_after_hours=4,
        **rule,
    )
    an_answer(person, craving=97.531)
    alerts.find_alerts(timezone.now())
    return Alert.objects.get()


def at(moment: datetime) -> Escalated:
    return escalate(moment, clock=lambda: moment)


def test_whoever_is_named_is_mailed_once_after_the_hours_of_the_rule(server: MailServer) -> None:
    alert = an_alert(escalate_mail=[CHIEF, "second@example.org"])
    assert at(alert.raised_at + 3.9 * HOUR) == NOTHING
    assert at(alert.raised_at + 4 * HOUR) == Escalated(queued=2, sent=2, postponed=0, failed=0)
    assert at(alert.raised_at + 9 * HOUR) == NOTHING
    assert {each.recipients[0] for each in server.received} == {CHIEF, "second@example.org"}
    assert all(each.was_encrypted for each in server.received)
    mail = server.received[0].mail
    assert mail["Subject"] == f"Alert {alert.pk} waits in study demo"
    text = mail.get_content()
    for told in ("participant S1-001", "site S1", "Severity: urgent", "sign in"):
        assert told in text, told
    assert_says_nothing(mail.as_string())


def assert_says_nothing(text: str) -> None:
    """Neither what was found, nor by which rule, nor an arm."""
    for secret in ("97.5", "craving", "Craving", "clonidine", "placebo", "90.25"):
        assert secret not in text, secret


def test_a_webhook_is_posted_a_signed_body(pager: Pager) -> None:
    alert = an_alert(escalate_webhook=f"{pager.origin}/in?key=1")
    moment = alert.raised_at + 5 * HOUR
    assert at(moment).sent == 1
    ((headers, body),) = pager.got
    told = json.loads(body)
    assert told == {
        "alert": alert.pk,
        "study": "demo",
        "site": "S1",
        "participant": "S1-001",
        "severity": "urgent",
        "raised_at": alert.raised_at.isoformat(),
        "unacknowledged_after_hours": 4,
    }
    assert_says_nothing(
        json.dumps({name: each for name, each in told.items() if name != "raised_at"})
    )
    stamp, signed = headers["fourbeat-signature"].split(",")
    seconds = stamp.removeprefix("t=")
    assert seconds == str(int(moment.timestamp()))
    key = alert.rule.webhook_key.encode()
    expected = hmac.new(key, seconds.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert signed == f"sha256={expected}"
    assert headers["idempotency-key"] == f"alert-{alert.pk}"


def test_an_acknowledged_alert_is_told_to_nobody(server: MailServer) -> None:
    alert = an_alert(escalate_mail=[CHIEF])
    alert_messages.queue(alert.raised_at + 5 * HOUR)
    cora = Actor(user=User.objects.create_user("cora"), door="page")
    alerts.acknowledge(
        alert=alert, action="seen", text="Seen.", now=alert.raised_at + 5 * HOUR, actor=cora
    )
    assert at(alert.raised_at + 6 * HOUR) == NOTHING
    assert server.received == []


def test_a_rule_that_tells_nobody_queues_nothing() -> None:
    study = trial.make_study()
    person = trial.enrol(study, "S1-001", "UTC", timezone.now())
    add_rule(study)
    an_answer(person, craving=97.531)
    alerts.find_alerts(timezone.now())
    assert at(timezone.now() + 99 * HOUR) == NOTHING


def test_a_webhook_that_is_down_is_tried_again_and_said_in_the_inbox(pager: Pager) -> None:
    alert = an_alert(escalate_webhook=f"{pager.origin}/secret-path")
    pager.plays = [Reply(503), Reply(503)]
    moment = alert.raised_at + 5 * HOUR
    assert at(moment) == Escalated(queued=1, sent=0, postponed=1, failed=0)
    assert at(moment + timedelta(seconds=29)) == NOTHING  # the first wait is 30 to 60 s
    assert at(moment + timedelta(seconds=61)).postponed == 1
    message = AlertMessage.objects.get()
    assert (message.attempts, message.failure) == (2, "webhook answered 503")
    client = sign_in("cora", alert.rule.study, "coordinator")
    shown = page(client.get("/studies/demo/alerts/"))
    host = pager.origin.removeprefix("https://")
    assert f"1 alert could not be told to the webhook at {host}: webhook answered 503." in shown
    assert "secret-path" not in shown
    assert at(moment + 3 * HOUR).sent == 1
    shown = page(client.get("/studies/demo/alerts/"))
    assert "could not be told" not in shown


def test_what_is_refused_for_good_is_given_up_at_once(pager: Pager, server: MailServer) -> None:
    alert = an_alert(escalate_webhook=f"{pager.origin}/in", escalate_mail=[CHIEF])
    pager.plays, server.plays = [Reply(410)], [f"550 5.1.1 <{CHIEF}> unknown"]
    assert at(alert.raised_at + 5 * HOUR) == Escalated(queued=2, sent=0, postponed=0, failed=2)
    failures = set(AlertMessage.objects.values_list("failure", flat=True))
    assert failures == {"webhook answered 410", "the mail server answered 550"}


def test_what_fails_for_two_days_is_given_up(pager: Pager) -> None:
    alert = an_alert(escalate_webhook=f"{pager.origin}/in")
    pager.plays = [Reply(503)] * 2
    at(alert.raised_at + 5 * HOUR)
    assert at(alert.raised_at + 54 * HOUR).failed == 1


def test_mail_that_is_down_does_not_keep_a_webhook_from_being_called(
    pager: Pager, server: MailServer, settings: Any
) -> None:
    alert = an_alert(escalate_webhook=f"{pager.origin}/in", escalate_mail=[CHIEF])
    settings.EMAIL_SERVER = {**settings.EMAIL_SERVER, "port": mailbox.free_port()}
    done = at(alert.raised_at + 5 * HOUR)
    assert (done.sent, done.postponed) == (1, 1)
    kept = AlertMessage.objects.get(channel="mail")
    assert kept.failure == "mail server: the connection was refused"


def test_no_word_of_an_answer_is_kept(settings: Any) -> None:
    with babble.saying(b"a-word-of-the-answer\r\n\r\n") as address:
        settings.ALERT_WEBHOOK_HOSTS = [address.removeprefix("http://").rstrip("/")]
        alert = an_alert(escalate_webhook=address)
        assert at(alert.raised_at + 5 * HOUR).postponed == 1
    message = AlertMessage.objects.get()
    assert message.failure == "webhook: it answered nothing that can be read"
    broken = ValueError("a-word-of-the-answer")
    message.lease_until = None
    assert alert_messages._mark(message, broken, alert.raised_at + 54 * HOUR) == "failed"
    message.refresh_from_db()
    assert message.failure == "sending broke: ValueError"


def test_mail_that_is_set_up_no_more_is_said_and_tried_again(
    server: MailServer, settings: Any
) -> None:
    alert = an_alert(escalate_mail=[CHIEF])
    settings.EMAIL_SERVER = {}
    assert at(alert.raised_at + 5 * HOUR).postponed == 1
    assert "an administrator sets EMAIL_URL" in AlertMessage.objects.get().failure


@pytest.mark.django_db(transaction=True)
def test_two_workers_at_once_send_a_message_once(pager: Pager) -> None:
    alert = an_alert(escalate_webhook=f"{pager.origin}/in")
    moment = alert.raised_at + 5 * HOUR

    def work(_: int) -> None:
        at(moment)
        connection.close()

    with ThreadPoolExecutor(max_workers=4) as pool:
        list(pool.map(work, range(4)))
    assert len(pager.got) == 1


def test_a_lease_that_was_lost_marks_nothing(pager: Pager) -> None:
    alert = an_alert(escalate_webhook=f"{pager.origin}/in")
    moment = alert.raised_at + 5 * HOUR
    alert_messages.queue(moment)
    [ours] = alert_messages.claim(moment)
    assert alert_messages.claim(moment) == []
    [theirs] = alert_messages.claim(moment + alert_messages.LEASE + timedelta(seconds=1))
    assert alert_messages._mark(ours, None, moment) == "lost"
    assert alert_messages._mark(theirs, None, moment) == "sent"


def test_waits_double_up_to_an_hour() -> None:
    def longest(least: float, most: float) -> float:
        return most

    waits = [alert_messages.wait_before_retry(n, longest).total_seconds() for n in (1, 2, 3, 9, 40)]
    assert waits == [60, 120, 240, 3600, 3600]


# --- private addresses ------------------------------------------------------------------


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.1.2.3", "192.168.0.9", "169.254.169.254", "::1", "fd00::1", "fe80::1%eth0"],
)
def test_a_public_name_of_a_private_address_is_not_called(address: str) -> None:
    with pytest.raises(alert_webhook.AddressRefused, match="has a private address"):
        alert_webhook._public_address("rebound.example.org", ["93.184.216.34", address])


def test_the_address_that_was_looked_up_is_the_one_that_is_called() -> None:
    assert alert_webhook._public_address("x.example.org", ["93.184.216.34"]) == "93.184.216.34"
    with pytest.raises(alert_webhook.NotTaken, match="cannot be looked up"):
        alert_webhook._pinned("https://nowhere.invalid/")


def test_a_host_that_is_listed_no_more_is_given_up_when_sending(
    pager: Pager, settings: Any
) -> None:
    alert = an_alert(escalate_webhook=f"{pager.origin}/in")
    settings.ALERT_WEBHOOK_HOSTS = []
    assert at(alert.raised_at + 5 * HOUR).failed == 1
    assert pager.got == []
    assert "an administrator may list it" in AlertMessage.objects.get().failure


def test_alerts_of_a_rule_that_was_switched_off_are_told_to_nobody(pager: Pager) -> None:
    alert = an_alert(escalate_webhook=f"{pager.origin}/in")
    AlertRule.objects.update(active_since=None)
    assert at(alert.raised_at + 5 * HOUR) == NOTHING
