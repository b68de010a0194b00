"""Uploading responses: POST /api/v1/me/submissions:batch. Nothing is refused, nothing is lost."""

import hashlib
import json
import threading
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone
from hypothesis import HealthCheck, given, settings, strategies

from ema.api import uploads
from ema.limits import Buckets, Rate
from ema.models import Prompt, Quarantine, Response, Study
from ema.tokens import Admission
from tests.ema.uploading import SUBMIT, item, make_prompt, new_phone, post, statuses, submit

pytestmark = pytest.mark.django_db


def test_a_response_is_stored_as_sent_with_its_typed_values(phone: Admission) -> None:
    prompt = make_prompt(phone.device.participant)
    sent = item(prompt, seq=7, tz="Europe/Brussels", language="nl", schedule_rev="abc")
    assert statuses(submit(phone, [sent])) == ["created"]
    stored = Response.objects.get()
    assert str(stored.pk) == sent["id"]
    assert (stored.stress, stored.craving, stored.pain) == (40, 15, None)
    assert stored.answers[2] == {
        "item": "pain",
        "value": None,
        "rt_ms": None,
        "skip": "prefer_not_to_say",
    }
    assert stored.flags == []
    prompt.refresh_from_db()
    assert prompt.answered_at == stored.completed_at_corrected


def test_a_retry_changes_nothing(phone: Admission) -> None:
    sent = item(make_prompt(phone.device.participant))
    assert statuses(submit(phone, [sent])) == ["created"]
    assert statuses(submit(phone, [sent, sent])) == ["duplicate", "duplicate"]
    assert Response.objects.count() == 1
    assert Response.objects.get().flags == []


def test_the_same_item_written_in_another_order_is_still_the_same(phone: Admission) -> None:
    sent = item(make_prompt(phone.device.participant))
    assert statuses(submit(phone, [sent])) == ["created"]
    assert statuses(submit(phone, [dict(reversed(sent.items()))])) == ["duplicate"]
    added = {**sent, "battery": 80, "trigger": sent["trigger"], "language": ""}
    assert statuses(submit(phone, [added])) == ["duplicate"]


def test_the_hash_of_a_response_outlives_fields_that_are_added_to_it(phone: Admission) -> None:
    """It is of what was said, and nothing is said by a default; the order is that of the fields."""
    sent = {
        "id": str(uuid.uuid4()),
        "questionnaire": {"key": "hourly", "version": 1},
        "completed_at": "2026-03-01T10:00:00+01:00",
        "answers": [{"item": "stress", "value": 40, "rt_ms": 900, "skip": None}],
        "trigger": "self_initiated",
        "seq": 7,
    }
    assert statuses(submit(phone, [sent])) == ["created"]
    said = json.dumps(sent, separators=(",", ":")).encode()
    assert Response.objects.get().content_sha256 == hashlib.sha256(said).digest()


def test_what_was_stored_when_the_hash_was_of_all_that_was_sent_is_known_again(
    phone: Admission,
) -> None:
    sent = {**item(make_prompt(phone.device.participant)), "battery": 80}
    assert statuses(submit(phone, [sent])) == ["created"]
    whole = hashlib.sha256(json.dumps(sent, sort_keys=True, separators=(",", ":")).encode())
    Response.objects.update(content_sha256=whole.digest())
    assert statuses(submit(phone, [sent])) == ["duplicate"]
    assert statuses(submit(phone, [{**sent, "battery": 79}])) == ["conflict"]


