"""The pages of investigators and statisticians, as a browser gets them."""

import re
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from analytics.coupling import estimate_couplings
from analytics.datasets.building import build_snapshot
from analytics.datasets.snapshots import request_snapshot
from analytics.freezing import digest
from analytics.models import Comparison, Snapshot
from analytics.tasks import build_snapshots
from ema.audit import COMMAND
from ema.models import Allocation, AuditEvent, Study
from tests.analytics.answers import make_study, make_trial, make_user

pytestmark = pytest.mark.django_db
COMPARISON = "/studies/relief/comparison/"
SNAPSHOTS = "/studies/relief/snapshots/"


@pytest.fixture(autouse=True)
def _snapshot_dir(settings: Settings, tmp_path: Path) -> None:
    settings.SNAPSHOT_DIR = tmp_path / "snapshots"


def signed_in(study: Study | None, role: str) -> Client:
    client = Client()
    client.force_login(make_user(role, study, role))
    return client


def words(page: str) -> str:
    return " ".join(re.sub(r"<[^>]+>", " ", page).split())


def steady(page: bytes) -> bytes:
    """Without the tokens that differ in every answer."""
    return re.sub(rb'name="csrfmiddlewaretoken" value="[^"]+"', b"", page)


def test_nobody_signed_in_is_sent_to_the_login() -> None:
    make_study()
    for path in ("/studies/", COMPARISON, SNAPSHOTS, f"{COMPARISON}figure.svg"):
        answer = Client().get(path)
        assert answer.status_code == 302
        assert answer["Location"].startswith("/admin/login/?next=")


def test_the_studies_list_offers_what_the_role_may_see() -> None:
    study = make_trial(masking="double_blind", n=2)
    make_study("other")
    statistician = words(signed_in(study, "statistician").get("/studies/").content.decode())
    investigator = words(signed_in(study, "investigator").get("/studies/").content.decode())
    coordinator = words(signed_in(study, "coordinator").get("/studies/").content.decode())
    assert "Results Comparison of arms Outcomes Reporting numbers Analysis plans" in statistician
    assert "Comparison of arms" not in investigator
    assert "Outcomes" not in investigator
    assert "Snapshots" in investigator
    assert "Records of the trial" in coordinator
    assert "The other trial" not in statistician + investigator + coordinator
    assert "no role in any study yet" in words(
        signed_in(None, "stranger").get("/studies/").content.decode()
    )


def test_the_comparison_says_in_words_and_numbers_what_the_arms_show() -> None:
    study = make_trial()
    estimate_couplings(timezone.now())
    answer = signed_in(study, "statistician").get(COMPARISON)
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "their craving is on average 0." in words(page)
    assert "it is weaker under clonidine" in words(page)
    assert "Exploratory: no analysis plan was locked" in words(page)
    assert "negative = weaker coupling" in words(page)
    assert "clonidine minus placebo" in words(page)
    assert "stress_within:arm[clonidine]" in page
    assert '<svg xmlns="http://www.w3.org/2000/svg" class="figure forest"' in page
    assert "None: every response is in the analysis." in words(page)
    assert "style=" not in page
    assert "<script" not in re.sub(r'<script src="/static/[^"]+"[^>]*></script>', "", page)
    assert "script-src 'self'" in answer["Content-Security-Policy"]


def test_the_figure_can_be_downloaded() -> None:
    study = make_trial()
    estimate_couplings(timezone.now())
    answer = signed_in(study, "statistician").get(f"{COMPARISON}figure.svg")
    assert answer["Content-Type"] == "image/svg+xml"
    assert answer.content.startswith(b"<svg ")


def test_an_investigator_of_a_blinded_study_finds_no_comparison_whatever_the_arms() -> None:
    study = make_trial(masking="double_blind")
    estimate_couplings(timezone.now())
    investigator = signed_in(study, "investigator")
    paths = ("/studies/", COMPARISON, f"{COMPARISON}figure.svg", SNAPSHOTS)
    before = [investigator.get(path) for path in paths]
    assert [answer.status_code for answer in before] == [200, 404, 404, 200]
    assert investigator.post(f"{COMPARISON}freeze/", {"confirm": "on"}).status_code == 404
    spent = list(Allocation.objects.order_by("pk"))
    arms = [slot.arm_id for slot in spent]
    for slot, arm in zip(spent, arms[1:] + arms[:1], strict=True):
        Allocation.objects.filter(pk=slot.pk).update(arm=arm)
    for path, answer in zip(paths, before, strict=True):
        assert steady(investigator.get(path).content) == steady(answer.content)
        assert b"clonidine" not in answer.content
    assert signed_in(study, "statistician").get(COMPARISON).status_code == 200


