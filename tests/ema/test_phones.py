"""A phone against the real server, with an unreliable network in between."""

import http.client
import threading
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar
from urllib.parse import urlsplit

import httpx
import pytest
from django.utils import timezone
from pytest_django.live_server_helper import LiveServer
from rest_framework.throttling import ScopedRateThrottle

from ema import audit, enrolment, phones
from ema.models import Device, Participant, PhoneEvent, Prompt, Quarantine, Response
from ema.phones import Card, Offline, Patience, Phone, Refused, SignedOut
from tests import trial

pytestmark = pytest.mark.django_db(transaction=True)


class Network(ThreadingHTTPServer):
    """Passes requests on to the server, each with the next fault of `faults`, if any is left.

    Faults: `lost request`, `lost reply`, `too large`, or a status such as `503` or `429 after 7`.
    """

    daemon_threads = True

    def __init__(self, server_url: str) -> None:
        super().__init__(("127.0.0.1", 0), Passing)
        self.target = urlsplit(server_url)
        self.faults: list[str] = []
        self.seen: list[tuple[str, str]] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A phone that goes away is part of the game."""


class Passing(BaseHTTPRequestHandler):
    server: Network
    protocol_version = "HTTP/1.1"
    dropped: ClassVar[set[str]] = {"transfer-encoding", "connection", "content-length", "date"}

    def _pass_on(self) -> None:
        network = self.server
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        network.seen.append((self.command, self.path))
        fault = network.faults.pop(0) if network.faults else ""
        status, _, after = fault.partition(" after ")
        if fault == "lost request":
            self.close_connection = True
        elif fault == "too large" or status.isdigit():
            self._reply(413 if fault == "too large" else int(status), b"{}", after)
        else:
            reply, content = self._ask(body)
            if fault == "lost reply":
                self.close_connection = True
            else:
                self._reply(reply.status, content, reply.getheader("Retry-After"))

    def _ask(self, body: bytes) -> tuple[http.client.HTTPResponse, bytes]:
        to = http.client.HTTPConnection(self.server.target.netloc, timeout=20)
        headers = {**dict(self.headers), "Host": self.server.target.netloc}
        to.request(self.command, self.path, body=body, headers=headers)
        reply = to.getresponse()
        content = reply.read()
        to.close()
        return reply, content

    def _reply(self, status: int, content: bytes, after: str | None) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        if after:
            self.send_header("Retry-After", after)
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_POST = _pass_on  # noqa: N815 - the names of http.server

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Say nothing."""


