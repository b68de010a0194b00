"""Write a snapshot's files: tables streamed by PostgreSQL, other formats from them, explanations.

Everything goes to a draft directory beside the final one and is renamed when it is complete, so
nobody ever sees half a package. Directories are 0700 and files 0600.
"""

import csv
import hashlib
import io
import json
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import connection, transaction

from analytics.datasets import formats
from analytics.datasets.about import About
from analytics.datasets.columns import Scope, Table
from analytics.datasets.draft import Draft, File, Say, silent, sync
from analytics.datasets.reading import Written
from analytics.datasets.tables import TABLES
from analytics.software import software
from ema import studies
from ema.models import QuestionnaireVersion

README = """# {title}: snapshot {identity}

Study `{slug}`, {masking}; moment {moment}.

| file | one row per | rows |
|---|---|---|
{listing}

- `codebook.csv` explains every column of every table, `provenance.json` says what the files were
  made from, `SHA256SUMS` holds their hashes: `sha256sum --check SHA256SUMS`.
- CSV in UTF-8 without a byte order mark; decimals take a point; a missing value is an empty cell.
- Instants are UTC in ISO 8601, dates are local to the participant.
- A text cell that begins with `=`, `+`, `-`, `@`, a tab or a line break, or with apostrophes before
  one of those, has an apostrophe in front, so that no spreadsheet runs it as a formula. Numbers are
  never changed, and other formats have no such apostrophe.
- Answers to a prompt that already had one and self-initiated reports are in `data/responses.csv`
  and not in `data/prompts.csv`; answers after withdrawal are in neither.
- What people wrote in their own words is in no table.
"""


@dataclass(frozen=True)
class Package:
    """A complete package: where it is, rows per table, its files, SHA-256 of its SHA256SUMS."""

    directory: Path
    row_counts: dict[str, int]
    files: dict[str, File]
    sha256: str


def write_package(
    scope: Scope, directory: Path, *, identity: str, others: Sequence[str] = (), say: Say = silent
) -> Package:
    """Write the package to `directory`, or find there the one that is complete already.

    The tables come from one repeatable-read transaction; `others` are formats beside CSV. Raises
    OSError when files cannot be written; nothing is left behind then.
    """
    if (directory / "SHA256SUMS").is_file():
        return read_package(directory)
    directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = directory.with_name(f".{directory.name}.{secrets.token_hex(4)}")
    draft = Draft(place, say)
    draft.directory.mkdir(mode=0o700)
    try:
        _fill(draft, scope, identity, others)
        draft.directory.rename(directory)
    except OSError:
        if not (directory / "SHA256SUMS").is_file():
            raise
    finally:
        shutil.rmtree(draft.directory, ignore_errors=True)
    sync(directory.parent)
    return read_package(directory)


def read_package(directory: Path) -> Package:
    """A package that is there: whoever was first to rename has decided what it holds."""
    provenance = json.loads((directory / "provenance.json").read_text())
    sums = (directory / "SHA256SUMS").read_bytes()
    digest = hashlib.sha256(sums).hexdigest()
    files = {}
    for line in sums.decode().splitlines():
        sha256, name = line.split("  ", 1)
        files[name] = File(sha256, (directory / name).stat().st_size)
    files["SHA256SUMS"] = File(digest, len(sums))
    return Package(directory, provenance["rows"], files, digest)


def codebook(scope: Scope) -> str:
    """One line per column of every table."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["table", "column", "type", "meaning"])
    for table in TABLES:
        for column in table.columns(scope):
            writer.writerow([table.name, column.name, column.kind, column.meaning])
    return text.getvalue()


def _fill(draft: Draft, scope: Scope, identity: str, others: Sequence[str]) -> None:
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute("SET LOCAL extra_float_digits = 1")  # shortest exact decimals
        cursor.execute("SET LOCAL jit = off")
        cursor.execute("SET LOCAL work_mem = '64MB'")  # rows are sorted
        tables = [_copy(cursor, draft, scope, table) for table in TABLES]
        provenance = _provenance(scope, identity, tables)
    about = About(
        study=scope.study.slug,
        title=scope.study.title,
        identity=identity,
        moment=scope.moment,
        masking=scope.masking,
        software=software(),
    )
    for name in others:
        formats.write(name, draft, tables, about)
    draft.write("codebook.csv", [codebook(scope).encode()])
    draft.write("README.md", [_readme(scope, identity, tables).encode()])
    draft.write("provenance.json", [f"{json.dumps(provenance, indent=2)}\n".encode()])
    sums = "".join(f"{file.sha256}  {name}\n" for name, file in sorted(draft.files.items()))
    draft.write("SHA256SUMS", [sums.encode()])
    draft.sync()


def _copy(cursor: Any, draft: Draft, scope: Scope, table: Table) -> Written:
    """Stream one table to its file."""
    select, parameters = table.select(scope)
    statement = f"COPY ({select}) TO STDOUT WITH (FORMAT csv, HEADER, ENCODING 'UTF8')"
    name = f"data/{table.name}.csv"
    with cursor.copy(statement, parameters) as copy:
        draft.write(name, copy)
    return Written(
        name=table.name,
        row=table.row,
        columns=table.columns(scope),
        key=table.key,
        rows=int(cursor.rowcount),
        path=draft.directory / name,
    )


def _provenance(scope: Scope, identity: str, tables: Sequence[Written]) -> dict[str, Any]:
    forms = QuestionnaireVersion.objects.published().filter(questionnaire__study=scope.study)
    return {
        "software": software(),
        "study": scope.study.slug,
        "snapshot": identity,
        "masking": scope.masking,
        "moment": scope.moment.isoformat(),
        "decimals": dict(sorted(studies.decimals_of(scope.study).items())),
        "questionnaires": {str(form): form.sha256 for form in forms.order_by("pk")},
        "rows": {table.name: table.rows for table in tables},
    }


def _readme(scope: Scope, identity: str, tables: Sequence[Written]) -> str:
    return README.format(
        title=scope.study.title,
        identity=identity,
        slug=scope.study.slug,
        masking="unmasked: with arms" if scope.with_arms else "masked: no arm in any table",
        moment=scope.moment.isoformat(),
        listing="\n".join(
            f"| `data/{table.name}.csv` | {table.row} | {table.rows} |" for table in tables
        ),
    )
