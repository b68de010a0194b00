"""`CHANGELOG.md`: what is in a package and was not in the one before, row by row.

Both tables are in the order of their keys, so they are walked through side by side.
"""

import csv
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from analytics.datasets.columns import NUMBER, WHOLE
from analytics.datasets.reading import Written, unguarded

Key = tuple[str | float, ...]


class Changes(NamedTuple):
    """Rows of one table; columns that are new or gone are compared in no row."""

    added: int
    changed: int
    removed: int
    new_columns: list[str]
    lost_columns: list[str]


def changelog(tables: Sequence[Written], before: Path | None) -> str:
    """What changed since the package in `before`; None where there is none."""
    if before is None:
        return "# Changes\n\nThere is no earlier snapshot of the same kind: everything is new.\n"
    lines = [
        f"# Changes since {before.name}",
        "",
        "| table | rows added | changed | removed | columns |",
        "|---|---|---|---|---|",
    ]
    for table in tables:
        path = before / "data" / f"{table.name}.csv"
        if not path.is_file():
            lines.append(f"| `{table.name}` | {table.rows} | 0 | 0 | new table |")
            continue
        found = compare(table, path)
        columns = [f"+ `{name}`" for name in found.new_columns]
        columns += [f"− `{name}`" for name in found.lost_columns]
        lines.append(
            f"| `{table.name}` | {found.added} | {found.changed} | {found.removed} "
            f"| {', '.join(columns)} |"
        )
    return "\n".join([*lines, ""])


def compare(table: Written, before: Path) -> Changes:
    """Walk through both files at once; a row is the same row where its key is."""
    names = [column.name for column in table.columns]
    added = changed = removed = 0
    with before.open(newline="", encoding="utf-8") as old_file:
        old_names = next(csv.reader(old_file))
    shared = [name for name in names if name in old_names]
    if not set(table.key) <= set(shared):
        return Changes(table.rows, 0, _rows(before), names, old_names)
    new, old = _keyed(table, table.path, shared), _keyed(table, before, shared)
    a, b = next(new, None), next(old, None)
    while a is not None or b is not None:
        if b is None or (a is not None and a[0] < b[0]):
            added, a = added + 1, next(new, None)
        elif a is None or b[0] < a[0]:
            removed, b = removed + 1, next(old, None)
        else:
            changed += a[1] != b[1]
            a, b = next(new, None), next(old, None)
    lost = [name for name in old_names if name not in names]
    return Changes(added, changed, removed, [n for n in names if n not in old_names], lost)


def _rows(path: Path) -> int:
    with path.open(newline="", encoding="utf-8") as file:
        return sum(1 for _ in csv.reader(file)) - 1


def _keyed(table: Written, path: Path, shared: Sequence[str]) -> Iterator[tuple[Key, list[str]]]:
    """Key and shared cells of every row; numbers in a key are ordered as numbers, texts by bytes.

    The guard's apostrophe goes before the order is looked at, as the database ordered without it.
    """
    kinds = {column.name: column.kind for column in table.columns}
    numeric = [kinds[name] in (WHOLE, NUMBER) for name in table.key]
    with path.open(newline="", encoding="utf-8") as file:
        lines = csv.reader(file)
        header = next(lines)
        places = [header.index(name) for name in table.key]
        cells = [header.index(name) for name in shared]
        for line in lines:
            key = (line[place] for place in places)
            yield (
                tuple(
                    float(cell) if is_number else unguarded(cell) or ""
                    for cell, is_number in zip(key, numeric, strict=True)
                ),
                [line[place] for place in cells],
            )
