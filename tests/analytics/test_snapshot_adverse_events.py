"""Adverse events in a snapshot: those that stand, without what could name somebody."""

import csv
import json
import uuid
import xml.etree.ElementTree as ET
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.utils import timezone
from pytest_django import Settings

from analytics.datasets.building import build_snapshot
from analytics.datasets.snapshots import request_snapshot
from ema import adverse_events
from ema.audit import COMMAND
from ema.models import AdverseEvent, Study
from tests.analytics.answers import make_trial

pytestmark = pytest.mark.django_db(transaction=True)
ENROLLED = date(2026, 3, 1)
SAID: dict[str, Any] = {"severity": "mild", "relatedness": "possible", "outcome": "recovered"}
Rows = list[dict[str, str]]


@pytest.fixture(autouse=True)
def _snapshot_dir(settings: Settings, tmp_path: Path) -> None:
    settings.SNAPSHOT_DIR = tmp_path / "snapshots"


@pytest.fixture
def study() -> Study:
    return make_trial(n=3)


def reported(study: Study, code: str, term: str, day: int = 1, **said: Any) -> AdverseEvent:
    """An event that started on a study day."""
    started_on = ENROLLED + timedelta(days=day - 1)
    return adverse_events.report(
        participant=study.participants.get(code=code),
        key=uuid.uuid4(),
        said=SAID | {"term": term, "started_on": started_on} | said,
        now=timezone.now(),
        actor=COMMAND,
    )


def struck(event: AdverseEvent) -> None:
    reason = "Somebody else's."
    adverse_events.strike(event=event, reason=reason, now=timezone.now(), actor=COMMAND)


def released(study: Study, level: str = "", formats: tuple[str, ...] = ()) -> Path:
    snapshot = request_snapshot(
        study, COMMAND, "masked", timezone.now(), formats=formats, deidentify=level
    )
    return build_snapshot(snapshot).directory


