"""The operators' API: who may read a comparison and take a snapshot's files."""

import base64
from pathlib import Path

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from analytics.coupling import estimate_couplings
from analytics.datasets.building import build_snapshot
from analytics.datasets.snapshots import directory_of, request_snapshot
from analytics.models import Snapshot
from analytics.whole_comparison import compare_whole
from ema.audit import COMMAND
from ema.models import Allocation, AuditEvent, Study
from tests.analytics.answers import make_study, make_trial, make_user

pytestmark = pytest.mark.django_db
COMPARISON = "/api/v1/studies/relief/comparison"
SNAPSHOTS = "/api/v1/studies/relief/snapshots/"


@pytest.fixture(autouse=True)
def _snapshot_dir(settings: Settings, tmp_path: Path) -> None:
    settings.SNAPSHOT_DIR = tmp_path / "snapshots"


def signed_in(user: User) -> Client:
    client = Client()
    client.force_login(user)
    return client


def built(study: Study, masking: str = "masked") -> Snapshot:
    snapshot = request_snapshot(study, COMMAND, masking, timezone.now())
    build_snapshot(snapshot)
    snapshot.refresh_from_db()
    return snapshot


def test_a_statistician_of_a_blinded_study_reads_the_comparison() -> None:
    study = make_trial(masking="double_blind")
    estimate_couplings(timezone.now())
    answer = signed_in(make_user("stat", study, "statistician")).get(COMPARISON)
    assert answer.status_code == 200
    assert answer.json() == compare_whole(study, timezone.now())


def test_an_investigator_of_a_blinded_study_does_not() -> None:
    study = make_trial(masking="double_blind")
    estimate_couplings(timezone.now())
    investigator = signed_in(make_user("inv", study, "investigator"))
    answer = investigator.get(COMPARISON)
    assert answer.status_code == 404
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.json()["code"] == "not_found"
    Allocation.objects.all().delete()
    assert investigator.get(COMPARISON).content == answer.content
    Study.objects.update(masking="open")
    assert investigator.get(COMPARISON).status_code == 409  # and open studies may be compared


def test_nobody_else_learns_that_the_study_exists() -> None:
    study = make_trial(n=2)
    for user in (
        make_user("stranger"),
        make_user("coord", study, "coordinator"),
        User.objects.create_superuser("root", password="x"),
    ):
        there = signed_in(user).get(COMPARISON)
        nowhere = signed_in(user).get(COMPARISON.replace("relief", "nosuch"))
        assert (there.status_code, nowhere.status_code) == (404, 404)
        assert there.content.replace(b"relief", b"nosuch") == nowhere.content


def test_what_is_missing_is_a_409_in_words() -> None:
    study = make_study()
    answer = signed_in(make_user("stat", study, "statistician")).get(COMPARISON)
    assert answer.status_code == 409
    assert answer.json()["code"] == "not_comparable"
    assert answer.json()["title"].startswith("No answers yet")


def test_a_program_signs_in_with_a_password_and_nobody_without() -> None:
    study = make_trial(n=6)
    make_user("stat", study, "statistician")
    token = base64.b64encode(b"stat:correct horse").decode()
    assert Client().get(SNAPSHOTS, headers={"Authorization": f"Basic {token}"}).json() == []
    for path in (COMPARISON, SNAPSHOTS, f"{SNAPSHOTS}{Snapshot().pk}/files/README.md"):
        refused = Client().get(path)
        assert refused.status_code == 401
        assert refused["Content-Type"] == "application/problem+json"
        assert refused["WWW-Authenticate"].startswith("Basic")


@pytest.mark.django_db(transaction=True)
def test_an_investigator_lists_and_downloads_masked_snapshots() -> None:
    study = make_trial(masking="double_blind", n=2)
    investigator = signed_in(make_user("inv", study, "investigator"))
    snapshot = built(study)
    (listed,) = investigator.get(SNAPSHOTS).json()
    assert listed["row_counts"]["prompts"] == 24
    assert {file["name"] for file in listed["files"]} == set(snapshot.files)
    for file in listed["files"]:
        got = investigator.get(file["url"], headers={"Accept": "text/csv"})
        assert got.status_code == 200
        assert "attachment" in got["Content-Disposition"]
        assert b"".join(got) == (directory_of(snapshot) / file["name"]).read_bytes()
    taken = AuditEvent.objects.filter(action="snapshot.downloaded")
    assert taken.count() == len(snapshot.files)
    assert {event.actor_id for event in taken} == {User.objects.get(username="inv").pk}


