"""What SPSS and Stata files have in common: fixed widths, numbers as doubles, reasons of missing.

Both are written here, in batches: the libraries that could write them want a table in memory and a
data frame package, and put the clock into the file.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np

from analytics.datasets.columns import DAY, INSTANT, LOCAL, NUMBER, TEXT, WHOLE, WORD, Column
from analytics.datasets.reading import Written, batches

if TYPE_CHECKING:
    import pyarrow

NO_ANSWER, NO_VALUE = "the prompt was not answered", "the prompt was answered, the item was not"
UNANSWERED = ("answered", "answered_late")
Floats = np.ndarray[Any, np.dtype[np.float64]]
Strings = np.ndarray[Any, np.dtype[np.bytes_]]


@dataclass(frozen=True)
class Field:
    """A column as such a file has it; `width` is 0 for a number, else bytes of its longest text."""

    name: str
    column: Column
    width: int

    @property
    def is_text(self) -> bool:
        return self.column.kind in (TEXT, WORD)

    @cached_property
    def labels(self) -> list[tuple[int | str, str]]:
        """Values and what they mean: whole numbers of a number, texts of a text."""
        given = self.column.labels.items()
        if self.is_text:
            return [(value, label) for value, label in given if len(value.encode()) <= self.width]
        return [(int(value), label) for value, label in given]


def fields_of(table: Written, name: Callable[[str], str]) -> list[Field]:
    """The columns with the widths of what is in them: the first of two readings."""
    widths = dict.fromkeys((c.name for c in table.columns if c.kind in (TEXT, WORD)), 1)
    for batch in batches(table):
        for column in widths:
            widths[column] = max(widths[column], _longest(batch.column(column)))
    names = unique([name(column.name) for column in table.columns])
    return [
        Field(safe, column, widths.get(column.name, 0))
        for safe, column in zip(names, table.columns, strict=True)
    ]


def _longest(texts: "pyarrow.Array") -> int:
    import pyarrow.compute

    return pyarrow.compute.max(pyarrow.compute.binary_length(texts)).as_py() or 0


def named(name: str, *, longest: int, reserved: Sequence[str]) -> str:
    """A name that a program takes: letters, digits and _; not one of its own words."""
    safe = re.sub(r"\W", "_", name, flags=re.ASCII)[:longest]
    return f"{safe[: longest - 1]}_" if safe.lower() in reserved else safe


def unique(names: Sequence[str]) -> list[str]:
    """The same, numbered where cutting or upper case would make two alike."""
    seen: set[str] = set()
    found = []
    for name in names:
        number, one = 2, name
        while one.lower() in seen:
            one, number = f"{name[:28]}_{number}", number + 1
        seen.add(one.lower())
        found.append(one)
    return found


def strings(array: "pyarrow.Array", width: int) -> Strings:
    """Texts as bytes of a fixed width, filled up with zeros."""
    import pyarrow.compute

    filled = pyarrow.compute.fill_null(array, "").cast("binary")
    return np.array(filled.to_pylist(), dtype=f"S{width}")


def numbers(array: "pyarrow.Array", kind: str, *, epoch: int, per_second: int) -> Floats:
    """Numbers, or seconds (times per_second) or days since an epoch, given in days before 1970."""
    import pyarrow
    import pyarrow.compute

    known = np.asarray(pyarrow.compute.is_valid(array).to_numpy(zero_copy_only=False))
    if kind in (INSTANT, LOCAL):
        whole = pyarrow.compute.fill_null(array.cast(pyarrow.int64()), 0).to_numpy()
        found = (whole + epoch * 86_400_000_000) / (1_000_000 / per_second)
    elif kind == DAY:
        whole = pyarrow.compute.fill_null(array.cast(pyarrow.int32()), 0).to_numpy()
        found = (whole + epoch).astype(np.float64)
    else:
        assert kind in (WHOLE, NUMBER), kind  # noqa: S101 - every kind of column is here
        found = pyarrow.compute.fill_null(array.cast(pyarrow.float64()), 0.0).to_numpy()
    return np.where(known, found, np.nan)


def reasons(batch: "pyarrow.RecordBatch", table: Written) -> Any:
    """Of every row of prompts, whether the prompt was answered; None in other tables."""
    if not any(column.is_item for column in table.columns):
        return None
    return np.isin(np.array(batch.column("status").to_pylist()), UNANSWERED)


def records(
    table: Written, row: np.dtype[Any], fill: Callable[[Any, "pyarrow.RecordBatch"], None]
) -> Iterator[bytes]:
    """The rows as the bytes of structured arrays, batch by batch."""
    for batch in batches(table):
        array = np.zeros(len(batch), dtype=row)
        fill(array, batch)
        yield array.tobytes()
