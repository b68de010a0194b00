"""Read a CSV file of EMA data, one row per prompt: its columns and the rows asked for."""

import csv
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from analytics.csv_rows import UnusableDataError, WrongOptionError
from analytics.replay.findings import Findings

ROLES = ("stress", "craving", "pain")
SHOWN_VALUES = 12


@dataclass(frozen=True)
class Columns:
    """Which column of the file is what; None where the file has none."""

    participant: str
    stress: str
    craving: str
    pain: str | None = None
    arm: str | None = None
    day: str | None = None
    prompt: str | None = None
    status: str | None = None
    at: str | None = None
    answered_at: str | None = None
    planned_at: str | None = None

    def named(self) -> dict[str, str]:
        """The columns by the option that names them."""
        return {
            f"--{name.replace('_', '-')}": column
            for name, column in vars(self).items()
            if column is not None
        }

    @property
    def items(self) -> dict[str, str]:
        """The columns of ratings by their role."""
        return {role: column for role in ROLES if (column := getattr(self, role)) is not None}


@dataclass(frozen=True)
class Row:
    """One row as the file has it; `number` counts as a spreadsheet does: the header is row 1."""

    number: int
    cells: Mapping[str, str]

    def __getitem__(self, column: str) -> str:
        return self.cells.get(column, "")


@dataclass(frozen=True)
class Selection:
    """The rows that meet every --where, of how many."""

    header: tuple[str, ...]
    rows: tuple[Row, ...]
    rows_in_file: int


def select_rows(
    path: Path, columns: Columns, where: Sequence[str], findings: Findings
) -> Selection:
    """The rows to use. Raises WrongOptionError where the file lacks what an option names."""
    _refuse_one_column_for_two(columns)
    header, rows = _read(path, findings)
    for option, column in columns.named().items():
        _refuse_missing_column(option, column, header)
    selected = rows
    for condition in where:
        selected = _where(selected, condition, header)
    if not rows:
        raise UnusableDataError(f"{path.name} has a header but no rows.")
    return Selection(tuple(header), tuple(selected), len(rows))


def _read(path: Path, findings: Findings) -> tuple[list[str], list[Row]]:
    if not path.is_file():
        raise WrongOptionError(f"there is no file {str(path)!r}: give the path of a CSV file")
    raw = path.read_bytes().replace(b"\0", b"")
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = raw.decode("cp1252", errors="replace")
        findings.add("not_utf8", 1)
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    try:
        lines = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise UnusableDataError(f"{path.name} is not a CSV file: {error}") from error
    if not lines or not any(lines[0]):
        raise UnusableDataError(f"{path.name} is empty: its first row must name the columns")
    header = [name.strip() for name in lines[0]]
    rows = [
        _row(number, header, cells, findings)
        for number, cells in enumerate(lines[1:], start=2)
        if any(cells)
    ]
    return header, rows


def _row(number: int, header: Sequence[str], cells: Sequence[str], findings: Findings) -> Row:
    if len(cells) != len(header):
        problem = "cells_missing" if len(cells) < len(header) else "cells_extra"
        findings.add(problem, number, value=f"{len(cells)} of {len(header)}")
    return Row(number, {n: cell.strip() for n, cell in zip(header, cells, strict=False)})


def _refuse_one_column_for_two(columns: Columns) -> None:
    seen: dict[str, str] = {}
    for option, column in columns.named().items():
        if column in seen:
            raise WrongOptionError(
                f"{seen[column]} and {option} are both column {column!r}: they must differ"
            )
        seen[column] = option


def _refuse_missing_column(option: str, column: str, header: Sequence[str]) -> None:
    if header.count(column) == 1:
        return
    problem = "is there twice" if column in header else "is not there"
    raise WrongOptionError(
        f"{option}: column {column!r} {problem}; the file has {', '.join(header)}"
    )


def _where(rows: list[Row], condition: str, header: Sequence[str]) -> list[Row]:
    column, equals, value = condition.partition("=")
    if not equals:
        raise WrongOptionError(f"--where {condition!r} is not of the form COLUMN=VALUE")
    _refuse_missing_column(f"--where {condition}", column, header)
    left = [row for row in rows if row[column] == value]
    if not left:
        there = sorted({row[column] for row in rows})
        raise WrongOptionError(
            f"--where {condition} leaves no rows: {column!r} has {listed(there)}"
        )
    return left


def listed(values: Sequence[str]) -> str:
    """Values for a message: the first dozen, and how many more there are."""
    if not values:
        return "no value"
    more = f" and {len(values) - SHOWN_VALUES} more" if len(values) > SHOWN_VALUES else ""
    return ", ".join(value or "(empty)" for value in values[:SHOWN_VALUES]) + more
