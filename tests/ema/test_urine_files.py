"""A laboratory's file: every line that is wrong is named, and then nothing is recorded."""

import io
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from ema.models import AuditEvent, UrineTest
from tests import trial

pytestmark = pytest.mark.django_db

HEADER = "participant,due_on,result,collected_on"


@pytest.fixture(autouse=True)
def tests_due() -> None:
    study = trial.make_study()
    for code in ("S1-001", "S1-002"):
        person = trial.enrol(study, code, "UTC", datetime(2026, 1, 1, tzinfo=UTC))
        for day in (1, 3, 5):
            UrineTest.objects.create(participant=person, due_on=date(2026, 6, day))
    trial.enrol(study, "S1-003", "UTC", datetime(2026, 1, 1, tzinfo=UTC))


def record(tmp_path: Path, *lines: str, header: str = HEADER, also: str = "") -> str:
    file, out = tmp_path / "results.csv", io.StringIO()
    file.write_text("\n".join([header, *lines]), encoding="utf-8")
    call_command("urine", "demo", str(file), *also.split(), stdout=out)
    return out.getvalue()


def results() -> list[str]:
    return [test.result for test in UrineTest.objects.order_by("participant__code", "due_on")]


def test_results_are_recorded_once(tmp_path: Path) -> None:
    lines = ("S1-001,2026-06-01,negative,2026-06-01", "S1-002, 2026-06-03 ,Missed,")
    assert record(tmp_path, *lines) == "2 results were recorded, 0 were recorded already.\n"
    assert results() == ["negative", "", "", "", "missed", ""]
    assert record(tmp_path, *lines) == "0 results were recorded, 2 were recorded already.\n"
    doors = AuditEvent.objects.filter(action="urine.recorded").values_list("door", flat=True)
    assert list(doors) == ["command", "command"]


def test_a_spreadsheets_file_is_read(tmp_path: Path) -> None:
    header = "\ufeff" + HEADER.replace(",", ";")
    record(tmp_path, "S1-001;2026-06-01;positive;2026-06-02", header=header)
    assert results()[0] == "positive"


def test_a_dry_run_saves_nothing(tmp_path: Path) -> None:
    line = "S1-001,2026-06-01,negative,2026-06-01"
    said = record(tmp_path, line, also="--dry-run")
    assert said == ("1 results would be recorded, 0 were recorded already. Nothing was saved.\n")
    assert set(results()) == {""}
    assert not AuditEvent.objects.filter(action="urine.recorded").exists()


def test_every_line_that_is_wrong_is_told_with_what_is_right(tmp_path: Path) -> None:
    with pytest.raises(CommandError) as refused:
        record(
            tmp_path,
            "S1-001,2026-06-01,negative,2026-06-01",
            "S9-001,2026-06-01,negative,2026-06-01",
            "S1-001,2026-06-04,negative,2026-06-04",
            "S1-001,1 June,negative,2026-06-01",
            "S1-001,2026-06-03,clean,2026-06-03",
            "S1-001,2026-06-05,negative,yesterday",
            "S1-001,2026-06-01,positive,2026-06-01",
            "S1-003,2026-06-01,negative,2026-06-01",
            "S1-002,2026-06-01,negative,2026-06-01,,more",
            header=f"{HEADER},reason",
        )
    assert str(refused.value).splitlines() == [
        "Line 3: there is no participant 'S9-001' in this study.",
        (
            "Line 4: no test of S1-001 is due on 2026-06-04: the nearest are due on 2026-06-03 and "
            "2026-06-05."
        ),
        "Line 5: due_on '1 June' is no date: write it as 2026-06-01.",
        "Line 6: 'clean' is no result: write negative, positive, missed.",
        "Line 7: collected_on 'yesterday' is no date: write it as 2026-06-01.",
        "Line 8: the same test is in line 2 already.",
        "Line 9: no test of S1-003 is due on 2026-06-01: none is scheduled.",
        "Line 10: there are more fields than columns.",
        "Nothing was recorded.",
    ]
    assert set(results()) == {""}


def test_what_the_records_say_against_a_line_is_told_too(tmp_path: Path) -> None:
    record(tmp_path, "S1-001,2026-06-01,missed,")
    with pytest.raises(CommandError) as refused:
        record(
            tmp_path,
            "S1-001,2026-06-01,negative,2026-06-01",
            "S1-001,2026-06-03,missed,2026-06-03",
            "S1-001,2026-06-05,negative,",
            "S1-002,2026-06-01,negative,2026-07-01",
        )
    lines = str(refused.value).splitlines()
    assert lines[0].startswith("Line 2: Recorded by a command at ")
    assert lines[0].endswith(" UTC as missed: to correct it, give a reason.")
    assert lines[1] == "Line 3: A missed test has no sample: leave its date empty."
    assert lines[2] == "Line 4: Say on which day the sample was collected."
    assert lines[3].startswith("Line 5: 2026-07-01 is more than 7 days from 2026-06-01")
    assert results() == ["missed", "", "", "", "", ""]


def test_a_reason_corrects(tmp_path: Path) -> None:
    record(tmp_path, "S1-001,2026-06-01,missed,")
    header = f"{HEADER},reason"
    record(tmp_path, "S1-001,2026-06-01,negative,2026-06-01,found in the fridge", header=header)
    assert results()[0] == "negative"
    assert AuditEvent.objects.get(action="urine.corrected").reason == "found in the fridge"


@pytest.mark.parametrize(
    ("header", "lines", "why"),
    [
        ("participant,due_on", ["S1-001,2026-06-01"], "names no column result, collected_on"),
        (f"{HEADER},lab", ["S1-001,2026-06-01,missed,,x"], "names lab, which is no column"),
        (HEADER, [], "The file has no lines below its header."),
    ],
)
def test_another_file_is_refused(tmp_path: Path, header: str, lines: list[str], why: str) -> None:
    with pytest.raises(CommandError, match=why):
        record(tmp_path, *lines, header=header)


def test_open_tests_are_listed_as_a_file_to_fill_in() -> None:
    out = io.StringIO()
    call_command("urine", "demo", "--open", stdout=out)
    header, first, *rest = out.getvalue().splitlines()
    assert header == HEADER
    assert first == "S1-001,2026-06-01,,"
    assert len(rest) == 5


def test_a_file_or_open_tests_are_asked_for(tmp_path: Path) -> None:
    for words in ([], ["a.csv", "--open"]):
        with pytest.raises(CommandError, match="Name a file, or ask for --open"):
            call_command("urine", "demo", *words)
    with pytest.raises(CommandError, match="No such file"):
        call_command("urine", "demo", str(tmp_path / "none.csv"))
