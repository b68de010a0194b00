"""Ingest through the real HTTP door, against the same rows inserted by one prepared statement."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import timedelta
from typing import NamedTuple

import numpy as np
from django.utils import timezone

from benchmarks import STATE_DIR, trial
from benchmarks.answers import Batch, Stock
from benchmarks.database import analyze, empty_database
from benchmarks.figures import Figure, Goal, say
from benchmarks.inserts import insert_all, pgbench_rate
from benchmarks.load import send_all
from benchmarks.processes import cpu_seconds
from benchmarks.trial import Phone
from ema import stack
from ema.embedded_servers import Addresses
from ema.models import QuestionnaireVersion
from scheduler.planning import plan_prompts

HOST = "127.0.0.1"
WORKERS = min(2, os.cpu_count() or 1)
LIMIT = "prepared INSERT"
MOST_AT_ONCE = 32


class Case(NamedTuple):
    """Requests of `size` answers each, sent `at_once`; how many in one repeat."""

    size: int
    at_once: int
    requests: int

    def __str__(self) -> str:
        what = f"batch of {self.size}" if self.size > 1 else "single"
        return f"ingest: {what}, {self.at_once} at once"


CASES = (Case(50, 1, 24), Case(50, 8, 64), Case(1, 1, 250), Case(1, 8, 600), Case(1, 32, 960))
QUICK_CASES = (Case(50, 1, 12), Case(50, 8, 48), Case(1, 1, 200), Case(1, 8, 200), Case(1, 32, 320))
WARM = Case(50, 4, 100)
CPU_AT_MOST = {1: 1000.0, 50: 80.0}  # µs of web and PostgreSQL together per answer, by size
OF_PGBENCH = Goal("≥", 0.4)  # of batches of 50
TAIL = Goal("<", 5)  # p99 in p50s


@dataclass
class Measured:
    """One value per repeat; times in seconds, all per answer but `each_s`, which is per request."""

    rate: list[float] = field(default_factory=list)
    web_s: list[float] = field(default_factory=list)
    database_s: list[float] = field(default_factory=list)
    each_s: list[float] = field(default_factory=list)


@dataclass(frozen=True)
class Site:
    """What is measured on: a web server, its database server, and answers to send."""

    port: int
    web: int
    postgres: int
    phone: Phone
    questionnaire: int
    stock: Stock


def measure(quick: bool) -> Iterator[Figure]:
    """Rates, latencies and CPU by size of the request and by how many come at once."""
    repeats, cases = (2, QUICK_CASES) if quick else (5, CASES)
    with empty_database(), ExitStack() as undo:
        site = set_up(undo, participants=90 if quick else 290)
        _through_the_door(site, WARM, Measured())  # what a process pays in its first second
        analyze()  # as a server that runs for longer than a minute does by itself
        for case in cases:
            say(f"  {case}")
            yield from _figures(site, case, repeats)


def set_up(undo: ExitStack, participants: int) -> Site:
    """A study of as many phones with all their prompts due, and a web server before it."""
    now = timezone.now()
    study = trial.start_study(now)
    enrolled_at = now - timedelta(days=trial.STUDY_DAYS + 1)
    people = trial.enrol(study, participants, now, enrolled_at)
    phones = [trial.hand_out_phone(person, now) for person in people]
    plan_prompts(now)
    analyze()
    port = stack.free_port(HOST)
    web = stack.start_web(HOST, port, WORKERS)
    undo.enter_context(stack.running(web))
    postmaster = Addresses.of(STATE_DIR).state / "postgres" / "postmaster.pid"
    return Site(
        port=port,
        web=web.process.pid,
        postgres=int(postmaster.read_text().split()[0]),
        phone=phones[0],
        questionnaire=QuestionnaireVersion.objects.get().pk,
        stock=Stock(phones, now),
    )


def _figures(site: Site, case: Case, repeats: int) -> Iterator[Figure]:
    door, limit, pgbench = Measured(), Measured(), list[float]()
    for _ in range(repeats):
        _through_the_door(site, case, door)
        _by_statement(site, case, limit)
        batches = site.stock.take(case.requests, case.size)
        pgbench.append(pgbench_rate(batches, site.questionnaire, case.at_once))
    goal = OF_PGBENCH if case.size > 1 and case.at_once > 1 else None
    yield Figure(f"{case}", "answers/s", door.rate, "pgbench, the same INSERT", pgbench, goal)
    half, tail = (float(np.percentile(door.each_s, percent)) * 1e3 for percent in (50, 99))
    alone = float(np.percentile(limit.each_s, 50)) * 1e3
    yield Figure(f"{case}, p50", "ms", [half], f"{LIMIT}, one at once", [alone])
    goal = TAIL if case.at_once == MOST_AT_ONCE else None
    yield Figure(f"{case}, p99", "ms", [tail], "its p50", [half], goal)
    yield from _cpu_figures(case, door, limit)


def _cpu_figures(case: Case, door: Measured, limit: Measured) -> Iterator[Figure]:
    web, database, alone = (
        [each * 1e6 for each in values]
        for values in (door.web_s, door.database_s, limit.database_s)
    )
    both = [sum(pair) for pair in zip(web, database, strict=True)]
    most = CPU_AT_MOST[case.size]
    yield Figure(f"{case}, CPU of web", "µs/answer", web)
    yield Figure(f"{case}, CPU of PostgreSQL", "µs/answer", database, LIMIT, alone)
    yield Figure(f"{case}, CPU of both", "µs/answer", both, "at most", [most], Goal("≤", 1))


def _through_the_door(site: Site, case: Case, found: Measured) -> None:
    batches = site.stock.take(case.requests, case.size)
    requests = [batch.request() for batch in batches]
    answers = case.requests * case.size

    def send() -> None:
        sent = send_all(site.port, requests, case.at_once)
        sent.refuse_unless_created(answers)
        found.rate.append(answers / sent.seconds)
        found.each_s += sent.each_s

    _with_cpu(site, answers, send, found)


def _by_statement(site: Site, case: Case, found: Measured) -> None:
    """The limit: as the door, but one at a time and without the web server."""
    batches: list[Batch] = site.stock.take(case.requests, case.size)
    answers = len(batches) * case.size

    def insert() -> None:
        took = insert_all(batches, site.questionnaire)
        found.rate.append(answers / sum(took))
        found.each_s += took

    _with_cpu(site, answers, insert, found)


def _with_cpu(site: Site, answers: int, do: Callable[[], None], found: Measured) -> None:
    web, postgres = cpu_seconds(site.web), cpu_seconds(site.postgres)
    do()
    found.web_s.append((cpu_seconds(site.web) - web) / answers)
    found.database_s.append((cpu_seconds(site.postgres) - postgres) / answers)
