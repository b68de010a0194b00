"""Delivery: due prompts reach a phone in time or not at all, and never twice."""

import json
import logging
import threading
import time
from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.utils import timezone

from ema import audit, studies, withdrawal
from ema.models import Device, Participant, Prompt, Site, Study
from ema.models.study import Role
from scheduler.channels import Message, PushError, Send
from scheduler.delivery import Dispatched, dispatch_due, wait_before_retry
from scheduler.ledger import ledger
from scheduler.models import Delivery
from scheduler.outbox import LEASE
from scheduler.planning import plan_prompts
from scheduler.tasks import dispatch_due as dispatch_due_task
from tests import trial
from tests.scheduler.fakes import babble

pytestmark = pytest.mark.django_db

SECOND = timedelta(seconds=1)
INSTANT = timedelta(microseconds=1)  # before the expiry nothing is tried again
CANARY = "a-word-of-the-answer"


@pytest.fixture
def someone() -> Participant:
    """A participant with a phone and two weeks of prompts."""
    participant = trial.enrol(trial.make_study(), "S1-001", "Europe/Brussels", timezone.now())
    trial.redeem(participant)
    plan_prompts(timezone.now())
    return participant


@pytest.fixture
def prompt(someone: Participant) -> Prompt:
    """Their first prompt of the day after tomorrow: more than a minute from the others."""
    found = Prompt.objects.filter(study_day=3).order_by("due_at").first()
    assert found is not None
    return found


def dispatch(at: datetime, send: Send) -> Dispatched:
    """One run at an instant."""
    return dispatch_due(at, send=send, clock=lambda: at)


def only_due(at: datetime, **which: Any) -> list[Prompt]:
    """Leave only these prompts, all due at one instant."""
    Prompt.objects.exclude(**which).delete()
    Prompt.objects.update(due_at=at, expires_at=at + timedelta(minutes=30))
    return list(Prompt.objects.order_by("pk"))


def refusing(**how: Any) -> Send:
    def send(message: Message) -> None:
        raise PushError("the channel is closed", **how)

    return send


def test_a_due_prompt_is_sent_once(prompt: Prompt) -> None:
    sent: list[Message] = []
    at = prompt.due_at + SECOND
    assert dispatch(prompt.due_at - SECOND, sent.append).sent == 0
    first = dispatch(at, sent.append)
    assert (first.queued, first.sent) == (1, 1)
    assert dispatch(at + 5 * SECOND, sent.append).sent == 0
    assert sent == [
        Message(
            prompt_id=prompt.pk,
            participant=prompt.participant.uuid,
            due_at=prompt.due_at,
            expires_at=prompt.expires_at,
            zone=prompt.zone,
        ),
    ]
    prompt.refresh_from_db()
    delivery = prompt.deliveries.get()
    assert prompt.sent_at == delivery.sent_at == at
    assert (delivery.attempts, delivery.lease_until, delivery.channel) == (1, None, "console")


def test_an_expired_prompt_is_never_sent(prompt: Prompt) -> None:
    sent: list[Message] = []
    dispatched = dispatch(prompt.expires_at, sent.append)
    assert sent == []
    assert dispatched.queued == 0
    prompt.refresh_from_db()
    assert prompt.undelivered == "system"  # there was a phone, but nobody tried


def test_a_prompt_that_expires_while_it_waits_its_turn_is_not_sent(prompt: Prompt) -> None:
    sent: list[Message] = []
    clock = iter([prompt.expires_at - SECOND, prompt.expires_at])
    just_before = prompt.expires_at - SECOND
    dispatched = dispatch_due(just_before, send=sent.append, clock=lambda: next(clock))
    assert sent == []
    assert dispatched.postponed == 1
    dispatched = dispatch(prompt.expires_at, sent.append)
    assert (dispatched.expired, dispatched.sent) == (1, 0)
    delivery = prompt.deliveries.get()
    assert (delivery.failure, delivery.attempts) == ("expired", 0)
    prompt.refresh_from_db()
    assert prompt.undelivered == "system"


@pytest.mark.parametrize(
    ("stage", "why"),
    [("armed_at", ""), ("shown_at", ""), ("opened_at", ""), ("answered_at", "not_needed")],
)
def test_a_prompt_the_phone_has_already_is_not_pushed(prompt: Prompt, stage: str, why: str) -> None:
    sent: list[Message] = []
    Prompt.objects.filter(pk=prompt.pk).update(**{stage: prompt.due_at})
    assert dispatch(prompt.due_at + SECOND, sent.append).queued == 0
    dispatch(prompt.expires_at + SECOND, sent.append)
    assert sent == []
    prompt.refresh_from_db()
    assert prompt.undelivered == why


