"""Read a table's CSV back, for the other formats: they hold the same, without the guard."""

import csv
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from analytics.datasets.columns import (
    DAY,
    GUARDED,
    INSTANT,
    LOCAL,
    NUMBER,
    TEXT,
    WHOLE,
    Column,
)

if TYPE_CHECKING:
    import pyarrow

BLOCK = 1 << 18  # bytes of CSV that become one batch; a few are read ahead
guard = re.compile(f"'+[{GUARDED}]")
Cells = list[str | None]


@dataclass(frozen=True)
class Written:
    """A table of a package, as its CSV has it."""

    name: str
    row: str
    columns: Sequence[Column]
    key: Sequence[str]
    rows: int
    path: Path


def cells(table: Written) -> Iterator[Cells]:
    """Every row, as texts; None is an empty cell."""
    guarded = [place for place, column in enumerate(table.columns) if column.kind == TEXT]
    with table.path.open(newline="", encoding="utf-8") as file:
        lines = csv.reader(file)
        next(lines)
        for line in lines:
            row: Cells = [cell or None for cell in line]
            for place in guarded:
                row[place] = unguarded(row[place])
            yield row


def named_cells(table: Written) -> Iterator[dict[str, str | None]]:
    """The same, each row by the names of its columns."""
    names = [column.name for column in table.columns]
    return (dict(zip(names, row, strict=True)) for row in cells(table))


def unguarded(cell: str | None) -> str | None:
    """A text as it was before a spreadsheet was kept from running it."""
    return cell[1:] if cell is not None and guard.match(cell) else cell


def batches(table: Written) -> Iterator["pyarrow.RecordBatch"]:
    """The rows in typed batches of a quarter of a megabyte; the order of the file."""
    import pyarrow
    import pyarrow.compute
    import pyarrow.csv

    _give_memory_back()
    types = schema(table)
    reader = pyarrow.csv.open_csv(
        table.path,
        read_options=pyarrow.csv.ReadOptions(use_threads=False, block_size=BLOCK),
        parse_options=pyarrow.csv.ParseOptions(newlines_in_values=True),
        convert_options=pyarrow.csv.ConvertOptions(
            column_types=types, null_values=[""], strings_can_be_null=True
        ),
    )
    for batch in reader:
        arrays = [
            pyarrow.compute.replace_substring_regex(array, f"^'('*[{GUARDED}])", r"\1")
            if column.kind == TEXT
            else array
            for array, column in zip(batch.columns, table.columns, strict=True)
        ]
        yield pyarrow.record_batch(arrays, schema=types)


def _give_memory_back() -> None:
    """Have pyarrow keep no memory that it has freed, so that a larger study needs no more of it.

    Of its allocators only jemalloc can; where a build of pyarrow lacks it, the default one stays.
    """
    import pyarrow

    with suppress(NotImplementedError):
        pyarrow.set_memory_pool(pyarrow.jemalloc_memory_pool())
        pyarrow.jemalloc_set_decay_ms(0)


def schema(table: Written) -> "pyarrow.Schema":
    """Arrow's types of a table's columns; what each means goes with it."""
    import pyarrow

    types = {
        INSTANT: pyarrow.timestamp("us", "UTC"),
        LOCAL: pyarrow.timestamp("us"),
        DAY: pyarrow.date32(),
        WHOLE: pyarrow.int64(),
        NUMBER: pyarrow.float64(),
    }
    return pyarrow.schema(
        pyarrow.field(
            column.name,
            types.get(column.kind, pyarrow.string()),
            metadata={"meaning": column.meaning},
        )
        for column in table.columns
    )
