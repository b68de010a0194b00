"""Files of real data, sound and broken: every row is accounted for, or refused in words."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from analytics.file_options import UnusableDataError, WrongOptionError
from analytics.replay import reading
from analytics.replay.file import Columns
from analytics.replay.findings import PROBLEMS
from analytics.replay.people import Occasion
from analytics.replay.reading import Asked, Replay
from analytics.replay.times import read_stamp
from ema import enrolment
from tests.analytics.replay_files import GOOD, file_of

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
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


def read(path: Path, columns: Columns = COLUMNS, **more: Any) -> Replay:
    asked: dict[str, Any] = {"reference": "a" if columns.arm else None, **more}
    return reading.read(Asked(file=path, columns=columns, **asked), NOW)


def found_in(made: Replay) -> dict[str, list[int]]:
    """The rows of every problem."""
    return {
        problem: [finding.row for finding in those]
        for problem, those in made.findings.by_problem().items()
    }


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