@pytest.mark.parametrize("stage", ["armed_at", "answered_at"])
def test_a_prompt_armed_between_two_attempts_is_not_pushed_again(
    prompt: Prompt, stage: str
) -> None:
    sent: list[Message] = []
    assert dispatch(prompt.due_at, refusing()).postponed == 1
    Prompt.objects.filter(pk=prompt.pk).update(**{stage: prompt.due_at})
    dispatch(prompt.due_at + timedelta(minutes=5), sent.append)
    assert sent == []


def test_a_cancelled_prompt_is_not_sent(someone: Participant, prompt: Prompt) -> None:
    sent: list[Message] = []
    withdrawal.withdraw(participant=someone, reason="", now=timezone.now(), actor=audit.COMMAND)
    assert dispatch(prompt.due_at, sent.append).queued == 0  # even before the planner cancels it
    plan_prompts(prompt.due_at)
    assert dispatch(prompt.due_at, sent.append).queued == 0


def test_nothing_is_sent_in_a_locked_study(prompt: Prompt) -> None:
    Study.objects.update(locked_at=timezone.now())
    assert dispatch(prompt.due_at, refusing()).queued == 0


def test_without_a_phone_nothing_is_sent_and_the_reason_is_written_down(prompt: Prompt) -> None:
    Device.objects.update(revoked_at=prompt.due_at - SECOND)
    assert dispatch(prompt.due_at, refusing()).queued == 0
    dispatch(prompt.expires_at, refusing())
    prompt.refresh_from_db()
    assert prompt.undelivered == "no_device"


def test_a_failure_that_passes_is_tried_again(prompt: Prompt) -> None:
    sent: list[Message] = []
    assert dispatch(prompt.due_at, refusing()).postponed == 1
    assert dispatch(prompt.due_at + 10 * SECOND, sent.append).sent == 1
    assert prompt.deliveries.get().attempts == 2


def test_a_failure_that_lasts_is_not_tried_again(prompt: Prompt) -> None:
    assert dispatch(prompt.due_at, refusing(permanent=True)).failed == 1
    again = dispatch(prompt.due_at + timedelta(minutes=5), refusing())
    assert (again.queued, again.postponed, again.failed) == (0, 0, 0)
    delivery = prompt.deliveries.get()
    assert (delivery.failure, delivery.attempts) == ("the channel is closed", 1)
    dispatch(prompt.expires_at, refusing())
    prompt.refresh_from_db()
    assert prompt.undelivered == "channel_failed"


def test_no_retry_is_planned_past_the_expiry(prompt: Prompt) -> None:
    half_an_hour = (prompt.expires_at - prompt.due_at).total_seconds()
    assert dispatch(prompt.due_at, refusing(retry_after=half_an_hour)).failed == 1
    prompt.refresh_from_db()
    assert prompt.deliveries.get().failed_at == prompt.due_at


def test_retries_end_with_the_prompt(prompt: Prompt) -> None:
    at, ends = prompt.due_at, Counter[str]()
    while at < prompt.expires_at + timedelta(minutes=1):
        done = dispatch(at, refusing())
        ends += Counter(postponed=done.postponed, sent=done.sent)
        ends["over"] += done.failed + done.expired  # it may expire before its last attempt
        at += 20 * SECOND
    assert ends["over"] == 1
    assert 5 <= ends["postponed"] <= 40  # of 93 runs
    prompt.refresh_from_db()
    assert (prompt.undelivered, prompt.sent_at) == ("channel_failed", None)


def test_the_wait_before_a_retry_doubles_and_honours_retry_after() -> None:
    def longest(low: float, high: float) -> float:
        return high

    waits = [wait_before_retry(n, None, longest).total_seconds() for n in range(1, 10)]
    assert waits == [2, 4, 8, 16, 32, 64, 128, 256, 300]
    asked = wait_before_retry(1, 120.0).total_seconds()
    assert 120 <= asked <= 122


def test_a_channel_that_breaks_does_not_stop_the_others(someone: Participant) -> None:
    at = timezone.now() + timedelta(days=1)
    due = only_due(at, study_day__in=[3, 4], ordinal=1)
    broken, sent = due[0], list[Message]()

    def send(message: Message) -> None:
        if message.prompt_id == broken.pk:
            raise ZeroDivisionError
        sent.append(message)

    done = dispatch(at, send)
    assert (done.sent, done.postponed) == (1, 1)


def test_what_a_broken_channel_says_is_not_kept(prompt: Prompt) -> None:
    def send(message: Message) -> None:
        raise ValueError(CANARY) from TimeoutError(CANARY)

    assert dispatch(prompt.expires_at - INSTANT, send).failed == 1
    assert prompt.deliveries.get().failure == "the channel broke: it took too long"


