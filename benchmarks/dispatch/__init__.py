"""The drills of delivery: prompts fall due one after another while something goes wrong.

benchmarks.dispatch           the drills, and what is counted
benchmarks.dispatch.due       prompts that fall due
benchmarks.dispatch.webhook   where they arrive
benchmarks.dispatch.trouble   who sends them, and what befalls those
"""

import random
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

from benchmarks.database import empty_database
from benchmarks.dispatch import trouble
from benchmarks.dispatch.due import FIRST_DUE_IN_S, make_due
from benchmarks.dispatch.trouble import Senders
from benchmarks.dispatch.webhook import Arrival, webhook
from benchmarks.figures import Figure, Goal, say
from ema.models import Prompt
from scheduler.models import Delivery

WAIT_AFTERWARDS_S = 45.0  # longer than a lease


class Drill(NamedTuple):
    """Who sends, and what befalls them at random moments, one after the other."""

    what: str
    senders: Senders
    strikes: Sequence[Callable[[Senders], None]]
    prompts: int
    over_s: float
    may_repeat: bool = False  # whoever is killed between sending and writing it down


class Course(NamedTuple):
    """How a drill went: when prompts were due, what arrived, and what the database says."""

    due: dict[str, datetime]
    arrivals: list[Arrival]
    without_state: int
    deliveries: int
    ended: int


def measure(quick: bool) -> Iterator[Figure]:
    """Lost, twice, too late; and the seconds from due to arrival."""
    for drill in _drills(quick):
        say(f"dispatch: {drill.what}")
        yield from _figures(drill, _run(drill))


def _drills(quick: bool) -> Iterator[Drill]:
    prompts, over_s = (500, 10.0) if quick else (3000, 60.0)
    kills, flushes = (3, 2) if quick else (16, 6)
    sized = partial(Drill, prompts=prompts, over_s=over_s)
    kill = [partial(trouble.kill_one, number=number) for number in range(kills)]
    what = f"2 dispatchers, {kills} kills"
    yield sized(what, trouble.dispatchers(), kill, may_repeat=True)
    yield sized("2 workers, 2 beats", trouble.celery(), [])
    flush = [trouble.flush_the_broker] * flushes
    flush.insert(flushes // 2, trouble.kill_the_broker)
    what = f"2 workers, 2 beats, {flushes} flushes of Redis, 1 kill of it"
    yield sized(what, trouble.celery(), flush)


def _run(drill: Drill) -> Course:
    with empty_database():
        due = make_due(drill.prompts, drill.over_s)
        with webhook() as (url, arrivals), drill.senders.at_work(url):
            _strike(drill, arrivals)
            ended = drill.senders.ended()
        return Course(
            due=due,
            arrivals=arrivals,
            without_state=Prompt.objects.filter(sent_at=None).count(),
            deliveries=Delivery.objects.count(),
            ended=ended,
        )


def _strike(drill: Drill, arrivals: list[Arrival]) -> None:
    """Trouble spread evenly over the drill; then wait until everything has been sent."""
    began = time.monotonic() + FIRST_DUE_IN_S
    for number, strike in enumerate(drill.strikes):
        at = began + (number + random.random()) * drill.over_s / len(drill.strikes)
        time.sleep(max(0.0, at - time.monotonic()))
        strike(drill.senders)
        say(f"dispatch: trouble {number + 1} of {len(drill.strikes)}, {len(arrivals):,} arrived")
    last = began + drill.over_s + WAIT_AFTERWARDS_S
    while Prompt.objects.filter(sent_at=None).exists() and time.monotonic() < last:
        time.sleep(0.5)


def _figures(drill: Drill, course: Course) -> Iterator[Figure]:
    due, arrivals = course.due, course.arrivals
    times = Counter(each.prompt_id for each in arrivals)
    first: dict[str, datetime] = {}
    for each in arrivals:
        first.setdefault(each.prompt_id, each.at)
    about = f"dispatch: {drill.prompts:,} in {drill.over_s:.0f} s, {drill.what}"
    counts = {
        "lost": len(due.keys() - first.keys()),
        "arrived after expiry": sum(each.at >= each.expires_at for each in arrivals),
        "without a state at the end": course.without_state,
        "queued more than once": course.deliveries - drill.prompts,
        "processes that ended by themselves": course.ended,
    }
    for what, count in counts.items():
        yield Figure(f"{about}: {what}", "", [float(count)], goal=Goal("=", 0))
    twice = sum(count - 1 for count in times.values())  # the phone shows one id once
    yield Figure(
        f"{about}: arrived again with the same id",
        "",
        [float(twice)],
        goal=None if drill.may_repeat else Goal("=", 0),
    )
    yield from _lateness(about, sorted((first[each] - due[each]).total_seconds() for each in first))


def _lateness(about: str, late: Sequence[float]) -> Iterator[Figure]:
    for percent, allowed in {50: None, 95: 5.0, 99: 30.0, 100: None}.items():
        at = late[min(len(late) - 1, len(late) * percent // 100)]
        what = f"{about}: lateness p{percent}"
        if allowed is None:
            yield Figure(what, "s", [at])
        else:
            yield Figure(what, "s", [at], "allowed", [allowed], goal=Goal("≤", 1))
