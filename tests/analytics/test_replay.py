"""Real data through the phones' API agree with lme4, and broken files are reported in full."""

import csv
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError

from analytics.file_options import UnusableDataError, WrongOptionError
from analytics.replay import reading
from analytics.replay.file import Columns
from analytics.replay.findings import PROBLEMS
from analytics.replay.people import Occasion
from analytics.replay.reading import Asked, Replay
from analytics.replay.times import read_stamp
from ema import embedded, enrolment
from tests.real_data import real_data

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)


@dataclass(frozen=True)
class Machine:
    """A state directory of its own with migrated embedded servers: `manage.py` as a user has it."""

    state: Path

    def manage(self, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        servers = {"DATABASE_URL", "REDIS_URL"}
        environ = {key: value for key, value in os.environ.items() if key not in servers}
        return subprocess.run(
            [sys.executable, str(settings.BASE_DIR / "manage.py"), *map(str, arguments)],
            env={**environ, "FOURBEAT_STATE_DIR": str(self.state)},
            capture_output=True,
            text=True,
            check=False,
        )

    def replay(self, *arguments: str | Path) -> dict[str, Any]:
        """The report of a replay that must succeed."""
        ended = self.manage("replay", *arguments, "--json")
        assert ended.returncode == 0, ended.stderr
        report: dict[str, Any] = json.loads(ended.stdout)
        return report


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    state = tmp_path_factory.mktemp("machine") / "state"
    embedded.ensure(state)
    made = Machine(state)
    migrated = made.manage("migrate")
    assert migrated.returncode == 0, migrated.stderr
    yield made
    embedded.stop_and_wait(state)


# --- real data ----------------------------------------------------------------------------


LEUVEN = [
    "--participant=participant_id",
    "--arm=arm",
    "--stress=anhedonia",
    "--craving=negative_affect",
    "--day=day",
    "--prompt=prompt_no",
    "--status=status",
    "--reference=control",
]
BRINGMANN = [
    "--participant=participant_id",
    "--arm=arm",
    "--stress=worried",
    "--craving=sad",
    "--day=day",
    "--prompt=prompt_no",
    "--status=status",
    "--reference=waitlist",
    "--padded",
]
FRIED = [
    "--participant=participant_id",
    "--stress=worry",
    "--craving=irritable",
    "--day=day",
    "--prompt=prompt_no",
    "--status=status",
    "--at=issued",
    "--answered-at=responded_or_expired",
    "--planned-at=scheduled_local",
    "--zone=Europe/Amsterdam",
]


def golden(folder: str, model: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """R's model of a data set, and its REML fit by lme4."""
    found = json.loads((real_data(folder) / "reference_lme4.json").read_text())[model]
    return found, found["lme4_REML"]


def agrees_with_lme4(report: dict[str, Any], folder: str, model: str) -> None:
    """Fixed effects and standard errors to 1e-4, variance components to 1e-4, logLik to 1e-3."""
    data, fit = golden(folder, model)
    assert report["n_participants"] == data["n_participants"]
    assert report["n_pairs"] == data["n_complete_pairs"]
    assert report["log_likelihood"] == pytest.approx(fit["logLik"], abs=1e-3)
    assert len(report["fixed"]) == len(fit["fixed"])
    for ours in report["fixed"]:
        theirs = fit["fixed"][name_in_r(ours["term"])]
        assert ours["estimate"] == pytest.approx(theirs["estimate"], rel=1e-4)
        assert ours["model_standard_error"] == pytest.approx(theirs["se"], rel=1e-4)
        assert ours["model_df"] == pytest.approx(theirs["df_satterthwaite"], rel=1e-3)
    random, ours = fit["random"], report["random"]
    spreads = {"(Intercept)": "sd_intercept", "x_w": "sd_slope", "residual": "sd_residual"}
    for name, key in spreads.items():
        assert ours[key] == pytest.approx(random[name]["sd_or_cor"], rel=1e-4)
    correlation = random["cor_(Intercept)__x_w"]["sd_or_cor"]
    assert ours["correlation"] == pytest.approx(correlation, rel=1e-3, abs=1e-5)


def name_in_r(term: str) -> str:
    """Terms that are not named here are the arm and its slope, as in `arm[MDD]`."""
    named = {"intercept": "(Intercept)", "stress_within": "x_w", "stress_between": "x_b"}
    return named.get(term, "x_w:arm01" if term.startswith("stress_within") else "arm01")


def test_leuven_agrees_with_lme4(machine: Machine) -> None:
    report = machine.replay(real_data("leuven2019_clinical") / "canonical.csv", *LEUVEN)

    agrees_with_lme4(report, "leuven2019_clinical", "primary")
    told = report["replay"]
    assert (told["answered"], told["missed"]) == (4831, 629)
    assert told["uploaded"] == {"created": 4831}
    assert told["items"]["craving"]["decimals"] == 1
    assert told["findings"] == []


@pytest.mark.parametrize(
    ("period", "model", "unnumbered"),
    [("post", "primary_post", 36), ("baseline", "placebo_baseline", 6)],
)
def test_bringmann_agrees_with_lme4(
    machine: Machine, period: str, model: str, unnumbered: int
) -> None:
    file = real_data("bringmann2013_mindfulness") / "canonical.csv"

    report = machine.replay(file, *BRINGMANN, f"--where=period={period}")

    agrees_with_lme4(report, "bringmann2013_mindfulness", model)
    assert report["replay"]["missed"] == 0
    assert counts(report["replay"])["prompt_unreadable"] == unnumbered
    assert report["replay"]["uploaded"] == {"created": report["replay"]["answered"]}


def test_fried_agrees_with_lme4_and_its_traps_are_reported(
    machine: Machine, tmp_path: Path
) -> None:
    file, listed = real_data("fried2021_students") / "canonical.csv", tmp_path / "findings.csv"

    report = machine.replay(file, *FRIED, "--report", listed)

    agrees_with_lme4(report, "fried2021_students", "primary")
    found = counts(report["replay"])
    assert found["stamp_unset"] == 13
    assert found["stamp_missing"] == 74
    assert found["missed_with_expiry"] + found["missed_with_stamp"] == 351
    assert found["issued_late"] == 598
    assert report["replay"]["zones"].keys() == {"CET", "CEST", "EET", "EEST", "+03", "MSK"}
    with listed.open(newline="") as lines:
        assert len(list(csv.DictReader(lines))) == sum(found.values())


def counts(told: dict[str, Any]) -> dict[str, int]:
    return {finding["problem"]: finding["count"] for finding in told["findings"]}


# --- broken files -------------------------------------------------------------------------

COLUMNS = Columns(
    participant="who",
    stress="stress",
    craving="craving",
    arm="arm",
    day="day",
    prompt="prompt",
    status="status",
    at="at",
    answered_at="answered",
)
HEADER = "who,arm,day,prompt,status,at,answered,stress,craving"


def file_of(tmp_path: Path, *rows: str, header: str = HEADER) -> Path:
    path = tmp_path / "trial.csv"
    path.write_text("\n".join([header, *rows]) + "\n")
    return path


def read(path: Path, columns: Columns = COLUMNS, **more: Any) -> Replay:
    asked: dict[str, Any] = {"reference": "a" if columns.arm else None, **more}
    return reading.read(Asked(file=path, columns=columns, **asked), NOW)


def found_in(made: Replay) -> dict[str, list[int]]:
    """The rows of every problem."""
    return {
        problem: [finding.row for finding in those]
        for problem, those in made.findings.by_problem().items()
    }


GOOD = [
    "p1,a,1,1,answered,2020-03-02 09:00:00,2020-03-02 09:02:00,10,20",
    "p1,a,1,2,answered,2020-03-02 13:00:00,2020-03-02 13:02:00,30,40",
    "p2,b,1,1,answered,2020-03-02 09:00:00,2020-03-02 09:02:00,10,20",
    "p2,b,1,2,missed,2020-03-02 13:00:00,,,",
]


def test_a_good_file_has_no_findings(tmp_path: Path) -> None:
    made = read(file_of(tmp_path, *GOOD))

    assert made.findings.all == []
    assert (made.answered, made.prompts, made.arms) == (3, 4, ["a", "b"])
    assert made.people[0].occasions[1].due_at == datetime(2020, 3, 2, 13, tzinfo=UTC)


@pytest.mark.parametrize(
    ("row", "problem"),
    [
        (",a,1,3,answered,2020-03-02 15:00:00,2020-03-02 15:01:00,1,2", "no_participant"),
        ("p1,a,1,3,answered,2020-03-02 15:00:00,2020-03-02 15:01:00,high,2", "value_not_number"),
        ('p1,a,1,3,answered,2020-03-02 15:00:00,2020-03-02 15:01:00,"3,5",2', "value_not_number"),
        ("p1,a,1,3,answered,2020-03-02 15:00:00,2020-03-02 15:01:00,inf,2", "value_not_number"),
        ("p1,a,1,3,answered,2020-03-02 15:00:00,2020-03-02 15:01:00,1.23456,2", "value_rounded"),
        ("p1,a,1,3,answered,2020-03-02 15:00:00,2020-03-02 15:01:00,,", "answered_empty"),
        ("p1,a,1,3,answered,2020-03-02 15:00:00,2020-03-02 15:01:00,5,", "answered_partly"),
        ("p1,a,1,3,missed,2020-03-02 15:00:00,,5,6", "missed_with_values"),
        ("p1,a,1,3,perhaps,2020-03-02 15:00:00,2020-03-02 15:01:00,5,6", "status_unknown"),
        ("p1,a,1,3,missed,2020-03-02 15:00:00,2020-03-02 16:00:00,,", "missed_with_expiry"),
        ("p1,a,1,3,missed,2020-03-02 15:00:00,2020-03-02 15:30:00,,", "missed_with_stamp"),
        ("p1,a,1,3,answered,1970-01-01 01:00:00,2020-03-02 15:01:00,5,6", "stamp_unset"),
        ("p1,a,1,3,answered,2099-01-01 01:00:00,2020-03-02 15:01:00,5,6", "stamp_future"),
        ("p1,a,1,3,answered,2 March at 3,2020-03-02 15:01:00,5,6", "stamp_unreadable"),
        ("p1,a,1,3,answered,,2020-03-02 15:01:00,5,6", "stamp_missing"),
        ("p1,a,1,3,answered,2020-03-02 15:00:00 XYZ,2020-03-02 15:01:00,5,6", "zone_unknown"),
        ("p1,a,1,3,answered,2020-03-02 15:00:00,2020-03-02 14:59:00,5,6", "answered_early"),
        ("p1,a,1,3,answered,2020-03-02 15:00:00,,5,6", "answer_time_missing"),
        ("p1,a,1,2,answered,2020-03-02 15:00:00,2020-03-02 15:01:00,5,6", "prompt_twice"),
        ("p1,a,1,,answered,2020-03-02 15:00:00,2020-03-02 15:01:00,5,6", "prompt_unreadable"),
        ("p1,a,one,3,answered,2020-03-02 15:00:00,2020-03-02 15:01:00,5,6", "day_unreadable"),
        ("p1,b,1,3,answered,2020-03-02 15:00:00,2020-03-02 15:01:00,5,6", "arm_twice"),
        ("p3,,1,3,answered,2020-03-02 15:00:00,2020-03-02 15:01:00,5,6", "arm_missing"),
        ("p1,a,1,,missed,,,,", "empty_row"),
        ("p1,a,1,3,answered,2020-03-02 15:00:00,2020-03-02 15:01:00,5,6,7", "cells_extra"),
        ("p1,a,1,3,missed,2020-03-02 15:00:00", "cells_missing"),
        (
            f"{'p' * 41},a,1,3,answered,2020-03-02 15:00:00,2020-03-02 15:01:00,5,6",
            "participant_long",
        ),
        (
            "=1+1 (Anna),a,1,3,answered,2020-03-02 15:00:00,2020-03-02 15:01:00,5,6",
            "participant_unusual",
        ),
    ],
    ids=lambda value: value if value in PROBLEMS else "",
)
def test_a_broken_row_is_reported_and_every_row_is_accounted_for(
    tmp_path: Path, row: str, problem: str
) -> None:
    # people of both arms answer whatever the broken row says
    more = ["p4,b,1,1,answered,2020-03-02 09:00:00,2020-03-02 09:02:00,10,20"]
    more += ["p5,a,1,1,answered,2020-03-02 09:00:00,2020-03-02 09:02:00,10,20"]

    made = read(file_of(tmp_path, *GOOD, row, *more))

    found = found_in(made)
    assert found.pop(problem) == [6]
    assert set(found) <= {"answered_partly", "answer_time_missing"}  # what follows from it
    told = made.content()
    left_out = sum(told["rows_left_out"].values())
    assert told["answered"] + told["missed"] + left_out == told["rows_in_file"] == 7


def test_unusual_codes_stay_different_and_are_such_as_enrolment_takes(tmp_path: Path) -> None:
    row = ",a,1,1,answered,2020-03-02 09:00:00,2020-03-02 09:02:00,10,20"
    strange = ["=1+1", "-1+1", "a b", "a+b", "é" * 60, "(((", "_x"]

    made = read(file_of(tmp_path, *GOOD, *(name + row for name in strange)))

    codes = [person.code for person in made.people]
    assert len(set(codes)) == len(codes)
    for code in codes:
        enrolment.refuse_wrong_code(code)
        assert len(code) <= 40


def test_a_file_that_looks_like_a_filled_grid_is_pointed_out(tmp_path: Path) -> None:
    grid = [
        f"p{n},a,1,{prompt},{'answered' if prompt < 3 else 'missed'},,,{values}"
        for n in range(3)
        for prompt in range(1, 11)
        for values in (["5,6"] if prompt < 3 else [","])
    ]
    path = file_of(tmp_path, *grid)

    as_missed, as_padding = read(path), read(path, padded=True)

    assert (as_missed.prompts, as_missed.looks_padded) == (30, True)
    assert (as_padding.prompts, as_padding.looks_padded) == (6, False)
    assert as_padding.findings.rows_left_out == {"padding": 24}


def test_values_outside_a_declared_scale_are_reported(tmp_path: Path) -> None:
    path = file_of(tmp_path, *GOOD)

    assert found_in(read(path, scale=(0, 100))) == {}
    assert found_in(read(path, scale=(0, 30))) == {"value_outside": [3]}


def test_an_arm_that_is_not_mapped_is_reported(tmp_path: Path) -> None:
    rows = [*GOOD, GOOD[0].replace("p1,a", "p9,x")]

    made = read(file_of(tmp_path, *rows), arm_map=["a=drug", "b=placebo"], reference="placebo")

    assert found_in(made) == {"arm_unknown": [6], "arm_missing": [6]}
    assert made.arms == ["drug", "placebo"]


def test_days_and_prompts_may_be_counted_from_zero(tmp_path: Path) -> None:
    columns = Columns("who", "stress", "craving", day="day", prompt="prompt")
    rows = ["p1,0,0,1,2", "p1,0,1,3,4", "p1,1,0,5,6"]

    made = read(file_of(tmp_path, *rows, header="who,day,prompt,stress,craving"), columns)

    assert found_in(made) == {"from_zero": [2, 2]}
    assert places(made) == [(1, 1), (1, 2), (2, 1)]


def places(made: Replay) -> list[tuple[int, int]]:
    return [(o.day, o.ordinal) for person in made.people for o in person.occasions]


def test_without_times_prompts_are_spread_over_the_day_in_their_order(tmp_path: Path) -> None:
    columns = Columns("who", "stress", "craving", day="day", prompt="prompt")
    rows = ["p1,1,2,3,4", "p1,1,1,1,2", "p1,2,1,5,6"]

    made = read(
        file_of(tmp_path, *rows, header="who,day,prompt,stress,craving"),
        columns,
        zone="Europe/Brussels",
    )

    due = [o.due_at.isoformat() for o in occasions(made)]
    assert due == [
        "2001-01-01T10:30:00+00:00",  # 11:30 in Brussels: the middle of the first half of 08–22
        "2001-01-01T17:30:00+00:00",
        "2001-01-02T10:30:00+00:00",
    ]


def occasions(made: Replay) -> list[Occasion]:
    return [occasion for person in made.people for occasion in person.occasions]


def test_without_days_times_or_numbers_rows_follow_each_other(tmp_path: Path) -> None:
    rows = [f"p1,{i},{i}" for i in range(12)]

    made = read(
        file_of(tmp_path, *rows, header="who,stress,craving"), Columns("who", "stress", "craving")
    )

    assert places(made) == [(1, n) for n in range(1, 11)] + [(2, 1), (2, 2)]


def test_study_days_may_come_from_the_times_alone(tmp_path: Path) -> None:
    columns = Columns("who", "stress", "craving", at="at")
    rows = ["p1,2020-03-02 21:00,1,2", "p1,2020-03-02 09:00,3,4", "p1,2020-03-04 09:00,5,6"]

    made = read(file_of(tmp_path, *rows, header="who,at,stress,craving"), columns)

    assert places(made) == [(1, 1), (1, 2), (3, 1)]
    assert [o.due_at.hour for o in occasions(made)] == [9, 21, 9]


def test_a_prompt_without_its_time_is_placed_just_before_its_answer(tmp_path: Path) -> None:
    made = read(
        file_of(tmp_path, *GOOD, "p1,a,1,3,answered,1970-01-01 01:00:00,2020-03-02 17:35:00,5,6")
    )

    late = occasions(made)[2]
    assert late.completed_at - late.due_at == timedelta(minutes=1)


def test_no_prompt_expires_before_its_answer(tmp_path: Path) -> None:
    slow = "p1,a,1,3,answered,2020-03-02 15:00:00,2020-03-02 18:00:00,5,6"

    assert read(file_of(tmp_path, *GOOD)).expires_after == timedelta(minutes=30)
    assert read(file_of(tmp_path, *GOOD, slow)).expires_after == timedelta(hours=3, minutes=1)


@pytest.mark.parametrize(
    ("cell", "instant"),
    [
        ("2020-03-29 12:00:00 CEST", "2020-03-29T10:00:00+00:00"),
        ("2020-03-29T12:00:00Z", "2020-03-29T12:00:00+00:00"),
        ("2020-03-29 12:00 +03", "2020-03-29T09:00:00+00:00"),
        ("2020-03-29 12:00:00.5-05:30", "2020-03-29T17:30:00.500000+00:00"),
        ("2020-03-29 12:00:00 MSK", "2020-03-29T09:00:00+00:00"),
        ("2020-03-29 12:00:00", "2020-03-29T12:00:00+00:00"),
    ],
)
def test_stamps_are_read_in_their_own_zone(cell: str, instant: str) -> None:
    stamp = read_stamp(cell, zone=UTC, now=NOW)

    assert stamp.at is not None
    assert stamp.at.isoformat() == instant
    assert stamp.problem == ""


# --- refusals -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (
            {"columns": Columns("who", "strain", "craving")},
            "--stress: column 'strain' is not there",
        ),
        ({"columns": Columns("who", "stress", "stress")}, "--stress and --craving are both column"),
        ({"reference": "c"}, "--reference 'c' is not an arm: column 'arm' has a, b"),
        ({"reference": None}, "--reference is missing: column 'arm' has a, b"),
        ({"where": ["day=9"]}, "--where day=9 leaves no rows: 'day' has 1"),
        ({"where": ["day"]}, "--where 'day' is not of the form COLUMN=VALUE"),
        ({"arm_map": ["z=drug"]}, "column 'arm' has no 'z'; it has a, b"),
        ({"scale": (0, 1)}, "--scale 0,1 fits no value of column"),
        ({"zone": "Factory"}, "--zone 'Factory' is unknown"),
        ({"zone": "Mars/Olympus"}, "--zone 'Mars/Olympus' is unknown: write an IANA name"),
    ],
)
def test_an_option_that_cannot_be_is_refused_in_a_sentence(
    tmp_path: Path, change: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(WrongOptionError) as refusal:
        read(file_of(tmp_path, *GOOD), **change)
    assert sentence in str(refusal.value)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "trial.csv is empty"),
        (b"who,stress,craving\n", "trial.csv has a header but no rows"),
        (b"who,stress,craving\np1,1,\np1,,2\n", "none of 2 rows has a participant with both"),
        (b"who,stress,craving\np1,x,2\n", "(1 × value not number)"),
    ],
)
def test_a_file_without_usable_data_is_refused_in_a_sentence(
    tmp_path: Path, content: bytes, sentence: str
) -> None:
    path = tmp_path / "trial.csv"
    path.write_bytes(content)
    with pytest.raises(UnusableDataError) as refusal:
        read(path, Columns("who", "stress", "craving"))
    assert sentence in str(refusal.value)