@pytest.fixture(autouse=True)
def _no_rate_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every test lets phones in from the same address."""
    monkeypatch.setattr(ScopedRateThrottle, "THROTTLE_RATES", {"redeem": "10000/min"})


@pytest.fixture
def network(live_server: LiveServer) -> Iterator[Network]:
    with Network(live_server.url) as between:
        thread = threading.Thread(target=between.serve_forever, args=[0.02], daemon=True)
        thread.start()
        yield between
        between.shutdown()
        thread.join()


@pytest.fixture
def participant() -> Participant:
    """Enrolled 30 days ago, with four prompts a day since."""
    study = trial.make_study()
    begins = timezone.now() - timedelta(days=30)
    return trial.enrol(study, "S1-001", "Europe/Brussels", begins)


@pytest.fixture
def http_client(network: Network) -> Iterator[httpx.Client]:
    with phones.connect(network.url) as client:
        yield client


@pytest.fixture
def waits() -> list[float]:
    """How long the phone waited, each time; no test waits for real."""
    return []


@pytest.fixture
def phone(http_client: httpx.Client, participant: Participant, waits: list[float]) -> Phone:
    """A phone that is let in already."""
    one = Phone(http_client, patience=Patience(attempts=5, sleep=waits.append))
    one.redeem(code_for(participant))
    return one


def code_for(participant: Participant) -> str:
    return enrolment.issue_code(participant=participant, now=timezone.now(), actor=audit.COMMAND)


def add_prompts(participant: Participant, days: int = 2) -> list[Prompt]:
    """Four prompts a day since enrolment."""
    phase = participant.study.phases.get()
    prompts = [
        Prompt(
            participant=participant,
            phase=phase,
            questionnaire=phase.questionnaire,
            study_on=participant.enrolled_on + timedelta(days=day),
            study_day=day + 1,
            ordinal=ordinal,
            due_at=(due_at := participant.enrolled_at + timedelta(days=day, hours=ordinal)),
            expires_at=due_at + timedelta(minutes=30),
            zone=participant.zone,
            tzdata="test",
            planned_at=participant.enrolled_at,
        )
        for day in range(days)
        for ordinal in range(1, 5)
    ]
    Prompt.objects.bulk_create(prompts)
    return list(Prompt.objects.filter(participant=participant).order_by("due_at"))


def answered(phone: Phone, participant: Participant, days: int = 2) -> list[Card]:
    """Prompts, synced and answered, all still in the outbox."""
    add_prompts(participant, days)
    cards = phone.sync(since=participant.enrolled_at, until=timezone.now())
    for number, card in enumerate(cards):
        values = {"stress": number, "craving": 2 * number, "pain": None}
        phone.answer(card, values, card.due_at + timedelta(minutes=2))
    return cards


# --- letting in ---------------------------------------------------------------------------


def test_a_phone_whose_code_was_taken_but_whose_reply_was_lost_is_let_in(
    http_client: httpx.Client, network: Network, participant: Participant
) -> None:
    phone = Phone(http_client, patience=Patience(sleep=lambda s: None))
    network.faults = ["lost reply"]

    phone.redeem(code_for(participant))

    assert phone.participant == "S1-001"
    assert phone.zone == "Europe/Brussels"
    assert phone.sync() == []


def test_a_mistyped_code_is_refused_at_once(
    http_client: httpx.Client, network: Network, participant: Participant
) -> None:
    phone = Phone(http_client)

    with pytest.raises(Refused, match="unknown") as refusal:
        phone.redeem("0000000001")

    assert refusal.value.code == "code_unknown"
    assert len(network.seen) == 1


def test_a_phone_refreshes_an_expired_token_once(
    phone: Phone, network: Network, participant: Participant
) -> None:
    Device.objects.update(access_expires_at=timezone.now() - timedelta(seconds=1))
    network.seen.clear()

    answered(phone, participant)
    phone.upload()

    assert [path for _, path in network.seen].count("/api/v1/tokens/refresh") == 1
    assert Response.objects.count() == 8


def test_a_refresh_whose_reply_was_lost_is_repeated(
    phone: Phone, network: Network, participant: Participant
) -> None:
    network.faults = ["lost reply"]

    phone.refresh_tokens()

    assert phone.sync() == []


def test_a_revoked_phone_says_that_it_needs_a_new_code_and_keeps_its_answers(
    phone: Phone, participant: Participant
) -> None:
    answered(phone, participant)
    Device.objects.update(revoked_at=timezone.now())

    with pytest.raises(SignedOut, match="S1-001 needs a new code"):
        phone.upload()

    assert len(phone.answers) == 8


# --- the schedule -------------------------------------------------------------------------


def test_a_long_schedule_is_read_in_pages_of_fourteen_days(
    phone: Phone, network: Network, participant: Participant
) -> None:
    prompts = add_prompts(participant, days=29)
    network.seen.clear()

    cards = phone.sync(since=participant.enrolled_at, until=timezone.now())

    assert [card.id for card in cards] == [prompt.pk for prompt in prompts]
    assert len(network.seen) == 3


def test_a_cancelled_prompt_leaves_the_phone(phone: Phone, participant: Participant) -> None:
    first, *_ = add_prompts(participant)
    phone.sync(since=participant.enrolled_at, until=timezone.now())

    Prompt.objects.filter(pk=first.pk).update(
        cancelled_at=timezone.now(), cancel_reason="withdrawn"
    )
    phone.sync(since=participant.enrolled_at, until=timezone.now())

    assert first.pk not in phone.cards
    assert len(phone.cards) == 7


# --- uploading ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "faults",
    [
        ["lost reply"],
        ["lost request", "lost reply", "lost reply"],
        ["503", "500", "lost reply", "429"],
        ["408", "425", "502"],
    ],
    ids=", ".join,
)
def test_answers_arrive_once_however_bad_the_network(
    phone: Phone, network: Network, participant: Participant, faults: list[str]
) -> None:
    cards = answered(phone, participant)
    network.faults = list(faults)

    done = phone.upload()

    assert done.total() == len(cards) == Response.objects.count()
    assert phone.answers == {}
    stored = Response.objects.order_by("prompt__due_at").values_list("stress", flat=True)
    assert list(stored) == list(range(8))


def test_retry_after_wins_over_the_phones_own_patience(
    phone: Phone, network: Network, participant: Participant, waits: list[float]
) -> None:
    answered(phone, participant)
    network.faults = ["429 after 7", "503 after 30"]

    phone.upload()

    assert 7 <= waits[0] < 8
    assert 30 <= waits[1] < 31


def test_waits_grow_but_never_beyond_their_limit(
    phone: Phone, network: Network, participant: Participant, waits: list[float]
) -> None:
    answered(phone, participant)
    phone.patience = Patience(attempts=30, first_wait_s=1, longest_wait_s=4, sleep=waits.append)
    network.faults = ["503"] * 29

    phone.upload()

    assert len(waits) == 29
    assert max(waits) <= 4
    assert len(set(waits)) == 29, "waits must differ, or all phones come back at once"


def test_a_phone_that_stays_offline_keeps_its_answers_for_later(
    phone: Phone, network: Network, participant: Participant
) -> None:
    answered(phone, participant)
    network.faults = ["lost request"] * 5

    with pytest.raises(Offline, match="after 5 attempts"):
        phone.upload()
    assert len(phone.answers) == 8

    assert phone.upload() == {"created": 8}


def test_a_batch_that_is_too_large_is_halved(
    phone: Phone, network: Network, participant: Participant
) -> None:
    answered(phone, participant)
    network.seen.clear()
    network.faults = ["too large", "too large"]

    assert phone.upload() == {"created": 8}
    assert len(network.seen) == 2 + 4


@pytest.mark.parametrize("fault", ["too large", "400"])
def test_an_answer_that_is_refused_alone_is_kept_and_does_not_keep_the_others(
    phone: Phone, network: Network, participant: Participant, fault: str
) -> None:
    answered(phone, participant)
    first, *_ = phone.answers
    network.seen.clear()
    network.faults = [fault] * 4  # of 8 answers, of 4, of 2, and of the first alone

    with pytest.raises(Refused):
        phone.upload()

    assert list(phone.answers) == [first]
    assert len(network.seen) == 4 + 7
    assert Response.objects.count() == 7


def test_a_conflict_is_kept_apart_and_not_sent_again(
    phone: Phone, participant: Participant
) -> None:
    card, *_ = answered(phone, participant)
    changed = {**next(iter(phone.answers.values())), "answers": [{"item": "stress", "value": 99}]}
    phone.upload()
    phone.answers = {changed["id"]: changed}

    assert phone.upload() == {"conflict": 1}
    assert phone.conflicts == [changed["id"]]
    assert phone.answers == {}
    assert Response.objects.get(prompt=card.id).stress == 0


def test_a_quarantined_answer_is_with_the_server_and_leaves_the_phone(
    phone: Phone, participant: Participant
) -> None:
    answered(phone, participant)
    next(iter(phone.answers.values()))["questionnaire"]["version"] = 99

    assert phone.upload() == {"created": 7, "quarantined": 1}
    assert phone.answers == {}
    assert Quarantine.objects.count() == 1


def test_a_wrong_clock_is_corrected_by_the_time_of_sending(
    phone: Phone, participant: Participant
) -> None:
    ahead = timedelta(hours=3)
    phone.clock = lambda: datetime.now(UTC) + ahead
    add_prompts(participant, days=1)
    card, *_ = phone.sync(since=participant.enrolled_at, until=timezone.now())
    phone.answer(card, {"stress": 1, "craving": 2}, card.due_at + ahead + timedelta(minutes=2))

    phone.upload()

    stored = Response.objects.get()
    assert abs(stored.completed_at_corrected - card.due_at - timedelta(minutes=2)) < timedelta(
        seconds=5
    )
    assert stored.flags == ["clock_skew"]


def test_what_happened_to_a_prompt_is_reported_once(
    phone: Phone, network: Network, participant: Participant
) -> None:
    add_prompts(participant, days=1)
    card, *_ = phone.sync(since=participant.enrolled_at, until=timezone.now())
    phone.note("armed", card, card.due_at - timedelta(hours=1))
    phone.note("shown", card, card.due_at)
    network.faults = ["lost reply"]

    assert phone.upload() == {"stored": 2}

    prompt = Prompt.objects.get(pk=card.id)
    assert prompt.armed_at is not None
    assert prompt.shown_at is not None
    assert PhoneEvent.objects.count() == 2


def test_phones_work_side_by_side(http_client: httpx.Client, participant: Participant) -> None:
    others = [
        trial.enrol(participant.study, f"S1-1{n:02}", "UTC", participant.enrolled_at)
        for n in range(6)
    ]
    work = []
    for other in others:
        phone = Phone(http_client)
        phone.redeem(code_for(other))
        answered(phone, other)
        work.append(phone)

    done = list(phones.each(work, lambda one: one.upload(), threads=3))

    assert done == [{"created": 8}] * 6
    assert Response.objects.count() == 48


def test_a_phone_that_fails_among_many_is_heard_of(http_client: httpx.Client) -> None:
    def fail(number: int) -> Any:
        raise Offline(f"phone {number}")

    with pytest.raises(Offline, match="phone"):
        list(phones.each(range(3), fail))
