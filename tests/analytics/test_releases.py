"""De-identified and coded snapshots: what is moved, dropped, renamed, and what cannot be joined."""

import csv
import json
import re
from datetime import datetime, timedelta
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command
from django.test import Client
from django.utils import timezone
from pytest_django import Settings

from analytics.coupling import estimate_couplings
from analytics.datasets.building import build_snapshot
from analytics.datasets.formats import FORMATS
from analytics.datasets.snapshots import SnapshotRefused, request_snapshot
from analytics.models import Snapshot
from ema.audit import COMMAND
from ema.models import (
    AdverseEvent,
    Device,
    Participant,
    Pause,
    Prompt,
    QuestionnaireVersion,
    Response,
    ScheduleChange,
    Study,
    UrineTest,
    Visit,
)
from tests.analytics.answers import START, make_trial, make_user

pytestmark = pytest.mark.django_db(transaction=True)
CANARY = "canary-7f3a"
Rows = list[dict[str, str]]


@pytest.fixture(autouse=True)
def _snapshot_dir(settings: Settings, tmp_path: Path) -> None:
    settings.SNAPSHOT_DIR = tmp_path / "snapshots"


def released(
    study: Study, level: str, *, recipient: str = "", masking: str = "masked", **more: object
) -> Path:
    snapshot = request_snapshot(
        study,
        COMMAND,
        masking,
        timezone.now(),
        deidentify=level,
        recipient=recipient,
        formats=list(FORMATS) if more.get("everything") else [],
    )
    return build_snapshot(snapshot).directory


