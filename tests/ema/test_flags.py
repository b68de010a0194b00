"""What is said of a response: its flags, the clock it is told by, which answer is the first."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.utils import timezone

from ema import audit, withdrawal
from ema.models import Response, Study
from ema.tokens import Admission
from tests import trial
from tests.ema.uploading import flags, item, make_prompt, new_phone, statuses, submit

pytestmark = pytest.mark.django_db


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
