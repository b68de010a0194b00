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

from ema import audit, withdrawal
from ema.api import uploads
from ema.limits import Buckets, Rate
from ema.models import Participant, Phase, Prompt, Quarantine, Response, Study
from ema.tokens import Admission
from tests import trial

pytestmark = pytest.mark.django_db
SUBMIT = "/api/v1/me/submissions:batch"


@pytest.fixture
def study() -> Study:
    return trial.make_study()


@pytest.fixture
def phone(study: Study) -> Admission:
    return new_phone(study, "S1-001")


def new_phone(study: Study, code: str) -> Admission:
    return trial.redeem(
        trial.enrol(study, code, "Europe/Brussels", timezone.now() - timedelta(days=3))
    )


def make_prompt(
    participant: Participant, due_at: datetime | None = None, ordinal: int = 1
) -> Prompt:
    phase = Phase.objects.get(study=participant.study)
    due_at = due_at or timezone.now() - timedelta(minutes=10)
    return Prompt.objects.create(
        participant=participant,
        phase=phase,
        questionnaire=phase.questionnaire,
        study_on=due_at.date(),
        study_day=4,
        ordinal=ordinal,
        due_at=due_at,
        expires_at=due_at + timedelta(minutes=30),
        zone=participant.zone,
        tzdata="2026f",
        planned_at=due_at - timedelta(days=1),
    )


def item(prompt: Prompt | None, **changes: Any) -> dict[str, Any]:
    at = prompt.due_at + timedelta(minutes=2) if prompt else timezone.now()
    version = Phase.objects.get().questionnaire
    return {
        "id": str(uuid.uuid4()),
        "prompt_id": str(prompt.pk) if prompt else None,
        "trigger": "random" if prompt else "self_initiated",
        "questionnaire": {"key": version.questionnaire.key, "version": version.version},
        "completed_at": at.isoformat(),
        "answers": [
            {"item": "stress", "value": 40, "rt_ms": 900},
            {"item": "craving", "value": 15},
            {"item": "pain", "value": None, "skip": "prefer_not_to_say"},
        ],
        **changes,
    }


def submit(phone: Admission, items: list[Any], **client: Any) -> Any:
    body = {"client": {"sent_at": timezone.now().isoformat(), **client}, "items": items}
    return post(phone, json.dumps(body))


def post(phone: Admission, body: str | bytes) -> Any:
    return Client().post(
        SUBMIT,
        body,
        content_type="application/json",
        headers={"Authorization": f"Bearer {phone.access_token}"},
    )


def statuses(answer: Any) -> list[str]:
    assert answer.status_code == 200, answer.content
    return [each["status"] for each in answer.json()["items"]]


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


def test_an_absurd_clock_leaves_the_answers_time_as_it_was(phone: Admission) -> None:
    prompt = make_prompt(phone.device.participant)
    sent = item(prompt)
    assert flags(phone, sent, sent_at="2999-01-01T00:00:00Z") == ["clock_skew"]
    stored = Response.objects.get(pk=sent["id"])
    assert stored.completed_at_corrected == stored.completed_at
    assert statuses(submit(phone, [item(None)], sent_at="3995-01-01T00:00:00Z")) == ["created"]


def test_of_two_answers_in_a_batch_the_one_completed_first_counts(phone: Admission) -> None:
    prompt = make_prompt(phone.device.participant, timezone.now() - timedelta(hours=30))
    low, high = sorted(str(uuid.uuid4()) for _ in range(2))
    in_time = (prompt.due_at + timedelta(minutes=2)).isoformat()
    late = (prompt.due_at + timedelta(hours=20)).isoformat()
    sent = [item(prompt, id=low, completed_at=late), item(prompt, id=high, completed_at=in_time)]
    assert statuses(submit(phone, sent)) == ["created", "created"]
    assert Response.objects.get(pk=high).flags == []
    assert set(Response.objects.get(pk=low).flags) == {"after_expiry", "duplicate_prompt"}
    prompt.refresh_from_db()
    assert prompt.answered_at == Response.objects.get(pk=high).completed_at_corrected


