"""What is wrong in a file, and what is done about it: counted, with examples, and in full as CSV.

Nothing is dropped silently: a row that is left out has a finding that says so.
"""

import csv
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from analytics.file_options import UnusableDataError
from ema.csv_cells import guarded

EXAMPLES = 3


class Problem(NamedTuple):
    """In words: what is wrong, and what becomes of the row."""

    what: str
    done: str


LEFT_OUT = "left out"
PROBLEMS = {
    "not_utf8": Problem("text that is not UTF-8", "read as Windows-1252"),
    "cells_missing": Problem("row with too few cells", "the missing cells are taken as empty"),
    "cells_extra": Problem("row with too many cells", "the extra cells are ignored"),
    "no_participant": Problem("row without a participant", LEFT_OUT),
    "padding": Problem("row without an answer (--padded)", f"{LEFT_OUT}: padding, not a prompt"),
    "empty_row": Problem("neither an answer nor a prompt number", f"{LEFT_OUT}: padding"),
    "participant_long": Problem("participant code over 40 characters", "shortened"),
    "participant_unusual": Problem(
        "participant code with other signs than letters, digits and . - _", "replaced by dashes"
    ),
    "value_not_number": Problem("value that is not a number", "taken as not answered"),
    "value_rounded": Problem("value with more than 4 decimals", "rounded to 4"),
    "value_outside": Problem("value outside the scale", "stored with a flag, not analysed"),
    "status_unknown": Problem("unknown status word", "judged by its values"),
    "answered_empty": Problem("answered, but no values", "stored as skipped items"),
    "answered_partly": Problem("answered, but one value missing", "stored, not a pair"),
    "missed_with_values": Problem("missed, but with values", "taken as answered"),
    "day_unreadable": Problem("study day that is not a whole number from 1", "placed by its stamp"),
    "from_zero": Problem("days or prompts numbered from 0", "numbered from 1"),
    "prompt_unreadable": Problem("answered without a prompt number", "next free number of its day"),
    "prompt_twice": Problem("same participant, day and prompt again", "kept, next free number"),
    "stamp_missing": Problem("no time of the prompt", "placed by day and number"),
    "stamp_unreadable": Problem("time that cannot be read", "taken as missing"),
    "stamp_unset": Problem("time before 1990: a clock never set", "taken as missing"),
    "stamp_future": Problem("time in the future", "taken as missing"),
    "zone_unknown": Problem("unknown zone abbreviation", "taken to be in --zone"),
    "issued_late": Problem("issued later than planned", "the issue counts"),
    "answered_early": Problem("answered before its prompt", "stored with the flag before_due"),
    "answer_time_missing": Problem("answered, but no time of answering", "a minute after"),
    "missed_with_stamp": Problem("missed, but with a time of answering", "an expiry: ignored"),
    "missed_with_expiry": Problem(
        "missed, with a time exactly 60 min after the prompt", "an expiry: ignored"
    ),
    "arm_unknown": Problem("arm that is not in --arm-map", "participant without an arm"),
    "arm_twice": Problem("participant in two arms", "without an arm: not compared"),
    "arm_missing": Problem("participant without an arm", "uploaded, but not compared"),
}
REMOVES_ROW = frozenset({"no_participant", "padding", "empty_row"})


class Finding(NamedTuple):
    """One problem in one cell; `row` counts as a spreadsheet does: the header is row 1."""

    problem: str
    row: int
    participant: str
    column: str
    value: str


class Findings:
    """Everything that was found, in the order of the file."""

    def __init__(self) -> None:
        self.all: list[Finding] = []

    def add(
        self, problem: str, row: int, *, participant: str = "", column: str = "", value: str = ""
    ) -> None:
        self.all.append(Finding(problem, row, participant, column, value))

    def by_problem(self) -> dict[str, list[Finding]]:
        found: defaultdict[str, list[Finding]] = defaultdict(list)
        for finding in self.all:
            found[finding.problem].append(finding)
        return {problem: found[problem] for problem in PROBLEMS if problem in found}

    def count(self, problem: str) -> int:
        return sum(finding.problem == problem for finding in self.all)

    @property
    def rows_left_out(self) -> dict[str, int]:
        """Rows that become no prompt, by the problem that removes them."""
        counts = {problem: self.count(problem) for problem in sorted(REMOVES_ROW)}
        return {problem: count for problem, count in counts.items() if count}

    def content(self) -> list[dict[str, Any]]:
        return [
            {
                "problem": problem,
                "what": PROBLEMS[problem].what,
                "done": PROBLEMS[problem].done,
                "count": len(found),
                "examples": [finding._asdict() for finding in found[:EXAMPLES]],
            }
            for problem, found in self.by_problem().items()
        ]

    def table(self) -> list[str]:
        """A line per problem: how often, what, what was done, where for example."""
        lines = [
            (str(len(found)), PROBLEMS[name].what, PROBLEMS[name].done, _examples(found))
            for name, found in self.by_problem().items()
        ]
        if not lines:
            return ["Nothing wrong was found in the file."]
        head = ("count", "found in the file", "what was done", "for example")
        return _grid([head, *lines])

    def write(self, path: Path) -> None:
        """Every finding as CSV. Raises UnusableDataError when the file cannot be written."""
        try:
            with path.open("w", newline="", encoding="utf-8") as file:
                writer = csv.writer(file)
                writer.writerow(["row", "participant", "problem", "column", "value", "done"])
                for problem, row, participant, column, value in self.all:
                    done = PROBLEMS[problem].done
                    cells = [participant, problem, column, value, done]
                    writer.writerow([row, *map(guarded, cells)])
        except OSError as error:
            message = f"--report {str(path)!r} cannot be written: {error.strerror}."
            raise UnusableDataError(message) from error


def _examples(found: Sequence[Finding]) -> str:
    shown = [f"row {f.row}{f' ({f.value})' if f.value else ''}" for f in found[:EXAMPLES]]
    return ", ".join(shown) + (" …" if len(found) > EXAMPLES else "")


def _grid(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  ".join([row[0].rjust(widths[0]), *map(str.ljust, row[1:], widths[1:])]).rstrip()
        for row in rows
    ]
