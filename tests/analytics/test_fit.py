"""manage.py fit: a file in, the comparison out, and one clear sentence where that cannot be."""

import json
import subprocess
import sys
from collections.abc import Callable
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from django.core.management import CommandError, call_command

from analytics.csv_rows import Columns, compare_file, read_pairs
from analytics.file_options import UnusableDataError, WrongOptionError
from tests.real_data import ROOT, real_data

COLUMNS = Columns("id", "stress", "craving", "arm")
OPTIONS = ["--participant=id", "--stress=stress", "--craving=craving"]
ARMS = ["--arm=arm", "--reference=control"]

Write = Callable[[str], Path]


def study(header: str = "id,arm,phase,stress,craving") -> list[str]:
    """Rows of a small two-arm study, 8 participants with 6 prompts each, and one missed prompt."""
    rng = np.random.default_rng(1)
    lines = [header]
    for person in range(8):
        arm = "treated" if person % 2 else "control"
        for x in rng.integers(0, 101, 6):
            y = round(20 + 0.4 * x + rng.normal(0, 8), 1)
            lines.append(f"P{person},{arm},treatment,{x},{y}")
    return [*lines, "P0,control,treatment,,"]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def to_file(text: str) -> Path:
        path = tmp_path / "study.csv"
        path.write_text(text, encoding="utf-8")
        return path

    return to_file


def changed(write: Write, line: int, text: str) -> Path:
    """The study with one line (the header is line 0) replaced."""
    lines = study()
    lines[line] = text
    return write("\n".join(lines))


def test_rows_become_exact_integers_and_counts_of_what_was_left_out(write: Write) -> None:
    lines = [
        "id,arm,stress,craving",
        "A,x,1.5,30.4",
        "A,x,2,",
        "A,,,12",
        "A,x,NA,NA",
        ",x,1,1",
        "B,,1,1",
        "",
        "C,y,-0.25,7.0",
    ]
    pairs = read_pairs(write("\n".join(lines)), COLUMNS)
    assert pairs.participant == ["A", "C"]
    assert (pairs.stress.tolist(), pairs.stress_scale) == ([150, -25], 100)
    assert (pairs.craving.tolist(), pairs.craving_scale) == ([304, 70], 10)
    assert pairs.arm_of == {"A": "x", "C": "y"}
    assert pairs.excluded == {
        "missing_arm": 1,
        "missing_craving": 1,
        "missing_participant": 1,
        "missing_stress": 1,
        "missing_stress_and_craving": 1,
    }


@pytest.mark.parametrize("cell", ["0.123456789", "1e-3", "123456789012.5"])
def test_ratings_with_many_decimals_stay_floats(write: Write, cell: str) -> None:
    pairs = read_pairs(
        write(f"id,stress,craving\nA,{cell},1\n"), Columns("id", "stress", "craving")
    )
    assert pairs.stress.tolist() == [float(cell)]
    assert pairs.stress_scale == 1


@pytest.mark.parametrize("delimiter", [";", "\t"])
def test_other_delimiters_and_a_byte_order_mark_are_read(write: Write, delimiter: str) -> None:
    text = "\ufeff" + "\r\n".join(study()).replace(",", delimiter)
    assert compare_file(write(text), COLUMNS, reference="control")["n_pairs"] == 48


def test_conditions_add_up(write: Write) -> None:
    path = write("\n".join(study()))
    where = ["phase=treatment", "arm=control"]
    report = compare_file(path, Columns("id", "stress", "craving"), where=where)
    assert report["n_participants"] == 4
    assert report["n_excluded"] == {"missing_stress_and_craving": 1}


def test_the_pairs_and_the_rows_left_out_are_the_rows_selected() -> None:
    path = real_data("bringmann2013_mindfulness") / "canonical.csv"
    columns = Columns("participant_id", "worried", "sad", "arm")
    pairs = read_pairs(path, columns, ["period=post"])
    assert len(pairs.participant) == 5570
    assert len(pairs.participant) + sum(pairs.excluded.values()) == 14300


@pytest.mark.parametrize(
    ("columns", "reference", "where", "words"),
    [
        (
            Columns("id", "stres", "craving"),
            None,
            [],
            "'stres' is not there; the file has id, arm, phase, stress, craving",
        ),
        (Columns("id", "stress", "stress"), None, [], "--stress and --craving are both column 'st"),
        (
            COLUMNS,
            "placebo",
            [],
            r"--reference 'placebo' is not an arm: column 'arm' has control, t",
        ),
        (COLUMNS, None, [], "--reference is missing"),
        (Columns("id", "stress", "craving"), "control", [], "--arm is missing"),
        (COLUMNS, "control", ["phase=baseline"], "leaves no rows: 'phase' has treatment"),
        (COLUMNS, "control", ["phase"], "--where 'phase' is not of the form COLUMN=VALUE"),
        (
            COLUMNS,
            "control",
            ["site=1"],
            "--where site=1: column 'site' is not there; the file has",
        ),
    ],
)
def test_a_wrong_option_is_named_with_what_would_be_right(
    write: Write, columns: Columns, reference: str | None, where: list[str], words: str
) -> None:
    with pytest.raises(WrongOptionError, match=words):
        compare_file(write("\n".join(study())), columns, reference=reference, where=where)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(WrongOptionError, match=r"there is no file '.*nowhere.csv'"):
        compare_file(tmp_path / "nowhere.csv", COLUMNS, reference="control")


