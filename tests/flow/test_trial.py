"""The whole way of a trial on one page: HTTP, real PostgreSQL, Redis and Celery workers."""

import csv
import io
import re
from datetime import timedelta

import httpx
import pytest
from django.contrib.auth.models import User
from django.utils import timezone

from analytics.models import Coupling, Snapshot
from ema import audit, phones, studies
from ema.models import Participant, Prompt, Response, Study
from scheduler.ledger import ledger
from tests import trial
from tests.flow.conftest import Browser, Servers, wait_until

pytestmark = [pytest.mark.flow, pytest.mark.django_db(transaction=True)]

PASSWORD = "correct horse battery staple"
ALL_DAY = [{"weekdays": [1, 2, 3, 4, 5, 6, 7], "start": "00:00", "end": "00:00"}]
SLOPES = {"placebo": 0.5, "clonidine": 0.1}


def test_the_whole_trial(servers: Servers) -> None:
    # A double-blind study with a prompt every half hour, so that one is always due.
    study = trial.make_study(
        has_started=False,
        windows=ALL_DAY,
        prompts_per_day=48,
        minimum_gap=timedelta(0),
        expires_after=timedelta(hours=2),
    )
    coordinator, investigator, statistician = (
        signed_in(servers, study, role) for role in ("coordinator", "investigator", "statistician")
    )

    # Enrol: the coordinator enters participants and hands over their codes; phones redeem them.
    http = phones.connect(servers.url)
    carried = [enrol(coordinator, http, f"S1-{number:03}") for number in range(1, 9)]
    for phone, arm in zip(carried, ["placebo", "clonidine"] * 4, strict=True):
        trial.allocate(Participant.objects.get(code=phone.participant), arm)

    # Schedule: the study starts; the periodic planner finds participants without prompts.
    a_week_ago = timezone.now() - timedelta(days=7)
    Participant.objects.update(enrolled_at=a_week_ago, enrolled_on=a_week_ago.date())
    studies.start(study=study, now=a_week_ago, actor=audit.COMMAND)
    wait_until(lambda: Prompt.objects.values("participant").distinct().count() == 8, "are planned")

    # Deliver: what is due and armed on no phone is sent by the dispatcher.
    wait_until(lambda: Prompt.objects.filter(sent_at__isnull=False).exists(), "are delivered")

    # Respond: phones upload a week of answers; the replies are lost, so they send all of it again.
    for phone in carried:
        answer_everything(phone)
    stored = Response.objects.count()
    assert stored > 8 * 48 * 6
    assert not Response.objects.exclude(flags=[]).exists()

    # Couple: the periodic job estimates everybody who answered.
    wait_until(lambda: Coupling.objects.filter(slope__isnull=False).count() == 8, "are coupled")

    # Compare: the statistician sees the arms; nobody else does.
    report = statistician.get(f"/api/v1/studies/{study}/comparison").json()
    found = {arm["arm"]: arm["coupling"] for arm in report["arms"]}
    assert found == pytest.approx(SLOPES, abs=0.05)
    assert report["contrasts"][0]["difference"] == pytest.approx(-0.4, abs=0.05)
    assert "clonidine" in statistician.get(f"/studies/{study}/comparison/").text
    for masked in (coordinator, investigator):
        assert masked.http.get(f"/api/v1/studies/{study}/comparison").status_code == 404
        assert masked.http.get(f"/studies/{study}/comparison/").status_code == 404

    # Download: the investigator asks for a masked snapshot; a worker builds it.
    asked = investigator.post(f"/studies/{study}/snapshots/request/")
    assert asked.status_code in (302, 303), asked.text
    wait_until(lambda: Snapshot.objects.filter(built_at__isnull=False).exists(), "is built")
    rows = download(investigator, study, "prompts.csv")
    assert len(rows) == Prompt.objects.count()
    assert sum(row["status"] == "answered" for row in rows) == stored
    assert "clonidine" not in str(rows)

    # And the ledger balances: every prompt has exactly one end or is still open.
    assert ledger(study, timezone.now()).balances


def signed_in(servers: Servers, study: Study, role: str) -> Browser:
    user = User.objects.create_user(role, password=PASSWORD)
    studies.grant(user=user, role=role, study=study, site=None, actor=audit.COMMAND)
    return Browser.sign_in(servers.url, role, PASSWORD)


def enrol(coordinator: Browser, http: httpx.Client, code: str) -> phones.Phone:
    site = re.search(
        r'<option value="(\d+)">S1<', coordinator.get("/admin/ema/participant/add/").text
    )
    assert site
    coordinator.post(
        "/admin/ema/participant/add/",
        site=site[1],
        code=code,
        zone="Europe/Brussels",
        language="en",
    )
    shown = re.search(
        rf"Code for {code}: ([0-9A-Z-]+)", coordinator.get("/admin/ema/participant/").text
    )
    assert shown
    phone = phones.Phone(http)
    phone.redeem(shown[1])
    return phone


def answer_everything(phone: phones.Phone) -> None:
    """Answer every prompt so far: craving follows stress by the slope of the participant's arm."""
    arm = Participant.objects.get(code=phone.participant).allocation.arm.key
    now = timezone.now()
    for number, card in enumerate(phone.sync(since=now - timedelta(days=8), until=now)):
        if card.due_at < now:
            stress = (number * 37) % 101
            craving = round(20 + SLOPES[arm] * stress + (number * 7) % 5)
            values = {"stress": stress, "craving": craving, "pain": None}
            phone.answer(card, values, completed_at=card.due_at + timedelta(minutes=1))
    unsent = dict(phone.answers)
    assert set(phone.upload()) == {"created"}
    phone.answers = unsent
    assert set(phone.upload()) == {"duplicate"}


def download(browser: Browser, study: Study, name: str) -> list[dict[str, str]]:
    page = browser.get(f"/studies/{study}/snapshots/").text
    link = re.search(rf'href="([^"]*{re.escape(name)})"', page)
    assert link
    return list(csv.DictReader(io.StringIO(browser.get(link[1]).text)))
