"""Snapshots: a study's tables as files, masked, hashed, documented."""

import csv
import hashlib
import json
import resource
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date, timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from analytics.coupling import estimate_couplings
from analytics.datasets.building import SnapshotFailed, build_next, build_snapshot
from analytics.datasets.formats import FORMATS
from analytics.datasets.snapshots import SnapshotRefused, directory_of, request_snapshot
from analytics.models import Snapshot
from analytics.tasks import build_snapshots
from ema import studies
from ema.allocation import mark_randomised_in_error
from ema.audit import COMMAND
from ema.models import AdverseEvent, Allocation, AuditEvent, Participant, Prompt, Study, UrineTest
from ema.questionnaires import drafts
from tests import trial
from tests.analytics.answers import (
    START,
    add_participant,
    add_prompt,
    answer,
    make_study,
    make_trial,
    respond,
)
from tests.ema.test_questionnaires import EVERY_KIND

pytestmark = pytest.mark.django_db(transaction=True)

Rows = list[dict[str, str]]


@pytest.fixture(autouse=True)
def snapshot_dir(settings: Settings, tmp_path: Path) -> Path:
    settings.SNAPSHOT_DIR = tmp_path / "snapshots"
    return tmp_path / "snapshots"


def built(study: Study, masking: str = "masked") -> Path:
    return build_snapshot(request_snapshot(study, COMMAND, masking, timezone.now())).directory


def table(directory: Path, name: str) -> Rows:
    with (directory / "data" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def data(directory: Path) -> dict[str, bytes]:
    files = everything(directory)
    return {
        name: files[name] for name in files if name.startswith("data/") or name == "codebook.csv"
    }


def everything(directory: Path) -> dict[str, bytes]:
    """Every file by its name."""
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file()
    }


def test_every_scheduled_prompt_has_one_row_the_missed_ones_included() -> None:
    study = make_study(decimals=1)
    participant = add_participant(study, "P1", "placebo")
    prompts = [add_prompt(participant, number) for number in range(7)]
    respond(prompts[0], 304, 120, flags=["clock_skew", "before_due"])
    respond(prompts[0], 999, 999, flags=["duplicate_prompt"])
    respond(prompts[1], 10, 20, after=timedelta(minutes=45), flags=["after_expiry"])
    cancel = {"cancelled_at": START, "cancel_reason": "paused"}
    Prompt.objects.filter(pk=prompts[3].pk).update(**cancel)
    Prompt.objects.filter(pk=prompts[4].pk).update(sent_at=None, undelivered="no_device")
    Prompt.objects.filter(pk=prompts[5].pk).update(sent_at=None)
    Prompt.objects.filter(pk=prompts[0].pk).update(inclusion_probability=4 / 840)
    soon = timezone.now() + timedelta(days=1)
    Prompt.objects.filter(pk=prompts[6].pk).update(
        due_at=soon, expires_at=soon + timedelta(minutes=30), sent_at=None
    )
    rows = table(built(study), "prompts")
    assert [(row["status"], row["missing_reason"]) for row in rows] == [
        ("answered", ""),
        ("answered_late", ""),
        ("missed", ""),
        ("cancelled", "paused"),
        ("not_delivered", "no_device"),
        ("not_delivered", "system"),
        ("released", ""),
    ]
    first, late = rows[:2]
    assert (first["stress"], first["craving"], first["pain"]) == ("30.4", "12.0", "")
    assert first["flags"] == "clock_skew before_due"
    assert (first["latency_s"], late["latency_s"]) == ("120.000", "2700.000")
    assert float(first["inclusion_probability"]) == 4 / 840
    assert late["inclusion_probability"] == ""
    assert first["scheduled_at_utc"] == "2026-03-02T08:00:00.000000Z"
    assert first["completed_at_utc"] == "2026-03-02T08:02:00.000000Z"
    assert (first["participant_id"], first["phase"], first["tz"]) == (
        "P1",
        "baseline",
        "Europe/Brussels",
    )
    assert [row["prompt_no"] for row in rows] == ["1", "2", "3", "4", "1", "2", "3"]
    assert rows[4]["study_day"] == "2"
    assert first["app_version"] == "1.4.0"