def test_an_answer_that_is_not_stored_does_not_count_as_first(
    study: Study, phone: Admission
) -> None:
    other = new_phone(study, "S1-002")
    taken = item(None)
    assert statuses(submit(other, [taken])) == ["created"]
    prompt = make_prompt(phone.device.participant)
    early = prompt.due_at.isoformat()
    colliding = item(prompt, id=taken["id"], completed_at=early)
    real = item(prompt)
    assert statuses(submit(phone, [colliding, real])) == ["conflict", "created"]
    assert Response.objects.get(pk=real["id"]).flags == []


def flags(phone: Admission, sent: dict[str, Any], **client: Any) -> list[str]:
    assert statuses(submit(phone, [sent], **client)) == ["created"]
    return Response.objects.get(pk=sent["id"]).flags


def test_a_late_answer_is_stored_and_flagged(phone: Admission) -> None:
    prompt = make_prompt(phone.device.participant, timezone.now() - timedelta(hours=3))
    late = prompt.expires_at + timedelta(minutes=1)
    assert flags(phone, item(prompt, completed_at=late.isoformat())) == ["after_expiry"]


def test_an_answer_before_its_prompt_is_flagged(phone: Admission) -> None:
    prompt = make_prompt(phone.device.participant)
    early = prompt.due_at - timedelta(minutes=5)
    assert flags(phone, item(prompt, completed_at=early.isoformat())) == ["before_due"]


def test_a_wrong_clock_is_corrected_and_flagged(phone: Admission) -> None:
    prompt = make_prompt(phone.device.participant)
    ahead = timedelta(hours=2)
    sent = item(prompt, completed_at=(prompt.due_at + timedelta(minutes=2) + ahead).isoformat())
    found = flags(phone, sent, sent_at=(timezone.now() + ahead).isoformat())
    assert found == ["clock_skew"]
    stored = Response.objects.get()
    off = stored.completed_at_corrected - prompt.due_at - timedelta(minutes=2)
    assert abs(off) < timedelta(seconds=5)


UPTIME: dict[str, Any] = {"boot_id": "b1", "monotonic_ms": 50_000_000}


@pytest.mark.parametrize(
    ("minutes_off", "expected"),
    [
        (0, []),
        (1, []),
        (-30, ["clock_jump", "backdated"]),
        (30, ["clock_jump"]),
    ],
)
def test_a_time_that_the_phones_uptime_contradicts_is_flagged(
    phone: Admission, minutes_off: int, expected: list[str]
) -> None:
    now = timezone.now()
    hours_ago, as_ms = now - timedelta(hours=2), 2 * 60 * 60 * 1000
    said = hours_ago + timedelta(minutes=minutes_off)
    sent = item(
        None,
        completed_at=said.isoformat(),
        boot_id="b1",
        monotonic_ms=UPTIME["monotonic_ms"] - as_ms,
    )
    assert flags(phone, sent, sent_at=now.isoformat(), **UPTIME) == expected


def test_uptime_says_nothing_across_a_restart_or_when_it_was_not_sent(phone: Admission) -> None:
    old = (timezone.now() - timedelta(days=1)).isoformat()
    for told in ({"boot_id": "b0"}, {"monotonic_ms": None}, {"boot_id": ""}):
        sent = item(None, completed_at=old, **{**UPTIME, **told})
        assert flags(phone, sent, **UPTIME) == []


def test_an_absurd_uptime_costs_no_answer(phone: Admission) -> None:
    most = {"boot_id": "b1", "monotonic_ms": 2**63 - 1}
    assert flags(phone, item(None, **{**most, "monotonic_ms": 0}), **most) == ["clock_jump"]


def test_an_answer_from_the_future_is_flagged(phone: Admission) -> None:
    sent = item(None, completed_at=(timezone.now() + timedelta(days=2)).isoformat())
    assert flags(phone, sent) == ["future"]


def test_a_second_answer_to_a_prompt_is_kept_but_flagged(phone: Admission) -> None:
    prompt = make_prompt(phone.device.participant)
    assert flags(phone, item(prompt)) == []
    assert flags(phone, item(prompt)) == ["duplicate_prompt"]
    both = submit(phone, [item(p := make_prompt(phone.device.participant, ordinal=2)), item(p)])
    assert statuses(both) == ["created", "created"]
    found = Response.objects.filter(prompt=p).values_list("flags", flat=True)
    assert sorted(map(list, found)) == [[], ["duplicate_prompt"]]


