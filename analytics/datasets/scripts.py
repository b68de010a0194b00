"""`read.py` and `read.R`: scripts that load a package, as it is, without this software."""

from collections.abc import Sequence
from pathlib import Path

from analytics.datasets.metadata import TYPES
from analytics.datasets.reading import Written

READERS = Path(__file__).parent / "readers"


def python_script() -> bytes:
    """The same for every package: it reads the types from datapackage.json."""
    return (READERS / "read.py").read_bytes()


def r_script(tables: Sequence[Written], reference: str | None) -> bytes:
    """With the types written into it, as base R reads no JSON."""
    listed = ",\n".join(f"  {table.name} = c({_types(table)})" for table in tables)
    named = "NULL" if reference is None else _quoted(reference)
    script = (READERS / "read.R").read_text()
    return script.replace("@TYPES@", listed).replace("@REFERENCE@", named).encode()


def _types(table: Written) -> str:
    string = {"type": "string"}
    pairs = [f'{c.name} = "{TYPES.get(c.kind, string)["type"]}"' for c in table.columns]
    lines = [", ".join(pairs[start : start + 3]) for start in range(0, len(pairs), 3)]
    return ",\n    ".join(lines)


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'