def test_participants_urine_and_couplings_have_their_tables() -> None:
    study = make_trial(n=6)
    leaver = study.participants.get(code="P03")
    leaver.withdrawn_at = START.replace(hour=23, minute=30)  # the next day in Brussels
    leaver.save()
    for day, result, collected in (
        (1, "negative", date(2026, 3, 2)),
        (2, "missed", None),
        (3, "", None),
    ):
        UrineTest.objects.create(
            participant=leaver,
            due_on=date(2026, 3, 1 + day),
            result=result,
            collected_on=collected,
            recorded_at=START if result else None,
        )
    estimate_couplings(timezone.now())
    directory = built(study)
    people = table(directory, "participants")
    assert [one["participant_id"] for one in people] == [f"P{i:02}" for i in range(6)]
    assert people[3]["withdrawn_study_day"] == "3"
    assert people[0]["withdrawn_study_day"] == ""
    assert people[0]["enrolled_on"] == "2026-03-01"
    urine = table(directory, "urine")
    assert [(u["study_day"], u["result"], u["lapse"]) for u in urine] == [
        ("2", "negative", "0"),
        ("3", "missed", "1"),
        ("4", "", ""),
    ]
    couplings = table(directory, "coupling")
    assert len(couplings) == 6
    kept = study.participants.get(code="P00").coupling
    assert float(couplings[0]["slope"]) == kept.slope  # every digit


@pytest.mark.parametrize("level", ["", "L3"])
def test_a_masked_snapshot_is_the_same_bytes_after_permuting_the_arms(level: str) -> None:
    study = make_trial(masking="double_blind")
    estimate_couplings(timezone.now())
    UrineTest.objects.create(participant=study.participants.all()[0], due_on=START.date())
    AdverseEvent.objects.create(
        participant=study.participants.all()[1],
        term="fever",
        severity="mild",
        relatedness="definite",
        action_taken="stopped",
        started_on=START.date(),
        reported_at=START,
    )
    mark_randomised_in_error(
        participant=study.participants.all()[2], reason="age", now=START, actor=COMMAND
    )
    snapshot = request_snapshot(
        study, COMMAND, "masked", timezone.now(), formats=list(FORMATS), deidentify=level
    )
    before = everything(build_snapshot(snapshot).directory)
    assert len(before) > 50
    shutil.rmtree(directory_of(snapshot))
    spent = list(Allocation.objects.order_by("pk"))
    arms = [slot.arm_id for slot in spent]
    for slot, arm in zip(spent, arms[1:] + arms[:1], strict=True):
        Allocation.objects.filter(pk=slot.pk).update(arm=arm)
    estimate_couplings(timezone.now())
    assert everything(build_snapshot(snapshot).directory) == before
    for content in before.values():
        assert b"clonidine" not in content
        assert b"placebo" not in content


def test_two_snapshots_of_the_same_content_have_the_same_tables() -> None:
    study = make_trial(n=6)
    estimate_couplings(timezone.now())
    assert data(built(study)) == data(built(study))
    assert Snapshot.objects.filter(built_at__isnull=False).count() == 2


def test_only_an_unmasked_snapshot_has_arms() -> None:
    study = make_trial(n=4)
    assert "arm" not in table(built(study), "participants")[0]
    people = table(built(study, "unmasked"), "participants")
    assert [one["arm"] for one in people] == ["placebo", "clonidine", "placebo", "clonidine"]


def test_who_was_randomised_in_error_is_told_where_allocation_is() -> None:
    study = make_trial(n=2)
    add_participant(study, "P9")
    mark_randomised_in_error(
        participant=study.participants.get(code="P01"),
        reason="canary: criterion 4",
        now=timezone.now(),
        actor=COMMAND,
    )
    assert "randomised_in_error" not in table(built(study), "participants")[0]
    for masking in ("coded", "unmasked"):
        directory = built(study, masking)
        people = table(directory, "participants")
        assert [one["randomised_in_error"] for one in people] == ["0", "1", ""]
        assert not any(b"canary" in content for content in data(directory).values())


def test_an_unmasked_snapshot_of_a_blinded_study_is_refused() -> None:
    study = make_trial(masking="double_blind", n=2)
    with pytest.raises(SnapshotRefused, match="is double blind and its blind is not broken"):
        request_snapshot(study, COMMAND, "unmasked", timezone.now())
    Study.objects.update(masking="open")
    study.refresh_from_db()
    waiting = request_snapshot(study, COMMAND, "unmasked", timezone.now())
    Study.objects.update(masking="double_blind")
    build_snapshots()
    waiting.refresh_from_db()
    assert waiting.built_at is None
    assert "double blind" in waiting.failure
    Study.objects.update(locked_at=START, unmasked_at=START)
    study.refresh_from_db()
    assert built(study, "unmasked").is_dir()