def test_ones_own_report_answers_no_prompt(phone: Admission) -> None:
    prompt = make_prompt(phone.device.participant)
    assert flags(phone, item(prompt, trigger="self_initiated")) == []
    prompt.refresh_from_db()
    assert prompt.answered_at is None
    assert flags(phone, item(prompt)) == []
    prompt.refresh_from_db()
    assert prompt.answered_at is not None


def test_an_answer_after_withdrawal_is_kept_flagged_and_answers_no_prompt(phone: Admission) -> None:
    prompt = make_prompt(phone.device.participant)
    withdrawal.withdraw(
        participant=phone.device.participant,
        reason="moved away",
        now=prompt.due_at - timedelta(minutes=30),
        actor=audit.COMMAND,
    )
    assert flags(phone, item(prompt)) == ["after_withdrawal"]
    assert statuses(submit(phone, [item(prompt), item(prompt)])) == ["created", "created"]
    assert list(Response.objects.values_list("flags", flat=True)) == [["after_withdrawal"]] * 3
    prompt.refresh_from_db()
    assert prompt.answered_at is None


def test_a_replaced_phone_may_still_upload(phone: Admission) -> None:
    prompt = make_prompt(phone.device.participant)
    trial.redeem(phone.device.participant)
    assert flags(phone, item(prompt)) == ["from_replaced_device"]


def test_a_late_answer_that_was_begun_in_time_is_told_from_one_that_was_not(
    phone: Admission,
) -> None:
    prompt = make_prompt(phone.device.participant, timezone.now() - timedelta(hours=3))
    late = (prompt.expires_at + timedelta(minutes=5)).isoformat()
    begun = (prompt.expires_at - timedelta(minutes=1)).isoformat()
    assert flags(phone, item(prompt, started_at=begun, completed_at=late)) == ["after_expiry"]
    second = make_prompt(phone.device.participant, prompt.due_at, ordinal=2)
    begun = (prompt.expires_at + timedelta(minutes=4)).isoformat()
    found = flags(phone, item(second, started_at=begun, completed_at=late))
    assert found == ["after_expiry", "late_start"]


def test_answers_that_nobody_can_have_read_are_flagged(phone: Admission) -> None:
    at = timezone.now() - timedelta(minutes=1)
    for seconds, expected in ((0.3, ["too_fast"]), (2, [])):
        began = (at - timedelta(seconds=seconds)).isoformat()
        sent = item(None, started_at=began, completed_at=at.isoformat())
        assert flags(phone, sent) == expected
    quick = [{"item": "stress", "value": 1, "rt_ms": 90}, {"item": "craving", "value": 2}]
    assert flags(phone, item(None, answers=quick)) == []
    quick[1]["rt_ms"] = 80
    assert flags(phone, item(None, answers=quick)) == ["too_fast"]
    quick[1]["rt_ms"] = 2**63 - 1  # by a clock gone mad
    assert flags(phone, item(None, answers=quick)) == []


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


def test_a_value_out_of_range_is_kept_but_not_analysed(phone: Admission) -> None:
    answers = [{"item": "stress", "value": 140}, {"item": "craving", "value": "much"}]
    sent = item(make_prompt(phone.device.participant), answers=answers)
    assert flags(phone, sent) == ["out_of_range"]
    stored = Response.objects.get()
    assert (stored.stress, stored.craving) == (None, None)
    assert stored.answers[0]["value"] == 140


def test_a_zone_that_does_not_fit_its_offset_is_flagged(phone: Admission) -> None:
    here = {"tz": "Asia/Kolkata", "utc_offset_min": 330}
    prompt = make_prompt(phone.device.participant)
    assert flags(phone, item(prompt, **here)) == []
    wrong = item(None, tz="Asia/Kolkata", utc_offset_min=60)
    assert flags(phone, wrong) == ["tz_offset_mismatch"]
    assert flags(phone, item(None, tz="Mars/Olympus")) == ["tz_offset_mismatch"]


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