def test_a_superuser_without_a_role_sees_no_arm() -> None:
    make_trial(n=2)
    client = Client()
    client.force_login(User.objects.create_superuser("root", password="x"))
    assert client.get(COMPARISON).status_code == 404
    assert client.get(SNAPSHOTS).status_code == 404


def test_a_study_without_answers_says_so() -> None:
    study = make_study()
    page = signed_in(study, "statistician").get(COMPARISON).content.decode()
    assert "No answers yet: study relief has no answered random prompt" in words(page)
    assert "Freeze" not in words(page)


def test_freezing_takes_a_confirmation_and_keeps_the_report() -> None:
    study = make_trial()
    estimate_couplings(timezone.now())
    client = signed_in(study, "statistician")
    refused = client.post(f"{COMPARISON}freeze/", follow=True)
    assert "tick the box to confirm" in words(refused.content.decode())
    assert not Comparison.objects.exists()
    done = client.post(f"{COMPARISON}freeze/", {"confirm": "on"}, follow=True)
    kept = Comparison.objects.get()
    assert f"Frozen with SHA-256 {kept.sha256}" in words(done.content.decode())
    assert digest(kept.report) == kept.sha256
    assert AuditEvent.objects.get(action="comparison.frozen").actor == kept.made_by
    frozen = client.get(f"{COMPARISON}frozen/{kept.pk}/").content.decode()
    assert kept.sha256 in frozen
    assert "it is weaker under clonidine" in words(frozen)
    assert client.get(f"{COMPARISON}frozen/{kept.pk + 1}/").status_code == 404


def test_freezing_is_a_post_of_our_own_page() -> None:
    study = make_trial(n=2)
    client = Client(enforce_csrf_checks=True)
    client.force_login(make_user("stat", study, "statistician"))
    assert client.get(f"{COMPARISON}freeze/").status_code == 405
    assert client.post(f"{COMPARISON}freeze/", {"confirm": "on"}).status_code == 403


@pytest.mark.django_db(transaction=True)
def test_an_investigator_requests_a_masked_snapshot_and_finds_its_files() -> None:
    study = make_trial(masking="double_blind", n=2)
    client = signed_in(study, "investigator")
    assert "No snapshots yet." in words(client.get(SNAPSHOTS).content.decode())
    waiting = client.post(f"{SNAPSHOTS}request/", follow=True).content.decode()
    assert "waiting" in words(waiting)
    build_snapshots()
    page = client.get(SNAPSHOTS).content.decode()
    snapshot = Snapshot.objects.get()
    assert snapshot.masking == "masked"
    assert snapshot.sha256 in page
    assert "prompts: 24 rows" in words(page)
    links = re.findall(r'href="(/api/[^"]+)"', page)
    assert len(links) == len(Snapshot.objects.get().files) == 21
    assert all(client.get(link).status_code == 200 for link in links)


@pytest.mark.django_db(transaction=True)
def test_a_failed_snapshot_says_why(settings: Settings, tmp_path: Path) -> None:
    study = make_trial(n=2)
    (tmp_path / "file").touch()
    settings.SNAPSHOT_DIR = tmp_path / "file"
    request_snapshot(study, COMMAND, "masked", timezone.now())
    build_snapshots()
    page = words(signed_in(study, "investigator").get(SNAPSHOTS).content.decode())
    assert "failed" in page
    assert "The files could not be written where snapshots are kept" in page


@pytest.mark.django_db(transaction=True)
def test_a_coordinator_has_no_snapshots() -> None:
    study = make_trial(n=2)
    build_snapshot(request_snapshot(study, COMMAND, "masked", timezone.now()))
    coordinator = signed_in(study, "coordinator")
    assert coordinator.get(SNAPSHOTS).status_code == 404
    assert coordinator.post(f"{SNAPSHOTS}request/").status_code == 404