@pytest.mark.parametrize(
    "content", [b"\x89PNG\r\n\x1a\n\x00\x00", b"who,stress,craving\np\x001,1,2\n"]
)
def test_bytes_that_are_no_text_are_refused_and_not_shown(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "trial.csv"
    path.write_bytes(content)
    with pytest.raises(UnusableDataError) as refusal:
        read(path, Columns("who", "stress", "craving"))
    assert str(refusal.value) == "trial.csv is not UTF-8 text: save it as CSV (UTF-8)"


@pytest.mark.parametrize("content", [b"\x00\xff\xfe,\x80\n\x00", b'who,stress,craving\n"p1,1,2\n'])
def test_bytes_that_are_no_csv_never_crash(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "trial.csv"
    path.write_bytes(content)
    with pytest.raises((UnusableDataError, WrongOptionError)):
        read(path, Columns("who", "stress", "craving"))


def test_text_that_is_not_utf8_is_read_and_reported(tmp_path: Path) -> None:
    path = tmp_path / "trial.csv"
    path.write_bytes("who;stress;craving\nJosé;1;2\n".encode("cp1252"))

    made = read(path, Columns("who", "stress", "craving"))

    assert found_in(made) == {"not_utf8": [1]}
    assert made.people[0].code == "José"


# --- the command --------------------------------------------------------------------------


def test_a_messy_file_is_uploaded_to_the_last_answer(machine: Machine, tmp_path: Path) -> None:
    rows = [
        f"p{n},{'ab'[n % 2]},{day},{prompt or ''},answered,,,{(7 * n + 13 * prompt + day) % 50},"
        f"{(3 * n + 17 * prompt * day) % 60}"
        for n in range(8)
        for day in (1, 2)
        for prompt in (1, 2, 2, 0)
    ]
    columns = [
        "--participant=who",
        "--arm=arm",
        "--day=day",
        "--prompt=prompt",
        "--status=status",
        "--stress=stress",
        "--craving=craving",
        "--reference=a",
        "--study=messy",
    ]

    report = machine.replay(file_of(tmp_path, *rows), *columns)

    assert report["replay"]["uploaded"] == {"created": 64}
    assert counts(report["replay"]) == {"prompt_twice": 16, "prompt_unreadable": 16}
    again = machine.manage("replay", file_of(tmp_path, *rows), *columns)
    assert again.returncode == 2
    assert "--study 'messy' exists already" in again.stderr
    unnamed = machine.manage("replay", file_of(tmp_path, *rows), *columns[:-1])
    assert unnamed.returncode == 0, unnamed.stderr
    assert "trial.csv as study trial: 64 rows = 64 answered + 0 missed" in unnamed.stdout
    assert "same participant, day and prompt again" in unnamed.stdout


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["nowhere.csv"], 2, "there is no file 'nowhere.csv'"),
        (["{file}", "--arm=arm", "--reference=z"], 2, "has a, b"),
        (["{file}", "--zone=Nowhere"], 2, "--zone 'Nowhere' is unknown"),
        (["{file}", "--scale=9"], 1, "is not two whole numbers"),
        (["{file}", "--url=foo"], 2, "--url foo: no server answers there"),
        (["{file}", "--url=http://127.0.0.1:1"], 2, "--url http://127.0.0.1:1: no server answers"),
        (["{file}", "--where=who=nobody"], 2, "leaves no rows"),
        (["{file}", "--where=status=missed"], 1, "none of 1 rows has a participant with both"),
        (["{file}", "--report=/nowhere/at/all.csv"], 1, "cannot be written"),
    ],
)
def test_a_refusal_is_one_sentence_and_an_exit_code(
    tmp_path: Path, arguments: list[str], code: int, sentence: str
) -> None:
    path = file_of(tmp_path, *GOOD)
    given = [argument.format(file=path) for argument in arguments]

    with pytest.raises(CommandError) as refusal:
        call_command("replay", *given, "--participant=who", "--stress=stress", "--craving=craving")

    assert sentence in str(refusal.value)
    assert refusal.value.returncode == code