@pytest.mark.parametrize(
    ("field", "status"),
    [
        (rb'"\ud83d"', "quarantined"),
        (b"9" * 1000, "quarantined"),
        (b'"\xff"', "conflict"),  # nobody reads a field of the app's own
        (b"1e400000", "conflict"),
        (b"1e-20000", "conflict"),
        (b"0e99999999999999999999", "conflict"),
    ],
)
def test_what_no_column_holds_is_kept_as_a_text_also_where_nobody_reads_it(
    phone: Admission, field: bytes, status: str
) -> None:
    sent = item(make_prompt(phone.device.participant))
    assert statuses(submit(phone, [sent])) == ["created"]
    changed = json.dumps({**sent, "language": "nl"}).encode()
    body = b'{"items": [' + changed[:-1] + b', "own": ' + field + b"}]}"
    assert statuses(post(phone, body)) == [status]
    assert sent["id"] in str(Quarantine.objects.get().raw)


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({"language": "fr"}, "conflict"),
        ({"questionnaire": {"key": "x", "version": 9}}, "quarantined"),
    ],
)
def test_what_is_kept_aside_is_known_by_all_that_was_sent(
    phone: Admission, changes: dict[str, Any], status: str
) -> None:
    """As it ever was: what an earlier release kept aside is not kept twice."""
    sent = item(make_prompt(phone.device.participant))
    submit(phone, [sent])
    aside = {**sent, **changes, "battery": 80, "build": "08-1e2345"}
    assert statuses(submit(phone, [aside])) == [status]
    whole = json.dumps(aside, sort_keys=True, separators=(",", ":")).encode()
    kept = Quarantine.objects.get()
    assert (kept.raw, kept.content_sha256) == (aside, hashlib.sha256(whole).digest())
    assert statuses(submit(phone, [dict(reversed(aside.items()))])) == [status]
    assert Quarantine.objects.count() == 1


def test_another_content_under_the_same_id_is_a_conflict_and_kept_aside(phone: Admission) -> None:
    sent = item(make_prompt(phone.device.participant))
    submit(phone, [sent])
    changed = {**sent, "answers": [{"item": "stress", "value": 99}]}
    assert statuses(submit(phone, [changed])) == ["conflict"]
    assert statuses(submit(phone, [changed])) == ["conflict"]
    assert Response.objects.get().stress == 40
    kept = Quarantine.objects.get()
    assert (kept.reason, kept.raw["answers"][0]["value"]) == ("conflict", 99)


def test_somebody_elses_id_says_no_more_than_a_conflict(study: Study, phone: Admission) -> None:
    sent = item(make_prompt(phone.device.participant))
    submit(phone, [sent])
    other = new_phone(study, "S1-002")
    assert statuses(submit(other, [sent])) == ["conflict"]
    assert Response.objects.get().participant == phone.device.participant


def test_somebody_elses_prompt_is_not_answered(study: Study, phone: Admission) -> None:
    prompt = make_prompt(phone.device.participant)
    other = new_phone(study, "S1-002")
    assert statuses(submit(other, [item(prompt)])) == ["created"]
    assert Response.objects.get().flags == ["unknown_prompt"]
    prompt.refresh_from_db()
    assert prompt.answered_at is None


BROKEN: dict[str, tuple[Callable[[dict[str, Any]], Any], str]] = {
    "not an object": (lambda good: 5, ""),
    "no id": (lambda good: {"answers": good["answers"]}, ""),
    "an id that is none": (lambda good: {**good, "id": "x"}, "/id"),
    "a local time": (lambda good: {**good, "completed_at": "2026-05-01T10:00:00"}, "/completed_at"),
    "an impossible year": (lambda good: {**good, "completed_at": "9999-01-01T10:00:00Z"}, ""),
    "answers that are no list": (lambda good: {**good, "answers": "many"}, "/answers"),
    "an answer without item": (lambda good: {**good, "answers": [{"value": 1}]}, "/answers/0"),
    "an unknown questionnaire": (
        lambda good: {**good, "questionnaire": {"key": "no", "version": 1}},
        "/questionnaire",
    ),
    "a NUL in a text": (lambda good: {**good, "language": "a\u0000b"}, ""),
    "an impossible offset": (lambda good: {**good, "utc_offset_min": 5000}, "/utc_offset_min"),
}


