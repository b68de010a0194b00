"""Phones to look after: who needs somebody, and when the task is gone; through page and API."""

import json
import re
import uuid
from datetime import datetime, timedelta
from io import StringIO
from typing import Any

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone

from ema import audit, pauses, push, withdrawal
from ema.models import Device, Participant, Prompt, PushRegistration, Response, Site, Study
from ema.tokens import Admission
from scheduler.planning import plan_prompts
from tests import trial
from tests.ema.test_admin import sign_in

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
PHONES = "/studies/demo/phones/"
NOTHING = "No phone needs looking after."
FCM: dict[str, Any] = {"kind": "fcm", "address": "registration-token", "keys": {}}


@pytest.fixture
def now() -> datetime:
    return timezone.now()


@pytest.fixture
def phone(now: datetime) -> Admission:
    """The phone of S1-001, which has just loaded its schedule."""
    participant = trial.enrol(trial.make_study(), "S1-001", "Europe/Brussels", now)
    plan_prompts(now)
    phone = trial.redeem(participant)
    sync(phone)
    return phone


@pytest.fixture
def coordinator(phone: Admission) -> Client:
    return sign_in("cora", phone.device.participant.study, "coordinator")


def ask(phone: Admission, method: str, path: str, **content: Any) -> None:
    bearer = {"Authorization": f"Bearer {phone.access_token}"}
    answer = Client().generic(
        method, path, json.dumps(content), content_type="application/json", headers=bearer
    )
    assert answer.status_code < 300, answer.content


def sync(phone: Admission) -> None:
    bearer = {"Authorization": f"Bearer {phone.access_token}"}
    assert Client().get("/api/v1/me/schedule", headers=bearer).status_code == 200


def silence(phone: Admission, since: datetime) -> None:
    """Nothing was heard of the phone after that."""
    Device.objects.filter(pk=phone.device.pk).update(enrolled_at=since, schedule_at=since)
    PushRegistration.objects.update(registered_at=since)


def said(client: Client, path: str = PHONES, status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())


def test_a_phone_that_works_needs_nobody(coordinator: Client) -> None:
    assert NOTHING in said(coordinator)


def test_a_dead_registration_is_a_task_until_the_phone_registers_anew(
    phone: Admission, coordinator: Client, now: datetime, settings: Any
) -> None:
    registration = push.register(device=phone.device, now=now, **FCM)
    push.retire(registration, reason="UNREGISTERED", now=now)
    told = said(coordinator)
    assert "1 to do" in told
    assert f"S1-001 S1 {now:%Y-%m-%d %H:%M} Ask the participant to open the app" in told
    assert "No way to it by Firebase Cloud Messaging: UNREGISTERED." in told
    assert "registration-token" not in told
    settings.FCM_SERVICE_ACCOUNT = {"project_id": "p"}
    ask(phone, "PUT", "/api/v1/me/push-registration", **{**FCM, "address": "another-token"})
    assert NOTHING in said(coordinator)


def test_a_quiet_phone_is_a_task_until_it_syncs(
    phone: Admission, coordinator: Client, now: datetime
) -> None:
    silence(phone, now - 3 * DAY + timedelta(minutes=5))
    assert NOTHING in said(coordinator)
    silence(phone, now - 3 * DAY)
    assert f"{now - 3 * DAY:%Y-%m-%d %H:%M} Ask the participant whether the phone is on" in said(
        coordinator
    )
    sync(phone)
    assert NOTHING in said(coordinator)


def test_how_long_a_phone_may_be_quiet_is_a_setting(
    phone: Admission, coordinator: Client, now: datetime, settings: Any
) -> None:
    silence(phone, now - 3 * DAY)
    settings.QUIET_PHONE_AFTER = 4 * DAY
    told = said(coordinator)
    assert NOTHING in told
    assert "quiet after 4 days" in told


def test_a_phone_that_sends_answers_is_not_quiet(
    phone: Admission, coordinator: Client, now: datetime
) -> None:
    silence(phone, now - 9 * DAY)
    response = answer_at(phone, now - DAY)
    assert NOTHING in said(coordinator)
    Response.objects.filter(pk=response.pk).update(received_at=now - 5 * DAY)
    assert f"{now - 5 * DAY:%Y-%m-%d %H:%M} Ask the participant whether" in said(coordinator)


