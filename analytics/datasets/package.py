"""Write a snapshot's files: tables streamed by PostgreSQL, codebook, README, provenance, hashes.

Everything goes to a draft directory beside the final one and is renamed when it is complete, so
nobody ever sees half a package. Directories are 0700 and files 0600.
"""

import csv
import hashlib
import io
import json
import os
import secrets
import shutil
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.db import connection, transaction

from analytics.datasets.columns import Scope
from analytics.datasets.tables import TABLES
from analytics.software import software
from ema import studies
from ema.models import QuestionnaireVersion

FILES = (
    *(f"data/{table.name}.csv" for table in TABLES),
    "codebook.csv",
    "README.md",
    "provenance.json",
    "SHA256SUMS",
)

README = """# {title}: snapshot {identity}

Study `{slug}`, {masking}; moment {moment}.

| file | one row per | rows |
|---|---|---|
{listing}

- `codebook.csv` explains every column of every table, `provenance.json` says what the files were
  made from, `SHA256SUMS` holds their hashes: `sha256sum --check SHA256SUMS`.
- CSV in UTF-8 without a byte order mark; decimals take a point; a missing value is an empty cell.
- Instants are UTC in ISO 8601, dates are local to the participant.
- A text cell that begins with `=`, `+`, `-`, `@`, a tab or a line break has an apostrophe in
  front, so that no spreadsheet runs it as a formula. Numbers are never changed.
- Answers to a prompt that already had one and self-initiated reports are in `data/responses.csv`
  and not in `data/prompts.csv`; answers after withdrawal are in neither.
- What people wrote in their own words is in no table.
"""


@dataclass
class Draft:
    """A directory in the making, and the hash of every file in it."""

    directory: Path
    hashes: dict[str, str] = field(default_factory=dict)

    def write(self, name: str, blocks: Iterable[bytes | memoryview]) -> None:
        path = self.directory / name
        path.parent.mkdir(mode=0o700, exist_ok=True)
        digest = hashlib.sha256()
        with open(path, "xb", opener=_private) as file:
            for block in blocks:
                digest.update(block)
                file.write(block)
            file.flush()
            os.fsync(file.fileno())
        self.hashes[name] = digest.hexdigest()


@dataclass(frozen=True)
class Package:
    """A complete package: where it is, rows per table, SHA-256 of its SHA256SUMS."""

    directory: Path
    row_counts: dict[str, int]
    sha256: str


def write_package(scope: Scope, directory: Path, *, identity: str) -> Package:
    """Write the package to `directory`, or find there the one that is complete already.

    The tables come from one repeatable-read transaction. Raises OSError when files cannot be
    written; nothing is left behind then.
    """
    if (directory / "SHA256SUMS").is_file():
        return read_package(directory)
    directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    draft = Draft(directory.with_name(f".{directory.name}.{secrets.token_hex(4)}"))
    draft.directory.mkdir(mode=0o700)
    try:
        _fill(draft, scope, identity)
        draft.directory.rename(directory)
    except OSError:
        if not (directory / "SHA256SUMS").is_file():
            raise
    finally:
        shutil.rmtree(draft.directory, ignore_errors=True)
    _sync(directory.parent)
    return read_package(directory)


def read_package(directory: Path) -> Package:
    """A package that is there: whoever was first to rename has decided what it holds."""
    provenance = json.loads((directory / "provenance.json").read_text())
    digest = hashlib.sha256((directory / "SHA256SUMS").read_bytes()).hexdigest()
    return Package(directory, provenance["rows"], digest)


def codebook(scope: Scope) -> str:
    """One line per column of every table."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["table", "column", "type", "meaning"])
    for table in TABLES:
        for column in table.columns(scope):
            writer.writerow([table.name, column.name, column.kind, column.meaning])
    return text.getvalue()


def _fill(draft: Draft, scope: Scope, identity: str) -> None:
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute("SET LOCAL extra_float_digits = 1")  # shortest exact decimals
        cursor.execute("SET LOCAL jit = off")
        cursor.execute("SET LOCAL work_mem = '64MB'")  # rows are sorted
        rows = {
            table.name: _copy(cursor, draft, table.name, *table.select(scope)) for table in TABLES
        }
        provenance = _provenance(scope, identity, rows)
    draft.write("codebook.csv", [codebook(scope).encode()])
    draft.write("README.md", [_readme(scope, identity, rows).encode()])
    draft.write("provenance.json", [f"{json.dumps(provenance, indent=2)}\n".encode()])
    sums = "".join(f"{digest}  {name}\n" for name, digest in sorted(draft.hashes.items()))
    draft.write("SHA256SUMS", [sums.encode()])
    _sync(draft.directory / "data")
    _sync(draft.directory)


def _copy(cursor: Any, draft: Draft, name: str, select: str, parameters: Any) -> int:
    """Stream one table to its file; the number of its rows."""
    statement = f"COPY ({select}) TO STDOUT WITH (FORMAT csv, HEADER, ENCODING 'UTF8')"
    with cursor.copy(statement, parameters) as copy:
        draft.write(f"data/{name}.csv", copy)
    return int(cursor.rowcount)


def _provenance(scope: Scope, identity: str, rows: dict[str, int]) -> dict[str, Any]:
    forms = QuestionnaireVersion.objects.published().filter(questionnaire__study=scope.study)
    return {
        "software": software(),
        "study": scope.study.slug,
        "snapshot": identity,
        "masking": scope.masking,
        "moment": scope.moment.isoformat(),
        "decimals": dict(sorted(studies.decimals_of(scope.study).items())),
        "questionnaires": {str(form): form.sha256 for form in forms.order_by("pk")},
        "rows": rows,
    }


def _readme(scope: Scope, identity: str, rows: dict[str, int]) -> str:
    return README.format(
        title=scope.study.title,
        identity=identity,
        slug=scope.study.slug,
        masking="unmasked: with arms" if scope.with_arms else "masked: no arm in any table",
        moment=scope.moment.isoformat(),
        listing="\n".join(
            f"| `data/{table.name}.csv` | {table.row} | {rows[table.name]} |" for table in TABLES
        ),
    )


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _sync(directory: Path) -> None:
    """Have the directory's names on disk, as the files' contents are."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