def test_a_dispatcher_that_dies_leaves_its_work_to_the_next(prompt: Prompt) -> None:
    def die(message: Message) -> None:
        raise SystemExit

    sent: list[Message] = []
    with pytest.raises(SystemExit):
        dispatch(prompt.due_at, die)
    assert dispatch(prompt.due_at + LEASE - SECOND, sent.append).sent == 0
    assert dispatch(prompt.due_at + LEASE + SECOND, sent.append).sent == 1


@pytest.mark.django_db(transaction=True)
def test_whoever_lost_the_lease_marks_nothing(prompt: Prompt) -> None:
    sent: list[Message] = []

    def slow(message: Message) -> None:  # meanwhile the lease ended and another took the work
        Delivery.objects.update(lease_until=prompt.due_at + 2 * LEASE)
        connection.close()

    assert dispatch(prompt.due_at, slow).sent == 0
    prompt.refresh_from_db()
    assert prompt.sent_at is None
    assert dispatch(prompt.due_at + 3 * LEASE, sent.append).sent == 1


def test_a_late_report_of_the_phone_stands_above_the_reason(prompt: Prompt) -> None:
    dispatch(prompt.expires_at, refusing())
    Prompt.objects.filter(pk=prompt.pk).update(armed_at=prompt.due_at)
    prompt.refresh_from_db()
    assert prompt.undelivered == "system"
    assert ledger(prompt.participant.study, prompt.expires_at).missed == 1


def make_due(participants: int) -> datetime:
    """That many participants with a phone, and one prompt each that is due at one instant."""
    study, now = trial.make_study(), timezone.now()
    people = [trial.enrol(study, f"S{number}", "UTC", now) for number in range(participants)]
    for participant in people:
        trial.redeem(participant)
    plan_prompts(now)
    at = now + timedelta(days=1)
    only_due(at, study_day=3, ordinal=1)
    return at


def test_one_run_sends_more_than_one_batch() -> None:
    at, sent = make_due(7), list[Message]()
    done = dispatch_due(at, send=sent.append, clock=lambda: at, batch=3)
    assert done.sent == len({message.prompt_id for message in sent}) == 7


@pytest.mark.django_db(transaction=True)
def test_two_dispatchers_at_once_send_nothing_twice() -> None:
    at, together = make_due(40), threading.Barrier(3)
    sent: list[Message] = []
    done: list[Dispatched] = []

    def send(message: Message) -> None:
        sent.append(message)
        time.sleep(0.01)

    def run() -> None:
        together.wait()
        done.append(dispatch_due(at, send=send, clock=lambda: at, batch=5))
        connection.close()

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Counter(message.prompt_id for message in sent).most_common(1)[0][1] == 1
    assert len(sent) == sum(each.sent for each in done) == 40
    assert Prompt.objects.filter(sent_at=at).count() == 40


def test_the_periodic_task_dispatches_by_the_clock(someone: Participant, caplog: Any) -> None:
    now = timezone.now()
    only_due(now - SECOND, study_day=3, ordinal=1)
    with caplog.at_level(logging.INFO):
        dispatch_due_task()
    delivery = Delivery.objects.get()
    assert delivery.sent_at is not None
    assert timedelta(0) <= delivery.sent_at - now < timedelta(seconds=20)
    lines = [record.getMessage() for record in caplog.records if "Check-in" in record.getMessage()]
    assert len(lines) == 1
    assert str(delivery.prompt_id) in lines[0]


# --- the webhook, against a real server -------------------------------------------------


class Endpoint:
    """An HTTP server that keeps what it got and answers as told; 200 when nothing is left."""

    def __init__(self) -> None:
        self.got: list[tuple[dict[str, str], dict[str, Any]]] = []
        self.replies: list[tuple[int, dict[str, str]]] = []
        endpoint = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                endpoint.got.append((dict(self.headers), json.loads(body)))
                status, headers = endpoint.replies.pop(0) if endpoint.replies else (200, {})
                self.send_response(status)
                for name, value in {**headers, "Content-Length": "0"}.items():
                    self.send_header(name, value)
                self.end_headers()

            def log_message(self, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}/due"


@pytest.fixture
def endpoint(settings: Any) -> Iterator[Endpoint]:
    found = Endpoint()
    thread = threading.Thread(target=found.server.serve_forever, daemon=True)
    thread.start()
    settings.DELIVERY_CHANNEL = "webhook"
    settings.DELIVERY_WEBHOOK_URL = found.url
    yield found
    found.server.shutdown()
    found.server.server_close()
    thread.join()


def dispatch_by_webhook(at: datetime) -> Dispatched:
    return dispatch_due(at, clock=lambda: at)