def table(directory: Path, name: str = "adverse_events") -> Rows:
    with (directory / f"data/{name}.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_events_that_stand_are_listed_and_struck_ones_are_not(study: Study) -> None:
    ended_on = ENROLLED + timedelta(days=6)
    graded = {"severity": "severe", "is_serious": True, "relatedness": "unlikely"}
    became = {"ended_on": ended_on, "action_taken": "dose_reduced"}
    fall = reported(study, "P01", "=fall(1)", 5, **graded, **became)
    struck(reported(study, "P01", "headache"))
    (row,) = table(released(study))
    assert row.pop("reported_at_utc").startswith(f"{fall.reported_at:%Y-%m-%dT%H:%M:%S}")
    assert row == {
        "participant_id": "P01",
        "adverse_event_id": str(fall.key),
        "term": "'=fall(1)",
        "severity": "severe",
        "serious": "1",
        "relatedness": "unlikely",
        "started_on": "2026-03-05",
        "started_study_day": "5",
        "ended_on": "2026-03-07",
        "ended_study_day": "7",
        "outcome": "recovered",
        "action_taken": "dose_reduced",
    }


def test_the_timeline_has_them_by_the_day_they_started(study: Study) -> None:
    reported(study, "P01", "nausea", 3, severity="moderate")
    struck(reported(study, "P01", "headache"))
    rows = [row for row in table(released(study), "events") if row["event"] == "adverse_event"]
    assert [(row["participant_id"], row["study_day"], row["detail"]) for row in rows] == [
        ("P01", "3", "moderate")
    ]


@pytest.mark.parametrize("level", ["", "L1", "L2", "L3"])
def test_words_are_left_out_by_level_and_descriptions_always(study: Study, level: str) -> None:
    event = reported(study, "P01", "canary-term", 4, description="canary-description")
    formats = ("ndjson", "dataset-json", "odm", "sav", "dta", "parquet")
    directory = released(study, level, formats)
    files = [path.read_bytes() for path in directory.rglob("*") if path.is_file()]
    assert not any(b"canary-description" in content for content in files)
    assert any(b"canary-term" in content for content in files) == (level in ("", "L1"))
    (row,) = table(directory)
    assert ("term" in row) == (level in ("", "L1"))
    assert ("started_on" in row) == (level != "L3")
    assert (row["adverse_event_id"] == str(event.key)) == (level == "")
    assert row["started_study_day"] == "4"
    assert ("reported_at_utc" in row) == (level in ("", "L1"))


def test_dates_are_moved_with_everything_else_of_the_participant(study: Study) -> None:
    reported(study, "P01", "nausea", 4, ended_on=ENROLLED + timedelta(days=10))
    directory = released(study, "L2")
    (row,) = table(directory)
    person = next(
        one
        for one in table(directory, "participants")
        if one["participant_id"] == row["participant_id"]
    )
    enrolled, started, ended = (
        date.fromisoformat(cell)
        for cell in (person["enrolled_on"], row["started_on"], row["ended_on"])
    )
    assert (started - enrolled, ended - started) == (timedelta(days=3), timedelta(days=7))
    assert (ENROLLED - enrolled).days in range(7, 365, 7)


def test_severities_that_few_had_are_warned_of_in_releases(study: Study) -> None:
    for code in ("P01", "P02", "P02"):
        reported(study, code, "nausea", severity="severe")
    warned = json.loads((released(study, "L2") / "provenance.json").read_text())["warnings"]
    assert "Only 2 participants have adverse event severe: they might be recognised." in warned
    assert json.loads((released(study) / "provenance.json").read_text())["warnings"] == []


def test_changes_tell_what_was_corrected_struck_and_reported_since(study: Study) -> None:
    wrong, error = reported(study, "P01", "nausea"), reported(study, "P02", "headache")
    reported(study, "P00", "fever")
    assert "`adverse_events` | 3" not in (released(study) / "CHANGELOG.md").read_text()
    earlier = {"started_on": ENROLLED - timedelta(days=2)}
    now, reason = timezone.now(), "By the diary."
    adverse_events.correct(event=wrong, said=earlier, reason=reason, now=now, actor=COMMAND)
    struck(error)
    reported(study, "P00", "cough")
    reported(study, "P00", "cold")
    changes = (released(study) / "CHANGELOG.md").read_text()
    assert "| `adverse_events` | 2 | 1 | 1 |  |" in changes


def test_the_domain_ae_has_every_event_in_the_words_of_its_lists(study: Study) -> None:
    dead = {"severity": "fatal", "outcome": "fatal", "is_serious": True}
    reported(study, "P01", "overdose", 5, **dead, action_taken="stopped")
    reported(study, "P01", "nausea", 0)
    reported(study, "P02", "headache", 2)
    read = json.loads((released(study, "", ("dataset-json",)) / "data/ae.json").read_text())
    names = [column["name"] for column in read["columns"]]
    rows = {row["AETERM"]: row for row in (dict(zip(names, r, strict=True)) for r in read["rows"])}
    assert (read["records"], len(rows)) == (3, 3)
    assert rows["overdose"]["AESEV"] == "SEVERE"
    assert (rows["overdose"]["AETOXGR"], rows["overdose"]["AESER"]) == ("5", "Y")
    assert (rows["overdose"]["AEACN"], rows["overdose"]["AEOUT"]) == ("DRUG WITHDRAWN", "FATAL")
    assert (rows["overdose"]["AESTDY"], rows["overdose"]["AESTDTC"]) == (5, "2026-03-05")
    assert rows["nausea"]["AESTDY"] == -1  # there is no day 0
    assert rows["headache"]["AEENDTC"] is None
    keys = sorted((row["USUBJID"], row["AESEQ"]) for row in rows.values())
    assert keys == [("relief-P01", 1), ("relief-P01", 2), ("relief-P02", 1)]


def test_every_word_of_the_lists_has_its_word_in_the_domain(study: Study) -> None:
    from analytics.datasets.formats import ae
    from ema.models.adverse_event import ActionTaken, EventOutcome, Severity

    assert set(ae.SEVERITY) == set(Severity.values)
    assert set(ae.ACTION) == set(ActionTaken.values)
    assert set(ae.OUTCOME) == set(EventOutcome.values)


def test_odm_has_them_with_the_answers_of_the_participant(study: Study) -> None:
    reported(study, "P01", 'fall & "cut"', 5)
    root = ET.fromstring((released(study, "", ("odm",)) / "data/study.odm.xml").read_bytes())  # noqa: S314 - our own
    space = "{http://www.cdisc.org/ns/odm/v1.3}"
    (subject,) = root.iter(f"{space}SubjectData")
    assert subject.get("SubjectKey") == "P01"
    values = {one.get("ItemOID"): one.get("Value") for one in subject.iter(f"{space}ItemData")}
    assert values["I.adverse_event.term"] == 'fall & "cut"'
    assert values["I.adverse_event.severity"] == "mild"
    assert values["I.adverse_event.ended_on"] is None
    coded = {one.get("CodedValue") for one in root.iter(f"{space}CodeListItem")}
    assert {"life_threatening", "definite", "dose_reduced"} <= coded
