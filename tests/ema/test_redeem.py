"""Enrolling a phone: POST /api/v1/enrolments/redeem and /api/v1/tokens/refresh."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from ema import audit, codes, enrolment, withdrawal
from ema.models import Device, EnrolmentCode, Participant, RefreshToken
from tests import trial

pytestmark = pytest.mark.django_db
REDEEM = "/api/v1/enrolments/redeem"


@pytest.fixture
def participant() -> Participant:
    return trial.enrol(trial.make_study(), "S1-001", "Europe/Brussels", timezone.now())


def issue(participant: Participant) -> str:
    return enrolment.issue_code(participant=participant, now=timezone.now(), actor=audit.COMMAND)


def redeem(client: Client, code: str, installation: uuid.UUID | None = None) -> Any:
    body = {"code": code, "installation_id": str(installation or uuid.uuid4())}
    return client.post(REDEEM, body, content_type="application/json")


def test_a_code_lets_one_phone_in(client: Client, participant: Participant) -> None:
    answer = redeem(client, issue(participant))
    assert answer.status_code == 201
    body = answer.json()
    assert body["participant"] == "S1-001"
    assert body["zone"] == "Europe/Brussels"
    schedule = client.get(
        "/api/v1/me/schedule", headers={"Authorization": f"Bearer {body['access_token']}"}
    )
    assert schedule.status_code == 200


def test_a_code_may_be_typed_carelessly(client: Client, participant: Participant) -> None:
    code = issue(participant)
    typed = f" {code[:4].lower()}-{code[4:8]}-{code[8:]} ".replace("0", "o").replace("1", "i")
    assert redeem(client, typed).status_code == 201


def test_a_second_phone_with_the_same_code_is_refused(
    client: Client, participant: Participant
) -> None:
    code = issue(participant)
    assert redeem(client, code).status_code == 201
    refused = redeem(client, code)
    assert refused.status_code == 410
    assert refused.json()["code"] == "code_used"
    assert refused["Content-Type"] == "application/problem+json"


def test_the_same_installation_may_ask_again_when_its_reply_was_lost(
    client: Client, participant: Participant
) -> None:
    code, installation = issue(participant), uuid.uuid4()
    first = redeem(client, code, installation).json()
    second = redeem(client, code, installation)
    assert second.status_code == 201
    assert second.json()["access_token"] != first["access_token"]
    assert Device.objects.active().filter(participant=participant).count() == 1


def test_an_unknown_or_mistyped_code_is_refused(client: Client, participant: Participant) -> None:
    for code in (codes.new_code(), "0000000000000", "AAAAAAAAAB", "ünïcödé"):
        answer = redeem(client, code)
        assert (answer.status_code, answer.json()["code"]) == (404, "code_unknown")


def test_an_old_code_is_refused(client: Client, participant: Participant) -> None:
    code = issue(participant)
    now = timezone.now()
    EnrolmentCode.objects.update(
        issued_at=now - timedelta(hours=80), expires_at=now - timedelta(hours=8)
    )
    answer = redeem(client, code)
    assert (answer.status_code, answer.json()["code"]) == (410, "code_expired")


def test_a_new_code_makes_the_unused_one_useless(client: Client, participant: Participant) -> None:
    first, second = issue(participant), issue(participant)
    assert redeem(client, first).status_code == 404
    assert redeem(client, second).status_code == 201


def test_a_bad_request_names_the_field(client: Client, participant: Participant) -> None:
    answer = client.post(REDEEM, {"code": "x"}, content_type="application/json")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == "/installation_id"


def test_neither_codes_nor_tokens_are_kept_in_clear(
    client: Client, participant: Participant
) -> None:
    code = issue(participant)
    given = redeem(client, code).json()
    kept = str([list(EnrolmentCode.objects.values()), list(Device.objects.values())])
    for secret in (code, given["access_token"], given["refresh_token"]):
        assert secret not in kept


def an_hour_passes() -> None:
    RefreshToken.objects.filter(spent_at__isnull=False).update(
        spent_at=timezone.now() - timedelta(hours=1)
    )


def refresh(client: Client, token: str) -> Any:
    return client.post(
        "/api/v1/tokens/refresh", {"refresh_token": token}, content_type="application/json"
    )


def test_refreshing_rotates_both_tokens(client: Client, participant: Participant) -> None:
    given = redeem(client, issue(participant)).json()
    rotated = refresh(client, given["refresh_token"])
    assert rotated.status_code == 200
    old = client.get(
        "/api/v1/me/schedule", headers={"Authorization": f"Bearer {given['access_token']}"}
    )
    assert old.status_code == 401
    assert old.json()["code"] == "unauthorised"


def test_a_refresh_whose_reply_was_lost_may_be_repeated_at_once(
    client: Client, participant: Participant
) -> None:
    given = redeem(client, issue(participant)).json()
    assert refresh(client, given["refresh_token"]).status_code == 200
    assert refresh(client, given["refresh_token"]).status_code == 200


def test_whichever_reply_to_a_repeated_refresh_arrived_goes_on(
    client: Client, participant: Participant
) -> None:
    given = redeem(client, issue(participant)).json()
    first = refresh(client, given["refresh_token"]).json()
    refresh(client, given["refresh_token"])
    assert refresh(client, first["refresh_token"]).status_code == 200


def test_the_other_reply_is_spent_with_it(client: Client, participant: Participant) -> None:
    given = redeem(client, issue(participant)).json()
    mine, theirs = (refresh(client, given["refresh_token"]).json() for _ in range(2))
    fresh = refresh(client, mine["refresh_token"]).json()
    an_hour_passes()
    assert refresh(client, theirs["refresh_token"]).json()["code"] == "token_reused"
    assert refresh(client, fresh["refresh_token"]).status_code == 401


def test_a_token_spent_long_ago_revokes_the_phone_too(
    client: Client, participant: Participant
) -> None:
    given = redeem(client, issue(participant)).json()
    second = refresh(client, given["refresh_token"]).json()
    third = refresh(client, second["refresh_token"]).json()
    an_hour_passes()
    assert refresh(client, given["refresh_token"]).json()["code"] == "token_reused"
    assert refresh(client, third["refresh_token"]).status_code == 401


def test_a_new_code_ends_the_old_one_even_for_the_phone_that_used_it(
    client: Client, participant: Participant
) -> None:
    code, installation = issue(participant), uuid.uuid4()
    assert redeem(client, code, installation).status_code == 201
    assert redeem(client, issue(participant)).status_code == 201
    assert redeem(client, code, installation).json()["code"] == "code_used"


def test_who_has_withdrawn_gets_no_code_and_no_phone(
    client: Client, participant: Participant
) -> None:
    code = issue(participant)
    withdrawal.withdraw(
        participant=participant, reason="moved", now=timezone.now(), actor=audit.COMMAND
    )
    assert redeem(client, code).json()["code"] == "code_expired"
    with pytest.raises(enrolment.EnrolmentRefused, match="S1-001 has withdrawn"):
        issue(participant)


def test_a_spent_refresh_token_that_comes_back_revokes_the_phone(
    client: Client, participant: Participant
) -> None:
    given = redeem(client, issue(participant)).json()
    fresh = refresh(client, given["refresh_token"]).json()
    an_hour_passes()
    stolen = refresh(client, given["refresh_token"])
    assert (stolen.status_code, stolen.json()["code"]) == (401, "token_reused")
    assert refresh(client, fresh["refresh_token"]).status_code == 401


def test_guessing_codes_is_slowed_down(client: Client, participant: Participant) -> None:
    answers = [redeem(client, codes.new_code()) for _ in range(25)]
    limited = [answer for answer in answers if answer.status_code == 429]
    assert limited
    assert int(limited[0]["Retry-After"]) >= 1
