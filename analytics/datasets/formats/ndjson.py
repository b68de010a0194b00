"""NDJSON: a JSON object a line. Numbers have the digits of the CSV; an empty cell is null."""

from collections.abc import Iterator, Sequence

import msgspec

from analytics.datasets.about import About
from analytics.datasets.columns import NUMBER, WHOLE
from analytics.datasets.draft import Draft
from analytics.datasets.reading import Written, cells


def write(draft: Draft, tables: Sequence[Written], about: About) -> None:
    for table in tables:
        draft.write(f"data/{table.name}.ndjson", lines(table))


def lines(table: Written) -> Iterator[bytes]:
    names = [msgspec.json.encode(column.name) + b":" for column in table.columns]
    plain = [column.kind in (WHOLE, NUMBER) for column in table.columns]
    for row in cells(table):
        values = zip(names, row, plain, strict=True)
        yield b"{" + b",".join(name + value(cell, bare) for name, cell, bare in values) + b"}\n"


def value(cell: str | None, bare: bool) -> bytes:
    """A cell as JSON; a number is taken over as it is written."""
    if cell is None:
        return b"null"
    return cell.encode() if bare else msgspec.json.encode(cell)
