"""Answers that a phone numbered and never brought are visible to coordinators."""

import json
import uuid
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from ema import gaps
from ema.models import Device
from ema.tokens import Admission
from tests import trial
from tests.ema.test_admin import sign_in
from tests.ema.uploading import item, post, statuses, submit

pytestmark = pytest.mark.django_db


@pytest.fixture
def phone() -> Admission:
    study = trial.make_study()
    person = trial.enrol(study, "S1-001", "Europe/Brussels", timezone.now() - timedelta(days=3))
    return trial.redeem(person)


def report(phone: Admission, seq: int) -> None:
    event = {"id": str(uuid.uuid4()), "kind": "clock_changed", "at": timezone.now().isoformat()}
    answer = Client().post(
        "/api/v1/me/events:batch",
        json.dumps({"items": [{**event, "seq": seq}]}),
        content_type="application/json",
        headers={"Authorization": f"Bearer {phone.access_token}"},
    )
    assert statuses(answer) == ["stored"]


def missing(phone: Admission) -> int:
    [found] = gaps.with_missing(Device.objects.filter(pk=phone.device.pk))
    counted: int = found.missing  # type: ignore[attr-defined]
    return counted


def test_a_phone_that_brought_everything_lacks_nothing(phone: Admission) -> None:
    assert (missing(phone), gaps.gaps_of(phone.device)) == (0, [])
    submit(phone, [item(None, seq=seq) for seq in (5, 7)])
    report(phone, 6)
    assert (missing(phone), gaps.gaps_of(phone.device)) == (0, [])


def test_numbers_that_never_arrived_are_gaps(phone: Admission) -> None:
    submit(phone, [item(None, seq=seq) for seq in (1, 2, 6, 8)])
    report(phone, 12)
    assert missing(phone) == 7
    assert list(map(str, gaps.gaps_of(phone.device))) == ["3–5", "7", "9–11"]


def test_what_is_in_quarantine_has_arrived(phone: Admission) -> None:
    broken = {"id": "x", "seq": 2}
    assert (
        statuses(submit(phone, [item(None, seq=1), broken, item(None, seq=3)]))[1] == "quarantined"
    )
    post(phone, '{"items": [{"id": "y", "seq": "many"}, {"id": "z", "seq": -4}]}')
    assert missing(phone) == 0


def test_a_new_phone_counts_anew(phone: Admission) -> None:
    submit(phone, [item(None, seq=40)])
    other = trial.redeem(phone.device.participant)
    submit(other, [item(None, seq=1)])
    assert missing(phone) == missing(other) == 0


def test_a_coordinator_sees_which_numbers_are_missing(phone: Admission) -> None:
    submit(phone, [item(None, seq=seq) for seq in (1, 4)])
    client = sign_in("cora", phone.device.participant.study, "coordinator")
    listed = client.get("/admin/ema/device/").content.decode()
    assert '<td class="field-missing">2</td>' in listed
    shown = client.get(f"/admin/ema/device/{phone.device.pk}/change/").content.decode()
    assert "2–3" in shown
