"""The operators' pages about prompts and phones, as a browser gets them."""

import re
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from ema.models import Participant, Prompt, Site, Study
from scheduler.planning import plan_prompts
from tests import trial
from tests.ema.test_admin import sign_in

pytestmark = pytest.mark.django_db

DAY = timedelta(days=1)
LEDGER = "/studies/demo/ledger/"


@pytest.fixture
def now() -> datetime:
    return timezone.now()


@pytest.fixture
def study(now: datetime) -> Study:
    """Two sites with one participant each, planned; every prompt of S2 is cancelled."""
    study = trial.make_study(phase_days=14)
    second = Site.objects.create(study=study, code="S2", title="Second site", zone="UTC")
    trial.enrol_at(study.sites.get(code="S1"), "S1-001")
    trial.enrol_at(second, "S2-001")
    plan_prompts(now)
    of_second = Prompt.objects.filter(participant__site=second)
    of_second.update(cancelled_at=now, cancel_reason="paused")
    return study


def words(client: Client, path: str, status: int = 200) -> str:
    answer = client.get(path)
    assert answer.status_code == status
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())


def at(site: str, **fields: Any) -> None:
    """One more prompt of a site's participant gets these fields."""
    waiting = Prompt.objects.filter(participant__site__code=site, undelivered="", answered_at=None)
    prompt = waiting.order_by("-due_at").first()
    assert prompt is not None
    Prompt.objects.filter(pk=prompt.pk).update(**fields)


def test_the_ledger_shows_every_end_with_its_reason_and_balances(
    study: Study, now: datetime
) -> None:
    at("S1", undelivered="no_device")
    at("S1", answered_at=now)
    planned = Prompt.objects.count()
    cancelled = Prompt.objects.filter(cancelled_at__isnull=False).count()
    said = words(sign_in("ines", study, "investigator"), LEDGER)
    assert f"{planned} planned = {cancelled + 2} ended + {planned - cancelled - 2} open." in said
    assert "It balances" in said
    assert "missed A phone had it, and nobody answered before it expired. 0 0.0 %" in said
    assert (
        "no device The participant had no phone enrolled when it was due. 1 "
        f"{100 / planned:.1f} %" in said
    )
    assert f"paused Due during a pause or a hospital stay. {planned // 2} 50.0 %" in said
    assert "By site Site Planned" in said
    assert "By phase" not in said  # there is one


def test_whoever_is_kept_to_a_site_sees_that_site_only(study: Study) -> None:
    client = sign_in("sia", study, "coordinator", site=study.sites.get(code="S2"))
    said = words(client, LEDGER)
    planned = Prompt.objects.filter(participant__site__code="S2").count()
    assert "Only prompts of your site: S2." in said
    assert f"{planned} planned = {planned} ended + 0 open." in said
    assert "S1" not in said
    assert "By site" not in said
    everybody = words(sign_in("cora", study, "coordinator"), LEDGER)
    assert "Only prompts of your site" not in everybody


def test_phases_are_told_apart_in_their_order(study: Study) -> None:
    first = study.phases.get()
    Prompt.objects.filter(study_day__gt=7).update(
        phase=trial.add_phase(study, "aftercare", like=first)
    )
    said = words(sign_in("ines", study, "investigator"), LEDGER)
    assert said.index("By phase") < said.index(" treatment ") < said.index(" aftercare ")


def test_a_study_without_prompts_says_when_there_will_be_some(now: datetime) -> None:
    study = trial.make_study()
    said = words(sign_in("cora", study, "coordinator"), LEDGER)
    assert "No prompts yet: they are planned up to 14 days ahead" in said


def test_the_ledger_is_on_the_card_of_the_study_and_of_no_other(study: Study) -> None:
    trial.make_study("other")
    client = sign_in("cora", study, "coordinator")
    assert f'href="{LEDGER}"' in client.get("/studies/").content.decode()
    assert "other" not in client.get("/studies/").content.decode()
    assert "no study 'other'" in words(client, "/studies/other/ledger/", 404).replace("&#x27;", "'")
    assert words(sign_in("root"), LEDGER, 404)
    assert Client().get(LEDGER)["Location"].startswith("/admin/login/?next=")
    assert client.post(LEDGER).status_code == 405


def test_a_site_without_a_participant_has_no_prompts(study: Study) -> None:
    empty = Site.objects.create(study=study, code="S3", title="Third site")
    client = sign_in("tia", study, "coordinator", site=empty)
    assert "No prompts yet" in words(client, LEDGER)
    assert Participant.objects.count() == 2