@pytest.mark.django_db(transaction=True)
def test_an_unmasked_snapshot_is_for_whoever_may_see_arms() -> None:
    study = make_trial(n=2)
    snapshot = built(study, "unmasked")
    Study.objects.update(masking="double_blind")
    path = f"{SNAPSHOTS}{snapshot.pk}/files/data/participants.csv"
    investigator = signed_in(make_user("inv", study, "investigator"))
    statistician = signed_in(make_user("stat", study, "statistician"))
    assert investigator.get(SNAPSHOTS).json() == []
    assert investigator.get(path).status_code == 404
    assert len(statistician.get(SNAPSHOTS).json()) == 1
    assert statistician.get(path).status_code == 200


@pytest.mark.django_db(transaction=True)
def test_only_the_files_of_the_snapshot_can_be_had() -> None:
    study, other = make_trial(n=2), make_trial("other", n=2)
    client = signed_in(make_user("inv", study, "investigator"))
    mine, theirs = built(study), built(other)
    wrong = [
        f"{mine.pk}/files/../../secret_key",
        f"{mine.pk}/files/%2e%2e/%2e%2e/secret_key",
        f"{mine.pk}/files//etc/passwd",
        f"{mine.pk}/files/data/",
        f"{theirs.pk}/files/README.md",
    ]
    for path in wrong:
        assert client.get(SNAPSHOTS + path).status_code == 404
    waiting = request_snapshot(study, COMMAND, "unmasked", timezone.now())
    assert client.get(f"{SNAPSHOTS}{waiting.pk}/files/README.md").status_code == 404


@pytest.mark.django_db(transaction=True)
def test_a_download_can_be_resumed() -> None:
    study = make_trial(n=2)
    client = signed_in(make_user("inv", study, "investigator"))
    snapshot = built(study)
    path = f"{SNAPSHOTS}{snapshot.pk}/files/data/prompts.csv"
    whole = client.get(path)
    content, etag = b"".join(whole), whole["ETag"]
    assert etag == f'"{snapshot.files["data/prompts.csv"]["sha256"]}"'
    assert whole["Accept-Ranges"] == "bytes"
    for asked, part in (
        ("bytes=0-9", content[:10]),
        ("bytes=10-", content[10:]),
        ("bytes=-7", content[-7:]),
        (f"bytes=5-{len(content) + 99}", content[5:]),
    ):
        got = client.get(path, headers={"Range": asked, "If-Range": etag})
        assert got.status_code == 206
        assert b"".join(got) == part
        assert got["Content-Length"] == str(len(part))
        start = content.index(part) if asked != "bytes=-7" else len(content) - 7
        assert got["Content-Range"] == f"bytes {start}-{start + len(part) - 1}/{len(content)}"
    beyond = client.get(path, headers={"Range": f"bytes={len(content)}-"})
    assert (beyond.status_code, beyond["Content-Range"]) == (416, f"bytes */{len(content)}")
    for headers in (
        {"Range": "bytes=0-9", "If-Range": '"another"'},
        {"Range": "bytes=0-1,4-5"},
        {"Range": "lines=1-2"},
        {"Range": "bytes=9-3"},
    ):
        got = client.get(path, headers=headers)
        assert (got.status_code, b"".join(got)) == (200, content)
    known = client.get(path, headers={"If-None-Match": f'"x", {etag}'})
    assert (known.status_code, known.content) == (304, b"")


@pytest.mark.django_db(transaction=True)
def test_a_snapshot_is_asked_for_by_program() -> None:
    study = make_trial(masking="double_blind", n=2)
    client = signed_in(make_user("inv", study, "investigator"))
    asked = {"formats": ["csv", "ndjson"], "deidentify": "L2", "recipient": "Ghent"}
    made = client.post(SNAPSHOTS, asked, content_type="application/json")
    assert made.status_code == 202
    assert (made.json()["formats"], made.json()["deidentify"]) == (["ndjson"], "L2")
    again = client.post(SNAPSHOTS, asked, content_type="application/json")
    assert again.json()["id"] == made.json()["id"]
    build_snapshot(Snapshot.objects.get())
    (listed,) = client.get(SNAPSHOTS).json()
    assert "data/prompts.ndjson" in {file["name"] for file in listed["files"]}
    for wrong, status in (
        ({"formats": ["xlsx"]}, 409),
        ({"masking": "unmasked"}, 404),
        ({"masking": "half"}, 400),
        ({"deidentify": "L7"}, 400),
    ):
        answer = client.post(SNAPSHOTS, wrong, content_type="application/json")
        assert answer.status_code == status
        assert answer["Content-Type"] == "application/problem+json"
    coordinator = signed_in(make_user("coord", study, "coordinator"))
    assert coordinator.post(SNAPSHOTS, {}, content_type="application/json").status_code == 404
    assert Client().post(SNAPSHOTS, {}, content_type="application/json").status_code == 401
