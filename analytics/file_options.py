"""What an option may say of a data file: a column it names, the rows a condition keeps."""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

SHOWN_VALUES = 12
R = TypeVar("R")


class WrongOptionError(ValueError):
    """What was asked for is not in the file, or there is no file."""


class UnusableDataError(ValueError):
    """The file holds something the analysis cannot use."""


def refuse_one_column_for_two(named: Mapping[str, str]) -> None:
    """`named` holds the column that each option names."""
    seen: dict[str, str] = {}
    for option, column in named.items():
        if column in seen:
            raise WrongOptionError(
                f"{seen[column]} and {option} are both column {column!r}: they must differ"
            )
        seen[column] = option


def refuse_missing_column(option: str, column: str, header: Sequence[str]) -> None:
    if header.count(column) == 1:
        return
    problem = "is there twice" if column in header else "is not there"
    raise WrongOptionError(
        f"{option}: column {column!r} {problem}; the file has {', '.join(header)}"
    )


def rows_where(
    rows: list[R], condition: str, header: Sequence[str], cell: Callable[[R, str], str]
) -> list[R]:
    """The rows that meet COLUMN=VALUE; `cell` finds a row's value in a column."""
    column, equals, value = condition.partition("=")
    if not equals:
        raise WrongOptionError(f"--where {condition!r} is not of the form COLUMN=VALUE")
    refuse_missing_column(f"--where {condition}", column, header)
    left = [row for row in rows if cell(row, column) == value]
    if not left:
        there = listed(sorted({cell(row, column) for row in rows}))
        raise WrongOptionError(f"--where {condition} leaves no rows: {column!r} has {there}")
    return left


def listed(values: Sequence[str]) -> str:
    """Values for a message: the first dozen, and how many more there are."""
    if not values:
        return "no value"
    more = f" and {len(values) - SHOWN_VALUES} more" if len(values) > SHOWN_VALUES else ""
    return ", ".join(value or "(empty)" for value in values[:SHOWN_VALUES]) + more
