"""Read a CSV file of EMA data, one row per prompt: its columns and the rows asked for."""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from analytics.file_options import (
    UnusableDataError,
    WrongOptionError,
    refuse_missing_column,
    refuse_one_column_for_two,
    rows_where,
)
from analytics.replay.findings import Findings

NO_TEXT = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")  # control bytes: a binary file
ROLES = ("stress", "craving", "pain")


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
    refuse_one_column_for_two(columns.named())
    header, rows = _read(path, findings)
    for option, column in columns.named().items():
        refuse_missing_column(option, column, header)
    selected = rows
    for condition in where:
        selected = rows_where(selected, condition, header, Row.__getitem__)
    if not rows:
        raise UnusableDataError(f"{path.name} has a header but no rows.")
    return Selection(tuple(header), tuple(selected), len(rows))


def _read(path: Path, findings: Findings) -> tuple[list[str], list[Row]]:
    if not path.is_file():
        raise WrongOptionError(f"there is no file {str(path)!r}: give the path of a CSV file")
    text = _text(path, findings)
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


def _text(path: Path, findings: Findings) -> str:
    """UTF-8, or Windows-1252 with a finding; bytes that are neither are refused, not shown."""
    try:
        raw = path.read_bytes()
    except OSError as error:
        raise WrongOptionError(f"{str(path)!r} cannot be read: {error.strerror}") from error
    if not NO_TEXT.search(raw):
        for encoding in ("utf-8-sig", "cp1252"):
            with suppress(UnicodeDecodeError):
                text = raw.decode(encoding)
                if encoding == "cp1252":
                    findings.add("not_utf8", 1)
                return text
    raise UnusableDataError(f"{path.name} is not UTF-8 text: save it as CSV (UTF-8)")


def _row(number: int, header: Sequence[str], cells: Sequence[str], findings: Findings) -> Row:
    if len(cells) != len(header):
        problem = "cells_missing" if len(cells) < len(header) else "cells_extra"
        findings.add(problem, number, value=f"{len(cells)} of {len(header)}")
    return Row(number, {n: cell.strip() for n, cell in zip(header, cells, strict=False)})