def test_every_column_is_documented_and_every_documented_column_is_there() -> None:
    for masking in ("masked", "unmasked"):
        directory = built(make_trial(masking, n=2), masking)
        with (directory / "codebook.csv").open(newline="") as file:
            book = list(csv.DictReader(file))
        for name in json.loads((directory / "provenance.json").read_text())["rows"]:
            with (directory / "data" / f"{name}.csv").open(newline="") as file:
                header = next(csv.reader(file))
            assert [line["column"] for line in book if line["table"] == name] == header
        assert all(line["meaning"].endswith(".") and line["type"] for line in book)


def test_answers_to_items_of_every_kind_are_listed() -> None:
    study = make_study()
    version = drafts.bring_in(study=study, document=EVERY_KIND, actor=COMMAND)
    studies.publish(version=version, now=timezone.now(), actor=COMMAND)
    participant = add_participant(study, "P1")
    add_prompt(participant, 0)
    phone = trial.redeem(participant)
    sent = [
        {"item": "stress", "value": 62, "rt_ms": 2100},
        {"item": "craving", "value": None, "skip": "later"},
        {"item": "company", "value": ["nobody", 2]},
        {"item": "drinks", "value": -2.5},
        {"item": "woke", "value": "07:05"},
        {"item": "event", "value": True},
        {"item": "note", "value": "my own words"},
        {"item": "unknown", "value": "my own words, too"},
    ]
    item = {
        "id": str(uuid.uuid4()),
        "trigger": "self_initiated",
        "questionnaire": {"key": "every", "version": 3},
        "completed_at": timezone.now().isoformat(),
        "answers": sent,
    }
    Client().post(
        "/api/v1/me/submissions:batch",
        {"items": [item]},
        content_type="application/json",
        headers={"Authorization": f"Bearer {phone.access_token}"},
    )
    directory = built(study)
    rows = table(directory, "responses")
    assert [(row["item"], row["value"], row["answered"]) for row in rows] == [
        ("stress", "62", "1"),
        ("craving", "", "0"),
        ("company", "nobody|2", "1"),
        ("drinks", "-2.5", "1"),
        ("woke", "07:05", "1"),
        ("event", "true", "1"),
        ("note", "", "1"),
        ("unknown", "", "1"),
    ]
    assert (rows[0]["rt_ms"], rows[1]["skip_reason"]) == ("2100", "later")
    assert b"own words" not in (directory / "data/responses.csv").read_bytes()
    items = {row["item"]: row for row in table(directory, "items") if row["version"] == "3"}
    assert items["craving"]["choices"] == "1=None"
    assert items["company"]["choices"] == "nobody=Nobody|2=Two"
    assert (items["drinks"]["unit"], items["drinks"]["decimals"]) == ("glasses", "1")
    assert (items["woke"]["minimum"], items["stress"]["maximum"]) == ("", "100")
    assert json.loads(items["drinks"]["show_if"]) == {"item": "stress", "at_least": 50.5}
    assert items["stress"]["sha256"] == version.sha256


def test_a_cell_that_a_spreadsheet_would_run_is_guarded() -> None:
    study = make_study()
    codes = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "a=1", 'say "x", y']
    for code in codes:
        answer(add_participant(study, code), [(1, 2)])
    rows = table(built(study), "prompts")
    found = {row["participant_id"] for row in rows}
    assert found == {f"'{code}" for code in codes[:7]} | set(codes[7:])


def test_negative_numbers_are_not_guarded() -> None:
    study = make_study()
    participant = add_participant(study, "P1")
    respond(add_prompt(participant, 0), -5, 2, after=timedelta(minutes=-3))
    (row,) = table(built(study), "prompts")
    assert (row["stress"], row["latency_s"]) == ("-5", "-180.000")