@pytest.mark.parametrize("what", BROKEN)
def test_a_broken_item_is_quarantined_beside_good_ones(phone: Admission, what: str) -> None:
    good = item(make_prompt(phone.device.participant))
    spoil, pointer = BROKEN[what]
    broken = spoil(item(None))
    answer = submit(phone, [broken, good])
    assert statuses(answer) == ["quarantined", "created"]
    fault = answer.json()["items"][0]["errors"][0]
    assert fault["pointer"] == pointer
    assert fault["detail"]
    assert Quarantine.objects.get().errors == [fault]
    assert statuses(submit(phone, [broken])) == ["quarantined"]
    assert Quarantine.objects.count() == 1


HOSTILE = {
    "an endless exponent": b'{"id": "x", "value": 1e999}',
    "a monstrous exponent": b'{"id": "x", "value": 1e400000}',
    "a number next to nothing": b'{"id": "x", "value": 1e-400000}',
    "a number of a thousand digits": b'{"id": "x", "value": ' + b"9" * 1000 + b"}",
    "half an emoji": rb'{"id": "x", "value": "\ud83d"}',
    "bytes that are no text": b'{"id": "x", "value": "\xff\xfe"}',
    "a NUL": rb'{"id": "x", "value": "\u0000"}',
    "not a number": b'{"id": "x", "value": NaN}',
}


@pytest.mark.parametrize("what", HOSTILE)
def test_nothing_inside_an_item_costs_its_neighbours(phone: Admission, what: str) -> None:
    good = json.dumps(item(make_prompt(phone.device.participant))).encode()
    body = b'{"items": [' + HOSTILE[what] + b", " + good + b"]}"
    answer = post(phone, body)
    assert statuses(answer) == ["quarantined", "created"]
    assert answer.json()["items"][0]["id"] == "x"
    assert "x" in str(Quarantine.objects.get().raw)
    assert statuses(post(phone, body)) == ["quarantined", "duplicate"]
    assert Quarantine.objects.count() == 1