def test_the_webhook_is_told_what_is_due_and_nothing_of_the_trial(
    prompt: Prompt, endpoint: Endpoint
) -> None:
    assert dispatch_by_webhook(prompt.due_at).sent == 1
    ((headers, content),) = endpoint.got
    assert content == {
        "prompt_id": str(prompt.pk),
        "participant": str(prompt.participant.uuid),
        "kind": "prompt",
        "title": "Check-in",
        "due_at": prompt.due_at.isoformat(),
        "expires_at": prompt.expires_at.isoformat(),
    }
    assert headers["Idempotency-Key"] == str(prompt.pk)
    assert prompt.deliveries.get().channel == "webhook"


def test_a_busy_webhook_is_left_alone_for_as_long_as_it_asks(
    prompt: Prompt, endpoint: Endpoint
) -> None:
    endpoint.replies = [(503, {"Retry-After": "120"})]
    assert dispatch_by_webhook(prompt.due_at).postponed == 1
    delivery = prompt.deliveries.get()
    assert delivery.next_attempt_at >= prompt.due_at + timedelta(seconds=120)
    assert dispatch_by_webhook(prompt.due_at + timedelta(seconds=119)).sent == 0
    assert dispatch_by_webhook(prompt.due_at + timedelta(seconds=123)).sent == 1
    assert len(endpoint.got) == 2


def test_a_date_in_retry_after_is_understood(prompt: Prompt, endpoint: Endpoint) -> None:
    in_a_while = timezone.now() + timedelta(seconds=300)
    stated = in_a_while.strftime("%a, %d %b %Y %H:%M:%S GMT")
    endpoint.replies = [(429, {"Retry-After": stated})]
    assert dispatch_by_webhook(prompt.due_at).postponed == 1
    wait = prompt.deliveries.get().next_attempt_at - prompt.due_at
    assert timedelta(seconds=290) < wait < timedelta(seconds=305)


@pytest.mark.parametrize("status", [400, 404, 410])
def test_a_webhook_that_says_never_is_not_asked_again(
    prompt: Prompt, endpoint: Endpoint, status: int
) -> None:
    endpoint.replies = [(status, {})]
    assert dispatch_by_webhook(prompt.due_at).failed == 1
    dispatch_by_webhook(prompt.due_at + timedelta(minutes=10))
    assert len(endpoint.got) == 1
    assert prompt.deliveries.get().failure == f"webhook answered {status}"


@pytest.mark.parametrize("status", [302, 401, 500])
def test_a_webhook_that_fails_otherwise_is_asked_again(
    prompt: Prompt, endpoint: Endpoint, status: int
) -> None:
    endpoint.replies = [(status, {})]
    assert dispatch_by_webhook(prompt.due_at).postponed == 1
    assert dispatch_by_webhook(prompt.due_at + 3 * SECOND).sent == 1


def test_a_webhook_that_is_not_there_is_asked_again(prompt: Prompt, settings: Any) -> None:
    settings.DELIVERY_CHANNEL = "webhook"
    settings.DELIVERY_WEBHOOK_URL = "http://127.0.0.1:1/"
    assert dispatch_by_webhook(prompt.due_at).postponed == 1


def test_a_webhook_that_speaks_no_http_puts_nothing_into_the_row(
    prompt: Prompt, settings: Any
) -> None:
    settings.DELIVERY_CHANNEL = "webhook"
    with babble.saying(f"{CANARY}\r\n\r\n".encode()) as settings.DELIVERY_WEBHOOK_URL:
        with pytest.raises(httpx.RemoteProtocolError, match=CANARY):  # so it could have been
            httpx.post(settings.DELIVERY_WEBHOOK_URL, json={})
        assert dispatch_by_webhook(prompt.expires_at - INSTANT).failed == 1
    failure = prompt.deliveries.get().failure
    assert failure == "webhook: it answered nothing that can be read"


# --- the operators' screen --------------------------------------------------------------


def test_a_coordinator_sees_the_deliveries_of_their_own_site_and_changes_none(
    someone: Participant, prompt: Prompt
) -> None:
    dispatch(prompt.due_at, refusing(permanent=True))
    other = Site.objects.create(study=someone.study, code="S2", title="Second site")
    seen = {}
    for site in (someone.site, other):
        user = User.objects.create_user(f"of-{site}", password="not used")
        studies.grant(
            user=user,
            role=Role.COORDINATOR,
            study=someone.study,
            site=site,
            actor=audit.COMMAND,
        )
        client = Client()
        client.force_login(user)
        page = client.get("/admin/scheduler/delivery/")
        assert page.status_code == 200
        seen[site.code] = "the channel is closed" in page.content.decode()
        assert client.get("/admin/scheduler/delivery/add/").status_code == 403
    assert seen == {"S1": True, "S2": False}