def test_the_hashes_are_those_of_the_files() -> None:
    snapshot = request_snapshot(make_trial(n=2), COMMAND, "masked", timezone.now())
    directory = build_snapshot(snapshot).directory
    check = ["sha256sum", "--check", "--strict", "SHA256SUMS"]
    done = subprocess.run(check, cwd=directory, capture_output=True, text=True, check=True)
    assert done.stdout.count(": OK") == len(everything(directory)) - 1
    snapshot.refresh_from_db()
    assert snapshot.sha256 == hashlib.sha256((directory / "SHA256SUMS").read_bytes()).hexdigest()
    assert snapshot.row_counts == {
        "prompts": 24,
        "participants": 2,
        "urine": 0,
        "coupling": 0,
        "responses": 0,
        "items": 3,
        "compliance": 8,
        "events": 2,
        "adverse_events": 0,
    }
    provenance = json.loads((directory / "provenance.json").read_text())
    assert provenance["snapshot"] == str(snapshot.pk)
    assert provenance["rows"] == snapshot.row_counts


def test_files_are_private_and_nothing_else_is_left(snapshot_dir: Path) -> None:
    directory = built(make_trial(n=2))
    assert [path.name for path in snapshot_dir.iterdir()] == [directory.name]
    for path in (directory, *directory.rglob("*")):
        assert path.stat().st_mode & 0o777 == (0o700 if path.is_dir() else 0o600)
    assert sorted(Snapshot.objects.get().files) == sorted(everything(directory))


@contextmanager
def files_no_larger_than(size: int) -> Iterator[None]:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_disk_that_refuses_is_said_in_words_and_leaves_nothing(snapshot_dir: Path) -> None:
    snapshot = request_snapshot(make_trial(n=4), COMMAND, "masked", timezone.now())
    with files_no_larger_than(2000), pytest.raises(SnapshotFailed):
        build_snapshot(snapshot)
    assert list(snapshot_dir.iterdir()) == []
    snapshot.refresh_from_db()
    assert snapshot.failed_at is not None
    assert snapshot.failure.startswith("The files could not be written where snapshots are kept")


def test_the_task_builds_what_waits_and_nothing_twice() -> None:
    study = make_trial(n=2)
    now = timezone.now()
    first = request_snapshot(study, COMMAND, "masked", now)
    assert request_snapshot(study, COMMAND, "masked", now).pk == first.pk
    Snapshot.objects.update(lease_until=now + timedelta(minutes=1))
    assert build_next(now) is None  # somebody is at it
    assert build_next(now + timedelta(minutes=2)) == first  # they died
    build_snapshots()
    assert Snapshot.objects.get().built_at is not None
    assert AuditEvent.objects.filter(action="snapshot.requested").count() == 1


def test_building_again_finds_the_same_files() -> None:
    study = make_trial(n=2)
    snapshot = request_snapshot(study, COMMAND, "masked", timezone.now())
    first = build_snapshot(snapshot)
    answer(Participant.objects.all()[0], [(1, 2)])
    assert build_snapshot(snapshot) == first


def test_the_command_says_where_the_files_are(tmp_path: Path) -> None:
    make_trial(n=2)
    out = StringIO()
    call_command("snapshot", "relief", "--out", str(tmp_path / "copy"), stdout=out)
    snapshot = Snapshot.objects.get()
    assert out.getvalue().splitlines() == [
        f"Files: {tmp_path}/copy/relief_{str(snapshot.pk)[:8]}",
        "prompts: 24 rows",
        "participants: 2 rows",
        "urine: 0 rows",
        "coupling: 2 rows",
        "responses: 0 rows",
        "items: 3 rows",
        "compliance: 8 rows",
        "events: 2 rows",
        "adverse_events: 0 rows",
        f"SHA-256 of SHA256SUMS: {snapshot.sha256}",
    ]


def test_the_command_refuses_in_words() -> None:
    make_study(masking="double_blind")
    with pytest.raises(CommandError, match="double blind") as caught:
        call_command("snapshot", "relief", "--masking", "unmasked")
    assert caught.value.returncode == 1
    with pytest.raises(CommandError, match="There are: relief"):
        call_command("snapshot", "nowhere")


def test_a_place_that_cannot_be_written_is_named() -> None:
    make_trial(n=2)
    with pytest.raises(CommandError, match=r"but --out /proc/x cannot be written: [A-Z][^\[]*\.$"):
        call_command("snapshot", "relief", "--out", "/proc/x")