def table(directory: Path, name: str) -> Rows:
    with (directory / "data" / f"{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def a_study() -> Study:
    """With a canary wherever somebody or a phone may write words, and a change of clocks."""
    study = make_trial(n=4, prompts=8)
    one = study.participants.get(code="P01")
    one.withdrawn_at, one.withdrawal_reason = START + timedelta(days=30), CANARY
    one.save()
    for place, prompt in enumerate(one.prompts.order_by("due_at")):
        later = prompt.due_at + timedelta(days=14 * place)  # across the last Sunday of March
        Prompt.objects.filter(pk=prompt.pk).update(due_at=later, expires_at=later + timedelta(1))
    Device.objects.update(app_version=CANARY, platform=CANARY, app=CANARY)
    Pause.objects.create(participant=one, begins_at=START, reason=CANARY)
    Visit.objects.create(participant=one, key="discharge", on_date=START.date(), recorded_at=START)
    ScheduleChange.objects.create(
        participant=one,
        zone_before="Europe/Brussels",
        zone="Asia/Tokyo",
        reported_at=START,
        effective_on=START.date(),
    )
    UrineTest.objects.create(participant=one, due_on=START.date())
    AdverseEvent.objects.create(
        participant=one,
        term=CANARY,
        description=CANARY,
        severity="mild",
        relatedness="possible",
        started_on=START.date(),
        reported_at=timezone.now(),
    )
    said = [
        {"item": "stress", "value": CANARY, "skip": CANARY, "rt_ms": CANARY},
        {"item": CANARY, "value": 1},
    ]
    Response.objects.update(answers=said)
    estimate_couplings(timezone.now())
    return study


def test_nothing_that_somebody_wrote_and_no_device_is_in_a_release() -> None:
    study = a_study()
    phones = [str(device.installation) for device in Device.objects.all()]
    for level in ("L2", "L3"):
        directory = released(study, level, everything=True)
        for path in directory.rglob("*"):
            if path.is_file():
                content = path.read_bytes()
                assert CANARY.encode() not in content, path
                assert not [phone for phone in phones if phone.encode() in content], path
                assert b"Asia/Tokyo" not in content, path
                assert b"Europe/Brussels" not in content, path


def test_own_words_are_in_no_table_at_any_level() -> None:
    study = a_study()
    for level in ("", "L1"):
        for path in (released(study, level) / "data").iterdir():
            words = [line for line in path.read_text().splitlines() if CANARY in line]
            shown = ("prompts.csv", "responses.csv", "adverse_events.csv")
            assert not words or path.name in shown, path
        (event,) = table(path.parent.parent, "adverse_events")
        assert list(event.values()).count(CANARY) == 1  # its term, not its description
    people = table(released(study, "L1"), "participants")
    assert all(CANARY not in value for row in people for value in row.values())


def test_codes_and_ids_of_the_trial_are_in_no_release() -> None:
    study = a_study()
    secret = {one.code for one in study.participants.all()}
    secret |= {str(prompt.pk) for prompt in Prompt.objects.all()}
    secret |= {str(response.pk) for response in Response.objects.all()}
    for level in ("L1", "L2", "L3"):
        for path in (released(study, level) / "data").iterdir():
            cells = {cell for row in csv.reader(path.open(newline="")) for cell in row}
            assert not cells & secret, path
    assert {"P00"} <= {row["participant_id"] for row in table(released(study, ""), "prompts")}


def ids(directory: Path) -> set[str]:
    prompts = table(directory, "prompts")
    found = {row["prompt_id"] for row in prompts} | {row["participant_id"] for row in prompts}
    return found | {row["response_id"] for row in table(directory, "responses")}


def test_two_releases_cannot_be_joined_but_those_for_one_recipient() -> None:
    study = a_study()
    anybody, again = ids(released(study, "L1")), ids(released(study, "L1"))
    ghent = ids(released(study, "L1", recipient="Ghent"))
    leuven = ids(released(study, "L1", recipient="Leuven"))
    coarser = ids(released(study, "L2", recipient="Ghent"))
    for one, other in ((anybody, again), (anybody, ghent), (ghent, leuven), (ghent, coarser)):
        assert not one & other
    assert ids(released(study, "L1", recipient=" Ghent ")) == ghent
    assert re.fullmatch(r"P[0-9A-F]{12}", min(name for name in ghent if "-" not in name))


def test_dates_are_moved_by_whole_weeks_that_are_a_participants_own() -> None:
    study = a_study()
    true = table(released(study, "", recipient=""), "prompts")
    moved = table(released(study, "L2"), "prompts")
    assert len(moved) == len(true) == 32
    assert not [name for name in moved[0] if name.endswith("_utc") or name in ("tz", "windows")]
    by_person: dict[str, list[str]] = {}
    for row in moved:
        by_person.setdefault(row["participant_id"], []).append(row["scheduled_local"])
    originals: dict[str, list[str]] = {}
    for row in true:
        originals.setdefault(row["participant_id"], []).append(row["scheduled_local"])
    shifts = []
    left = list(originals.values())
    for mine in by_person.values():
        for theirs in left:
            off = {at(a) - at(b) for a, b in zip(theirs, mine, strict=True)}
            if len(off) == 1 and (theirs[0][11:] == mine[0][11:]):
                shifts.append(off.pop())
                break
    assert len(shifts) == 4
    assert all(off.days % 7 == 0 and off.seconds == 0 and 7 <= off.days <= 364 for off in shifts)
    assert len(set(shifts)) > 1
    people = table(released(study, "L2"), "participants")
    assert all(row["enrolled_on"] < "2026-03-01" for row in people)


def at(cell: str) -> datetime:
    return datetime.fromisoformat(cell)


def test_local_times_are_those_of_pythons_zones() -> None:
    study = a_study()
    rows = {row["prompt_id"]: row for row in table(released(study, ""), "prompts")}
    offsets = set()
    for prompt in Prompt.objects.all():
        from zoneinfo import ZoneInfo

        there = prompt.due_at.astimezone(ZoneInfo(prompt.zone))
        row = rows[str(prompt.pk)]
        assert row["scheduled_local"] == there.strftime("%Y-%m-%dT%H:%M:%S.%f")
        offset = there.utcoffset()
        assert offset is not None
        assert row["utc_offset_min"] == str(int(offset.total_seconds() // 60))
        offsets.add(row["utc_offset_min"])
    assert offsets == {"60", "120"}


def test_the_strictest_level_has_study_days_and_times_of_day_only() -> None:
    directory = released(a_study(), "L3", everything=True)
    date = re.compile(r"(19|20)\d\d-\d\d-\d\d")
    for path in (directory / "data").glob("*.csv"):
        assert not date.search(path.read_text()), path
    rows = table(directory, "prompts")
    assert all(re.fullmatch(r"\d\d:\d\d", row["scheduled_time"]) for row in rows)
    assert "app_version" not in rows[0]
    assert rows == sorted(rows, key=lambda r: (r["participant_id"], int(r["study_day"])))


def test_small_cells_are_warned_of() -> None:
    study = a_study()
    out = StringIO()
    call_command("snapshot", "relief", "--deidentify", "L2", stdout=out)
    assert "Warning: Only 1 participant has site S1, status withdrawn" in out.getvalue()
    snapshot = Snapshot.objects.get()
    assert snapshot.warnings[0] == "Only 4 participants have site S1: they might be recognised."
    released(study, "")
    assert Snapshot.objects.first().warnings == []  # type: ignore[union-attr]


def test_a_release_is_described_as_what_it_is() -> None:
    directory = released(a_study(), "L2", recipient="Ghent")
    assert "dates moved by whole weeks" in (directory / "README.md").read_text()
    assert json.loads((directory / "provenance.json").read_text())["deidentified"] == "L2"
    assert "Ghent" not in (directory / "provenance.json").read_text()


def test_a_coded_snapshot_has_labels_that_do_not_say_which_arm() -> None:
    study = make_trial(masking="double_blind", n=6)
    estimate_couplings(timezone.now())
    directory = released(study, "", masking="coded")
    arms = [row["arm"] for row in table(directory, "participants")]
    assert set(arms) == {"A", "B"}
    assert arms[::2] == [arms[0]] * 3
    assert not [p for p in directory.rglob("*") if p.is_file() and b"clonidine" in p.read_bytes()]
    again = released(study, "", masking="coded")
    assert [row["arm"] for row in table(again, "participants")] == arms


def test_coded_snapshots_are_for_the_closed_role() -> None:
    study = make_trial(masking="double_blind", n=2)
    released(study, "", masking="coded")
    path = "/api/v1/studies/relief/snapshots/"
    client = Client()
    client.force_login(make_user("inv", study, "investigator"))
    assert client.get(path).json() == []
    form = {"masking": "coded"}
    assert client.post(path, form, content_type="application/json").status_code == 404
    assert client.post("/studies/relief/snapshots/request/", form).status_code == 404
    assert "coded" not in client.get("/studies/relief/snapshots/").content.decode()
    closed = Client()
    closed.force_login(make_user("stat", study, "statistician"))
    assert [one["masking"] for one in closed.get(path).json()] == ["coded"]
    assert closed.post(path, form, content_type="application/json").status_code == 202
    answer = closed.post(path, {"masking": "unmasked"}, content_type="application/json")
    assert (answer.status_code, answer.json()["code"]) == (409, "snapshot_refused")


def test_what_cannot_be_is_refused_in_words() -> None:
    study = make_trial(n=2)
    for wrong, words in (
        ({"deidentify": "L9"}, "De-identify to L1, L2 or L3"),
        ({"recipient": "Ghent"}, "only in a de-identified snapshot"),
        ({"deidentify": "L1", "recipient": "x" * 101}, "at most 100 characters"),
    ):
        with pytest.raises(SnapshotRefused, match=words):
            request_snapshot(study, COMMAND, "masked", timezone.now(), **wrong)
    assert not Snapshot.objects.exists()


def test_counts_of_days_and_weeks_add_up_to_the_prompts() -> None:
    study = a_study()
    directory = released(study, "")
    prompts, counted = table(directory, "prompts"), table(directory, "compliance")
    for period in ("day", "week"):
        mine = [row for row in counted if row["period"] == period]
        assert sum(int(row["planned"]) + int(row["cancelled"]) for row in mine) == len(prompts)
        assert sum(int(row["in_window"]) for row in mine) == sum(
            row["status"] == "answered" for row in prompts
        )
    first = next(row for row in counted if row["participant_id"] == "P00")
    assert (first["planned"], first["answered"], first["median_latency_s"]) == (
        *["4", "4", "120.000"],
    )


def test_what_happened_to_participants_is_listed() -> None:
    events = [
        row for row in table(released(a_study(), ""), "events") if row["participant_id"] == "P01"
    ]
    assert [(row["event"], row["study_day"], row["detail"]) for row in events] == [
        ("adverse_event", "2", "mild"),
        ("visit", "2", "discharge"),
        ("pause", "2", ""),
        ("phone_enrolled", "2", ""),
        ("zone_changed", "2", "Asia/Tokyo"),
        ("withdrawn", "32", ""),
    ]
    assert [row["event_no"] for row in events] == ["1", "2", "3", "4", "5", "6"]


def test_runs_of_urine_tests_are_counted() -> None:
    study = make_trial(n=1)
    one = Participant.objects.get()
    for day, result in enumerate(["negative", "negative", "positive", "missed", "negative", ""]):
        due = START.date() + timedelta(days=day)
        UrineTest.objects.create(
            participant=one,
            due_on=due,
            result=result,
            collected_on=due if result in ("negative", "positive") else None,
            recorded_at=START if result else None,
        )
    rows = table(released(study, ""), "urine")
    assert [row["run_length"] for row in rows] == ["1", "2", "1", "2", "1", ""]
    assert [row["collected"] for row in rows] == ["1", "1", "1", "0", "1", ""]


def test_the_audit_trail_is_in_unmasked_snapshots_alone() -> None:
    study = make_trial(n=2)
    assert not (released(study, "") / "data/audit.csv").exists()
    assert not (released(study, "L1", masking="unmasked") / "data/audit.csv").exists()
    rows = table(released(study, "", masking="unmasked"), "audit")
    assert "snapshot.requested" in {row["action"] for row in rows}
    assert QuestionnaireVersion.objects.exists()
