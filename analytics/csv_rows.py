"""One CSV file of an EMA study, from its rows to the comparison of its arms.

A file has one row per prompt and a header. Rows without values (missed prompts, padding) are
counted by reason and left out. Ratings with up to six decimals are turned into integers and a
scale, so that their sums are exact.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from math import isfinite
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from analytics.file_options import (
    UnusableDataError,
    WrongOptionError,
    listed,
    refuse_missing_column,
    refuse_one_column_for_two,
    rows_where,
)
from analytics.mixed_model import fit_mixed_model
from analytics.moments import Moments
from analytics.personal import personal_couplings
from analytics.report import comparison_report
from analytics.summing import Sums

MISSING = frozenset({"", "NA", "NaN", "nan"})
_MOST_DECIMALS = 6

Line: TypeAlias = tuple[int, list[str]]  # a row and its number


@dataclass(frozen=True)
class Columns:
    """Which column of the file is what; ``arm`` None: no arm model."""

    participant: str
    stress: str
    craving: str
    arm: str | None = None

    def named(self) -> dict[str, str]:
        """The columns by the option that names them."""
        options = {
            "--participant": self.participant,
            "--stress": self.stress,
            "--craving": self.craving,
            "--arm": self.arm,
        }
        return {option: column for option, column in options.items() if column is not None}


@dataclass(frozen=True)
class Pairs:
    """Complete pairs of one file.

    stress and craving (length N) are integers to be divided by their scale, or floats with scale
    1. arm_of: participants with an arm (empty without an arm column); all_arms: every arm named
    in the rows selected. excluded: rows selected but left out, by reason; their number and the
    pairs' add up to the rows selected.
    """

    participant: list[str]
    stress: Sums
    craving: Sums
    stress_scale: int
    craving_scale: int
    arm_of: dict[str, str]
    all_arms: tuple[str, ...]
    excluded: dict[str, int]


def compare_file(
    path: Path,
    columns: Columns,
    *,
    reference: str | None = None,
    where: Sequence[str] = (),
    participants: bool = False,
) -> dict[str, Any]:
    """The report of a file's comparison (see ``analytics.report``).

    ``where``: conditions "COLUMN=VALUE", all of which a row must meet. ``participants`` asks for
    everyone's slopes. Raises WrongOptionError or UnusableDataError, in one sentence.
    """
    if (columns.arm is None) != (reference is None):
        missing = "--reference" if reference is None else "--arm"
        raise WrongOptionError(f"--arm and --reference go together: {missing} is missing")
    pairs = read_pairs(path, columns, where)
    if columns.arm is not None and reference not in pairs.all_arms:
        raise WrongOptionError(
            f"--reference {reference!r} is not an arm: column {columns.arm!r} has "
            f"{listed(pairs.all_arms)}"
        )
    try:
        return _report(pairs, columns.arm is not None, reference, participants)
    except ValueError as error:
        raise UnusableDataError(
            f"{path.name}: {error} (stress is column {columns.stress!r}, "
            f"craving column {columns.craving!r})"
        ) from error


def read_pairs(path: Path, columns: Columns, where: Sequence[str] = ()) -> Pairs:
    """Read the rows that meet every condition; raises WrongOptionError or UnusableDataError."""
    refuse_one_column_for_two(columns.named())
    header, lines = _read(path)

    def cell(line: Line, column: str) -> str:
        return line[1][header.index(column)]

    for option, column in columns.named().items():
        refuse_missing_column(option, column, header)
    selected = lines
    for condition in where:
        selected = rows_where(selected, condition, header, cell)
    at = {option: header.index(column) for option, column in columns.named().items()}
    arm_of = _arms(selected, at) if columns.arm is not None else {}
    kept, excluded = _complete(selected, at, columns, arm_of)
    if not kept:
        raise UnusableDataError(
            f"{path.name}: no row has a participant with both {columns.stress!r} and "
            f"{columns.craving!r} (rows left out: {_counted(excluded)})"
        )
    participant, stress_cells, craving_cells = (list(column) for column in zip(*kept, strict=True))
    stress, stress_scale = _whole(stress_cells)
    craving, craving_scale = _whole(craving_cells)
    return Pairs(
        participant=participant,
        stress=stress,
        craving=craving,
        stress_scale=stress_scale,
        craving_scale=craving_scale,
        arm_of=arm_of,
        all_arms=tuple(sorted(set(arm_of.values()))),
        excluded=dict(sorted(excluded.items())),
    )


def _complete(
    lines: Iterable[Line], at: Mapping[str, int], columns: Columns, arm_of: Mapping[str, str]
) -> tuple[list[tuple[str, str, str]], Counter[str]]:
    """Participant, stress and craving cells of complete pairs; the other rows by reason."""
    kept: list[tuple[str, str, str]] = []
    excluded: Counter[str] = Counter()
    for number, row in lines:
        participant, x, y = (row[at[o]] for o in ("--participant", "--stress", "--craving"))
        _refuse_words(x, number, columns.stress)
        _refuse_words(y, number, columns.craving)
        reason = _missing(participant, x, y)
        if reason is None and columns.arm is not None and participant not in arm_of:
            reason = "missing_arm"
        if reason is None:
            kept.append((participant, x, y))
        else:
            excluded[reason] += 1
    return kept, excluded


def _report(
    pairs: Pairs, with_arms: bool, reference: str | None, participants: bool
) -> dict[str, Any]:
    moments = Moments.from_rows(pairs.participant, pairs.stress, pairs.craving)
    x_scale, y_scale = pairs.stress_scale, pairs.craving_scale
    model = fit_mixed_model(
        moments,
        pairs.arm_of if with_arms else None,
        reference,
        all_arms=pairs.all_arms,
        x_scale=x_scale,
        y_scale=y_scale,
    )
    personal = personal_couplings(moments, x_scale=x_scale, y_scale=y_scale)
    return comparison_report(
        model, excluded=pairs.excluded, personal=personal if participants else None
    )


def _read(path: Path) -> tuple[list[str], list[Line]]:
    """The header, and the rows numbered as a spreadsheet does: the header is row 1."""
    if not path.is_file():
        raise WrongOptionError(f"there is no file {str(path)!r}: give the path of a CSV file")
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError:
        raise UnusableDataError(f"{path.name} is not UTF-8 text: save it as CSV (UTF-8)") from None
    first = text.partition("\n")[0]
    delimiter = max(",;\t", key=first.count)
    lines = list(enumerate(csv.reader(text.splitlines(), delimiter=delimiter), start=1))
    if not lines or not any(lines[0][1]):
        raise UnusableDataError(f"{path.name} is empty: its first row must name the columns")
    header = [name.strip() for name in lines[0][1]]
    return header, list(_full_rows(path, header, lines[1:]))


def _full_rows(path: Path, header: list[str], lines: Iterable[Line]) -> Iterator[Line]:
    for number, row in lines:
        if not row:
            continue
        if len(row) != len(header):
            raise UnusableDataError(
                f"{path.name}, row {number}: {len(row)} cells, but the header has {len(header)}"
            )
        yield number, [cell.strip() for cell in row]


def _arms(lines: Iterable[Line], at: Mapping[str, int]) -> dict[str, str]:
    """The arm of each participant; rows may leave it out, but not contradict each other."""
    arm_of: dict[str, str] = {}
    for number, row in lines:
        participant, arm = row[at["--participant"]], row[at["--arm"]]
        if participant in MISSING or arm in MISSING:
            continue
        if arm_of.setdefault(participant, arm) != arm:
            raise UnusableDataError(
                f"row {number}: participant {participant!r} is in arm {arm!r}, but was in "
                f"{arm_of[participant]!r} before; a participant has one arm"
            )
    return arm_of


def _refuse_words(cell: str, number: int, column: str) -> None:
    """Raise UnusableDataError for a cell that is neither missing nor a finite number."""
    if cell in MISSING:
        return
    try:
        fine = isfinite(float(cell))
    except ValueError:
        fine = False
    if not fine:
        raise UnusableDataError(
            f"row {number}, column {column!r}: {cell!r} is not a number "
            "(decimals take a point, a missing value is an empty cell)"
        )


def _missing(participant: str, stress: str, craving: str) -> str | None:
    """Why a row is no pair, or None."""
    if participant in MISSING:
        return "missing_participant"
    if stress in MISSING:
        return "missing_stress_and_craving" if craving in MISSING else "missing_stress"
    return "missing_craving" if craving in MISSING else None


def _whole(cells: Sequence[str]) -> tuple[Sums, int]:
    """The numbers as integers and the scale that divides them, or as they are with scale 1."""
    column = np.array([float(cell) for cell in cells])
    decimals = max(len(cell.partition(".")[2].rstrip("0")) for cell in cells)
    exponents = any("e" in cell.lower() for cell in cells)
    if exponents or decimals > _MOST_DECIMALS:
        return column, 1
    scale = 10**decimals
    # Sums of squares must fit in 64 bits.
    if len(cells) * (float(np.abs(column).max()) * scale) ** 2 > 2.0**60:
        return column, 1
    return np.rint(column * scale).astype(np.int64), scale


def _counted(excluded: Mapping[str, int]) -> str:
    return ", ".join(f"{n} {reason.replace('_', ' ')}" for reason, n in excluded.items()) or "none"
