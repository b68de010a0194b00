"""A snapshot of a million prompts: prompts against a bare COPY, and the memory of a job."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from django.db import connection, transaction
from django.utils import timezone

from analytics.datasets.about import About
from analytics.datasets.columns import Scope
from analytics.datasets.draft import Draft
from analytics.datasets.formats import parquet
from analytics.datasets.package import copy_table, set_up
from analytics.datasets.prompts import PROMPTS
from analytics.datasets.snapshots import request_snapshot
from analytics.models import Snapshot
from benchmarks.comparison import DAYS, PROMPTS_PER_DAY, filled_study
from benchmarks.database import analyze, empty_database
from benchmarks.figures import Figure, Goal, say, seconds
from ema.audit import COMMAND
from ema.models import Study

PEOPLE, FEW, FOLD = 2_552, 200, 4
CSV, PARQUET, MEMORY, GROWTH = Goal("≤", 1.5), Goal("≤", 2), Goal("<", 200), Goal("<", 10)
KINDS: Sequence[Sequence[str]] = ((), ("parquet",))
BASELINE = "COPY … TO STDOUT, thrown away"
JOB = """
import re, sys, django
django.setup()
from analytics.datasets.building import build_snapshot
from analytics.models import Snapshot
from django.conf import settings
settings.SNAPSHOT_DIR = sys.argv[2]
print("begun", flush=True)
build_snapshot(Snapshot.objects.select_related("study").get(pk=sys.argv[1]))
print(re.search(r"VmHWM:\\s+(\\d+)", open("/proc/self/status").read())[1])
"""


def measure(quick: bool) -> Iterator[Figure]:
    """Seconds of the prompts as CSV and Parquet beside the bare COPY; peak memory of whole jobs,
    and by how much it grows where the study is four times as large."""
    people, repeats = (FEW, 2) if quick else (PEOPLE, 3)
    with empty_database(), tempfile.TemporaryDirectory() as place:
        small = _peaks_mb(filled_study(people // FOLD), place)
    with empty_database(), tempfile.TemporaryDirectory() as place:
        study = filled_study(people)
        analyze()
        rows = f"{people * DAYS * PROMPTS_PER_DAY:,} prompts"
        turns = [_turn(study, Path(place) / str(number)) for number in range(repeats)]
        bare, csv, both = zip(*turns, strict=True)
        yield Figure(f"snapshot: {rows} as CSV", "s", csv, BASELINE, bare, CSV)
        yield Figure(f"snapshot: {rows} as CSV and Parquet", "s", both, BASELINE, bare, PARQUET)
        for kind, peak, before in zip(KINDS, _peaks_mb(study, place), small, strict=True):
            what = " and ".join(["CSV", *kind])
            yield Figure(f"snapshot: peak memory of the job, {what}", "MB", [peak], goal=MEMORY)
            grown, goal = [peak - before], None if kind else GROWTH
            told = f"snapshot: growth of that peak since a {FOLD}th of the prompts, {what}"
            yield Figure(told, "MB", grown, goal=goal)


def _turn(study: Study, place: Path) -> tuple[float, float, float]:
    """Seconds of the bare COPY, of CSV, and of CSV with Parquet, one after the other."""
    now = timezone.now()
    scope = Scope(study, "masked", now)
    bare = seconds(lambda: _discard(scope))
    place.mkdir()
    (place / "again").mkdir()
    draft = Draft(place)
    csv = seconds(lambda: _as_csv(scope, draft))
    with transaction.atomic(), connection.cursor() as cursor:
        set_up(cursor)
        written = copy_table(cursor, Draft(place / "again"), scope, PROMPTS)
    about = About(study.slug, study.title, "", now, "masked", "")
    other = seconds(lambda: parquet.write(draft, [written], about))
    return bare, csv, csv + other


def _discard(scope: Scope) -> None:
    select, parameters = PROMPTS.select(scope)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL work_mem = '64MB'")
        cursor.execute("SET LOCAL jit = off")
        statement = f"COPY ({select}) TO STDOUT WITH (FORMAT csv, HEADER)"
        with cursor.copy(statement, parameters) as rows:
            for _ in rows:
                pass


def _as_csv(scope: Scope, draft: Draft) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        set_up(cursor)
        copy_table(cursor, draft, scope, PROMPTS)


def _peaks_mb(study: Study, place: str) -> list[float]:
    """Of a job in every kind of formats."""
    found = []
    for kind in KINDS:
        say(f"  a whole job, {', '.join(['csv', *kind])}")
        found.append(_peak_mb(study, kind, place))
    return found


def _peak_mb(study: Study, formats: Sequence[str], place: str) -> float:
    """Of a process of its own that builds a whole snapshot: its own high-water mark in Linux."""
    snapshot = request_snapshot(study, COMMAND, "masked", timezone.now(), formats=formats)
    command = [sys.executable, "-c", JOB, str(snapshot.pk), place]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    Snapshot.objects.filter(pk=snapshot.pk).delete()
    return int(done.stdout.split()[-1]) / 1024