def answer_at(phone: Admission, at: datetime) -> Response:
    prompt = Prompt.objects.filter(participant=phone.device.participant).first()
    assert prompt
    return Response.objects.create(
        id=uuid.uuid4(),
        participant=phone.device.participant,
        device=phone.device,
        prompt=prompt,
        questionnaire=prompt.questionnaire,
        trigger="random",
        completed_at=at,
        completed_at_corrected=at,
        received_at=at,
        answers=[],
        content_sha256=b"\0" * 32,
    )


def test_whoever_has_no_phone_gets_a_code(
    phone: Admission, coordinator: Client, now: datetime
) -> None:
    revoked_at = now - timedelta(hours=2)
    Device.objects.filter(pk=phone.device.pk).update(revoked_at=revoked_at)
    told = said(coordinator)
    assert f"{revoked_at:%Y-%m-%d %H:%M} Issue a one-time code" in told
    trial.redeem(Participant.objects.get())
    assert NOTHING in said(coordinator)


def test_the_longest_waits_first(phone: Admission, coordinator: Client, now: datetime) -> None:
    study = Study.objects.get()
    trial.enrol(study, "S1-002", "UTC", now - DAY)
    plan_prompts(now)
    silence(phone, now - 5 * DAY)
    told = said(coordinator)
    assert told.index("S1-001 S1") < told.index("S1-002 S1")
    assert "2 to do" in told


@pytest.mark.parametrize("state", ["withdrawn", "paused", "locked", "over"])
def test_whoever_is_not_asked_now_is_left_out(
    phone: Admission, coordinator: Client, now: datetime, state: str
) -> None:
    silence(phone, now - 5 * DAY)
    assert "1 to do" in said(coordinator)
    participant = Participant.objects.get()
    step: dict[str, Any] = {"participant": participant, "now": now, "actor": audit.COMMAND}
    if state == "withdrawn":
        withdrawal.withdraw(reason="moved", **step)
    elif state == "paused":
        pauses.pause(**step)
    elif state == "locked":
        Study.objects.update(locked_at=now)
    else:
        Prompt.objects.filter(due_at__gt=now).delete()
    assert NOTHING in said(coordinator)


def test_a_coordinator_of_a_site_sees_its_phones_only(phone: Admission, now: datetime) -> None:
    study = Study.objects.get()
    second = Site.objects.create(study=study, code="S2", title="Second site")
    trial.enrol_at(second, "S2-001")
    plan_prompts(now)
    silence(phone, now - 5 * DAY)
    here = said(sign_in("sia", study, "coordinator", site=second))
    assert "Only phones of your site: S2." in here
    assert "S2-001" in here
    assert "S1-001" not in here
    assert "2 to do" in said(sign_in("ines", study, "investigator"))


def test_the_page_is_for_those_who_look_after_participants(phone: Admission) -> None:
    study = Study.objects.get()
    coordinator = sign_in("cora", study, "coordinator")
    assert "Phones to look after" in said(coordinator, "/studies/")
    assert "Phones to look after" in said(coordinator, "/studies/demo/ledger/")
    statistician = sign_in("stan", study, "statistician")
    assert "Phones to look after" not in said(statistician, "/studies/demo/ledger/")
    assert said(statistician, status=404)
    assert said(sign_in("root"), status=404)
    assert Client().get(PHONES)["Location"].startswith("/admin/login/?next=")


def test_the_command_tells_the_same(phone: Admission, now: datetime) -> None:
    def run(*options: str) -> str:
        out = StringIO()
        call_command("phones", "demo", *options, stdout=out)
        return out.getvalue()

    assert run() == f"{NOTHING}\n"
    silence(phone, now - 5 * DAY)
    assert f"S1-001 (S1), since {now - 5 * DAY:%Y-%m-%d %H:%M} UTC: Nothing heard" in run()
    [task] = json.loads(run("--json"))
    assert (task["participant"], task["site"]) == ("S1-001", "S1")
    assert task["since"] == (now - 5 * DAY).isoformat()
