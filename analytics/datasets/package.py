"""Write a snapshot's files: tables streamed by PostgreSQL, other formats from them, explanations.

Everything goes to a draft directory beside the final one and is renamed when it is complete, so
nobody ever sees half a package. Directories are 0700 and files 0600.
"""

import hashlib
import json
import secrets
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.db import connection, transaction

from analytics.datasets import cremas, formats, metadata
from analytics.datasets.about import About
from analytics.datasets.changes import changelog
from analytics.datasets.columns import Scope, Table
from analytics.datasets.draft import Draft, File, Say, silent, sync
from analytics.datasets.ledger import ledger, schedule
from analytics.datasets.provenance import provenance, reference_arm
from analytics.datasets.reading import Written
from analytics.datasets.scripts import python_script, r_script
from analytics.datasets.small_cells import warnings_of
from analytics.datasets.tables import tables_of
from analytics.models import Deidentified, SnapshotMasking
from analytics.software import software

README = """# {title}: snapshot {identity}

Study `{slug}`; {masking}; {released}. Moment {moment}.

| file | one row per | rows |
|---|---|---|
{listing}

- `codebook.html` and `codebook.csv` explain every column of every table, `CHANGELOG.md` says what
  is new since the snapshot before, `provenance.json` what the files were made from; `SHA256SUMS`
  holds their hashes: `sha256sum --check SHA256SUMS`.
- `read.py` and `read.R` load every table with its types and fit the coupling comparison again.
- `CREMAS.md` has the numbers that reports of such studies give: prompts, compliance, attrition;
  and the ledger: what became of every scheduled prompt, and how many there must be by the seed.
- For programs: `datapackage.json` (Frictionless), `dataset_description.json` (Psych-DS),
  `openesm_metadata.json`.
- CSV in UTF-8 without a byte order mark; decimals take a point; a missing value is an empty cell.
- Instants (`_at_utc`) are UTC in ISO 8601; dates, `_local`, `_time` are by the participant's clock.
- A text cell that begins with `=`, `+`, `-`, `@`, a tab or a line break, or with apostrophes before
  one of those, has an apostrophe in front, so that no spreadsheet runs it as a formula. Numbers are
  never changed, and other formats have no such apostrophe.
- Answers to a prompt that already had one and self-initiated reports are in `data/responses.csv`
  and not in `data/prompts.csv`; answers after withdrawal are in neither.
- What people wrote in their own words is in no table, but for the few words that name an adverse
  event, which releases of level L2 and L3 do not have either.
"""


@dataclass(frozen=True)
class Package:
    """A complete package: where it is, rows per table, files, SHA-256 of SHA256SUMS, warnings."""

    directory: Path
    row_counts: dict[str, int]
    files: dict[str, File]
    sha256: str
    warnings: Sequence[str] = ()


@dataclass(frozen=True)
class Job:
    """What to write: a scope under an id, formats beside CSV, the package to compare it with."""

    scope: Scope
    identity: str
    formats: Sequence[str] = ()
    before: Path | None = None


def write_package(job: Job, directory: Path, *, say: Say = silent) -> Package:
    """Write the package to `directory`, or find there the one that is complete already.

    The tables come from one repeatable-read transaction. Raises OSError when files cannot be
    written and LedgerUnbalanced when prompts are lost; nothing is left behind then.
    """
    if (directory / "SHA256SUMS").is_file():
        return read_package(directory)
    directory.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    _clear(directory)
    draft = Draft(directory.with_name(f"{_drafts(directory)}{secrets.token_hex(4)}"), say)
    draft.directory.mkdir(mode=0o700)
    try:
        _fill(draft, job)
        draft.directory.rename(directory)
    finally:
        shutil.rmtree(draft.directory, ignore_errors=True)
    sync(directory.parent)
    return read_package(directory)


def _drafts(directory: Path) -> str:
    return f".{directory.name}."


def _clear(directory: Path) -> None:
    """Take away the drafts of processes that were killed; whoever writes here is alone."""
    for left in directory.parent.glob(f"{_drafts(directory)}*"):
        shutil.rmtree(left, ignore_errors=True)


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
    return Package(directory, provenance["rows"], files, digest, provenance["warnings"])


def _fill(draft: Draft, job: Job) -> None:
    scope = job.scope
    with transaction.atomic(durable=True), connection.cursor() as cursor:
        cursor.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        cursor.execute(
            "SELECT set_config('fourbeat.release_key', %s, true)", [scope.release_key.hex()]
        )
        set_up(cursor)
        tables = [copy_table(cursor, draft, scope, table) for table in tables_of(scope)]
        where_from = provenance(scope, job.identity, tables)
        prompts = where_from["rows"]["prompts"]
        where_from["ledger"] = ledger(scope, prompts)
        where_from["schedule"], warnings = schedule(scope, prompts)
        where_from["warnings"] = [*warnings, *(warnings_of(tables) if scope.deidentify else [])]
        reference = reference_arm(scope)
    about = About(
        study=scope.study.slug,
        title=scope.study.title,
        identity=job.identity,
        moment=scope.moment,
        masking=scope.masking,
        software=software(),
    )
    for name in job.formats:
        formats.write(name, draft, tables, about)
    draft.text("codebook.csv", metadata.codebook(tables))
    draft.text("codebook.html", metadata.codebook_page(tables, about))
    draft.text("datapackage.json", metadata.data_package(tables, draft.files, about))
    draft.text("dataset_description.json", metadata.dataset_description(tables, about))
    draft.text("openesm_metadata.json", metadata.open_esm(tables, about))
    draft.text("CREMAS.md", cremas.report(tables, where_from["schedule"]))
    draft.text("CHANGELOG.md", changelog(tables, job.before))
    draft.write("read.py", [python_script()])
    draft.write("read.R", [r_script(tables, reference)])
    draft.text("README.md", _readme(scope, job.identity, tables))
    draft.text("provenance.json", f"{json.dumps(where_from, indent=2)}\n")
    draft.write("SHA256SUMS", list(metadata.sums(draft.files)))
    draft.sync()


def set_up(cursor: Any) -> None:
    """How the tables are read, until the transaction's end."""
    cursor.execute("SET LOCAL extra_float_digits = 1")  # shortest exact decimals
    cursor.execute("SET LOCAL jit = off")
    cursor.execute("SET LOCAL work_mem = '64MB'")  # rows are sorted
    cursor.execute("SET LOCAL max_parallel_workers_per_gather = 0")  # uploads want a core too


def copy_table(cursor: Any, draft: Draft, scope: Scope, table: Table) -> Written:
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
        key=table.key(scope),
        rows=int(cursor.rowcount),
        path=draft.directory / name,
    )


def _readme(scope: Scope, identity: str, tables: Sequence[Written]) -> str:
    return README.format(
        title=scope.study.title,
        identity=identity,
        slug=scope.study.slug,
        masking=SnapshotMasking(scope.masking).label,
        released=Deidentified(scope.deidentify).label,
        moment=scope.moment.isoformat(),
        listing="\n".join(
            f"| `data/{table.name}.csv` | {table.row} | {table.rows} |" for table in tables
        ),
    )
