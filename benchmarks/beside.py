"""Uploads while a snapshot is being built: the slowest in a hundred, against those without."""

import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
from django.utils import timezone

from analytics.datasets.snapshots import request_snapshot
from analytics.models import Snapshot
from benchmarks import ingest, snapshots
from benchmarks.database import analyze, empty_database
from benchmarks.figures import Figure, Goal, say
from benchmarks.load import send_all
from ema.audit import COMMAND
from ema.models import Study

PEOPLE, FEW = 500, 200
AT_ONCE = (1, 4)  # four fill two cores by themselves, with their web server and PostgreSQL
A_ROUND = 100
GOAL = Goal("≤", 1.5)


def measure(quick: bool) -> Iterator[Figure]:
    """p99 of single responses in rounds without and during the build of a snapshot as CSV."""
    people, repeats = (FEW, 1) if quick else (PEOPLE, 3)
    with empty_database(), ExitStack() as undo:
        place = undo.enter_context(tempfile.TemporaryDirectory())
        site = ingest.set_up(undo, participants=people)
        analyze()
        _round(site, max(AT_ONCE))  # every worker has seen the study
        for at_once in AT_ONCE:
            without, during = list[float](), list[float]()
            for number in range(repeats):
                say(f"  {at_once} at once without and beside a build, {number + 1} of {repeats}")
                beside = _during_a_build(site, place, at_once)
                alone = [_round(site, at_once) for _ in beside]
                during.append(_p99_ms(beside))
                without.append(_p99_ms(alone))
            told = f"ingest: p99 of {at_once} at once beside a snapshot's build"
            yield Figure(told, "ms", during, "p99 without", without, GOAL)


def _during_a_build(site: ingest.Site, place: str, at_once: int) -> list[list[float]]:
    """Seconds of each upload, in rounds that all lay within one build."""
    study = Study.objects.get()
    snapshot = request_snapshot(study, COMMAND, "masked", timezone.now())
    command = [sys.executable, "-c", snapshots.JOB, str(snapshot.pk), place]
    rounds = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as job:
        assert job.stdout is not None
        job.stdout.readline()  # it has begun, or it has failed
        while job.poll() is None:
            rounds.append(_round(site, at_once))
    if job.returncode:
        raise RuntimeError(f"The build failed with exit code {job.returncode}.")
    Snapshot.objects.filter(pk=snapshot.pk).delete()
    if len(rounds) < 2:
        raise RuntimeError("The build was over before a round of uploads was.")
    return rounds[:-1]  # the last one went on after the build


def _round(site: ingest.Site, at_once: int) -> list[float]:
    requests = [batch.request() for batch in site.stock.take(A_ROUND, 1)]
    sent = send_all(site.port, requests, at_once)
    sent.refuse_unless_created(A_ROUND)
    return sent.each_s


def _p99_ms(rounds: list[list[float]]) -> float:
    return float(np.percentile(np.concatenate(rounds), 99)) * 1e3