@pytest.mark.parametrize(
    ("line", "text", "words"),
    [
        (2, "P0,control,treatment,high,3", "row 3, column 'stress': 'high' is not a number"),
        (4, "P0,control,treatment,1,inf", "row 5, column 'craving': 'inf' is not a number"),
        (3, "P0,treated,treatment,1,2", "row 4: participant 'P0' is in arm 'treated', but was in"),
        (1, "P0,control,treatment,1", "row 2: 4 cells, but the header has 5"),
    ],
)
def test_a_bad_row_is_named(write: Write, line: int, text: str, words: str) -> None:
    with pytest.raises(UnusableDataError, match=words):
        compare_file(changed(write, line, text), COLUMNS, reference="control")


def test_data_that_hold_no_coupling_are_refused_in_words(write: Write) -> None:
    lines = study()
    flat = [",".join([*line.split(",")[:3], "5", line.split(",")[4]]) for line in lines[1:-1]]
    for text, words in (
        ("", "is empty"),
        (lines[0], "no row has a participant with both 'stress' and 'craving'"),
        ("\n".join([lines[0], "A,x,t,1,", "A,x,t,,1"]), "1 missing craving, 1 missing stress"),
        ("\n".join([lines[0], *flat]), "stress never varies within any participant"),
        ("\n".join(lines[:7]), "at least 2 participants"),
    ):
        with pytest.raises(UnusableDataError, match=words):
            compare_file(write(text), Columns("id", "stress", "craving"))


def test_a_file_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "latin.csv"
    path.write_bytes("id,stress,craving\nJosé,1,2\n".encode("latin-1"))
    with pytest.raises(UnusableDataError, match="not UTF-8"):
        read_pairs(path, Columns("id", "stress", "craving"))


# The command itself: options in, print out, exit codes. It never opens a database.


def fit(*arguments: str) -> str:
    out = StringIO()
    call_command("fit", *arguments, stdout=out)
    return out.getvalue()


def test_the_command_prints_the_table(write: Write) -> None:
    table = fit(str(write("\n".join(study()))), *OPTIONS, *ARMS)
    assert "treated - control" in table
    assert "weaker coupling" in table


def test_the_command_prints_json_with_participants(write: Write) -> None:
    out = fit(str(write("\n".join(study()))), *OPTIONS, *ARMS, "--participants", "--json")
    report: dict[str, Any] = json.loads(out)
    assert report["n_excluded"] == {"missing_stress_and_craving": 1}
    assert [one["participant"] for one in report["participants"]] == [f"P{i}" for i in range(8)]


def test_the_command_reproduces_the_reference_of_leuven() -> None:
    path = real_data("leuven2019_clinical") / "canonical.csv"
    options = ["--participant=participant_id", "--stress=anhedonia", "--craving=negative_affect"]
    report = json.loads(fit(str(path), *options, *ARMS, "--json"))
    (contrast,) = report["contrasts"]
    assert contrast["difference"] == pytest.approx(0.0193831243691431, rel=1e-6)
    assert report["fixed"][-1]["model_standard_error"] == pytest.approx(
        0.0352928326505577, rel=1e-6
    )
    assert report["log_likelihood"] == pytest.approx(-17811.5668056801, abs=1e-8)


def test_conditions_add_up_and_may_come_before_the_file(write: Write) -> None:
    path = str(write("\n".join(study())))
    conditions = ["--where", "phase=treatment", "--where", "arm=control"]
    after = fit(path, *OPTIONS, *conditions)
    assert after == fit(*OPTIONS, *conditions, path)
    assert after.startswith("4 participants")


def test_exit_code_2_is_for_options_and_1_for_data(write: Write) -> None:
    with pytest.raises(CommandError) as wrong_option:
        fit(str(write("\n".join(study()))), *OPTIONS, "--where", "phase=baseline")
    assert wrong_option.value.returncode == 2
    with pytest.raises(CommandError) as unusable:
        fit(str(changed(write, 2, "P0,control,treatment,high,3")), *OPTIONS)
    assert unusable.value.returncode == 1


def test_the_command_line_answers_with_one_sentence(write: Write) -> None:
    path = str(write("\n".join(study())))
    done = subprocess.run(
        [sys.executable, "manage.py", "fit", path, *OPTIONS, "--where", "phase=baseline"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert "leaves no rows: 'phase' has treatment" in done.stderr
    assert "Traceback" not in done.stderr