@settings(
    max_examples=60,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(noise=strategies.binary(max_size=40))
def test_no_bytes_at_all_bring_the_server_down(phone: Admission, noise: bytes) -> None:
    assert post(phone, b'{"items": [' + noise + b"]}").status_code in (200, 400)
    assert post(phone, b'{"items": ["' + noise + b'"]}').status_code in (200, 400)


@pytest.mark.parametrize(
    "completed_at",
    ["0001-01-01T00:00:00+14:00", "1899-12-31T00:00:00Z", "9999-12-31T23:59:59-12:00"],
)
def test_an_instant_no_clock_shows_is_quarantined(phone: Admission, completed_at: str) -> None:
    assert statuses(submit(phone, [item(None, completed_at=completed_at)])) == ["quarantined"]


def test_a_phone_that_uploads_too_often_is_told_when_to_come(
    phone: Admission, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(uploads, "often", Buckets(Rate(2, 60)))
    sent = item(None)
    assert statuses(submit(phone, [sent])) == ["created"]
    assert statuses(submit(phone, [sent])) == ["duplicate"]
    refused = submit(phone, [sent])
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_requests")
    assert 0 < int(refused["Retry-After"]) <= 30


def test_a_client_that_cannot_be_read_does_not_cost_the_answers(phone: Admission) -> None:
    body = {
        "client": {"sent_at": "yesterday"},
        "items": [item(make_prompt(phone.device.participant))],
    }
    assert statuses(post(phone, json.dumps(body))) == ["created"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"items": 5}', b"\xff", b"[" * 100_000])
def test_what_is_no_batch_is_refused_in_words(phone: Admission, body: bytes) -> None:
    answer = post(phone, body)
    assert (answer.status_code, answer.json()["code"]) == (400, "batch_unreadable")


def test_a_batch_of_more_than_a_hundred_is_to_be_halved(phone: Admission) -> None:
    answer = submit(phone, [{}] * 101)
    assert (answer.status_code, answer.json()["code"]) == (413, "batch_too_large")


def test_a_body_of_more_than_two_megabytes_is_to_be_halved(phone: Admission) -> None:
    answer = post(phone, b'{"items": ["' + b"x" * (2 * 1024 * 1024) + b'"]}')
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_without_a_token_nothing_is_taken(phone: Admission) -> None:
    answer = Client().post(SUBMIT, "{}", content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (401, "unauthorised")
    assert answer["WWW-Authenticate"] == "Bearer"


@pytest.mark.django_db(transaction=True)
def test_many_clients_replaying_the_same_items_store_each_once(phone: Admission) -> None:
    noon = datetime(2026, 5, 1, 12, tzinfo=UTC)
    items = [
        item(make_prompt(phone.device.participant, noon + timedelta(hours=n), ordinal=n + 1))
        for n in range(40)
    ]
    created: list[str] = []

    def replay(seed: int) -> None:
        order = items[seed * 7 % 40 :] + items[: seed * 7 % 40]
        if seed % 2:
            order.reverse()
        for start in range(0, 40, 8):
            answer = submit(phone, order[start : start + 8])
            created.extend(i["id"] for i in answer.json()["items"] if i["status"] == "created")
        connection.close()

    clients = [threading.Thread(target=replay, args=[seed]) for seed in range(4)]
    for each in clients:
        each.start()
    for each in clients:
        each.join()
    assert sorted(created) == sorted(i["id"] for i in items)
    assert Response.objects.count() == 40
    assert not Response.objects.exclude(flags=[]).exists()


@pytest.mark.django_db(transaction=True)
def test_an_answer_counts_though_its_prompt_is_being_changed_meanwhile(phone: Admission) -> None:
    prompt = make_prompt(phone.device.participant)

    def answer() -> Any:
        try:
            return submit(phone, [item(prompt)])
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():  # as the dispatcher does when it claims a prompt
            Prompt.objects.filter(pk=prompt.pk).update(sent_at=timezone.now())
            uploading = pool.submit(answer)
            wait_until_somebody_waits_for_us()
        assert statuses(uploading.result()) == ["created"]
    prompt.refresh_from_db()
    assert prompt.sent_at
    assert prompt.answered_at == Response.objects.get().completed_at_corrected


@pytest.mark.django_db(transaction=True)
def test_nothing_of_a_batch_is_stored_before_all_its_prompts_are_locked(phone: Admission) -> None:
    """Two batches that give an id two prompts would wait for each other for ever."""
    prompts = [make_prompt(phone.device.participant, ordinal=each) for each in (1, 2)]
    answered, other = sorted(prompts, key=lambda prompt: prompt.pk)
    assert statuses(submit(phone, [item(answered)])) == ["created"]
    again = item(answered, id=str(uuid.UUID(int=1)))
    batch = [again, item(other, id=str(uuid.UUID(int=2)))]

    def answer() -> Any:
        try:
            return submit(phone, batch)
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            Prompt.objects.filter(pk=other.pk).update(sent_at=timezone.now())
            uploading = pool.submit(answer)
            wait_until_somebody_waits_for_us()
            assert statuses(submit(phone, [{**again, "prompt_id": None}])) == ["created"]
        assert statuses(uploading.result()) == ["conflict", "created"]


@pytest.mark.django_db(transaction=True)
def test_a_batch_is_stored_in_the_order_of_ids_however_it_is_sent(phone: Admission) -> None:
    """Two phones' batches of the same own reports would else wait for each other for ever."""
    low, high = (item(None, id=str(uuid.UUID(int=each))) for each in (1, 2))

    def answer() -> Any:
        try:
            return submit(phone, [high, low])
        finally:
            connection.close()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            assert statuses(submit(phone, [low])) == ["created"]
            uploading = pool.submit(answer)
            wait_until_somebody_waits_for_us()
            assert statuses(submit(phone, [high])) == ["created"]
        assert statuses(uploading.result()) == ["duplicate", "duplicate"]


def wait_until_somebody_waits_for_us() -> None:
    until = time.monotonic() + 20
    while time.monotonic() < until:
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT pid FROM pg_locks"
                " WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"
            )
            if cursor.fetchone():
                return
        time.sleep(0.01)
    raise AssertionError("Nobody waits for our lock.")
