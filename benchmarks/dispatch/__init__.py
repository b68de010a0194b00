"""The dispatcher drill: prompts fall due one after another while dispatchers are killed.

Two dispatchers (`manage.py run_dispatcher`) send to a webhook of this process; one after the other
is killed outright and started again.
"""

import json
import os
import random
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, NamedTuple

from django.utils import timezone

from benchmarks import STATE_DIR, trial
from benchmarks.database import analyze, empty_database
from benchmarks.figures import Figure, Goal, say
from ema.models import Device, Prompt
from scheduler.planning import plan_prompts

MANAGE = Path(__file__).resolve().parent.parent / "manage.py"
DISPATCHERS = 2
PROMPTS_EACH = 10
ANSWER_S = 0.02  # how long the webhook takes
FIRST_DUE_IN_S = 12.0  # dispatchers start meanwhile
WAIT_AFTERWARDS_S = 45.0  # longer than a lease


class Drill(NamedTuple):
    prompts: int
    over_s: float
    kills: int


class Arrival(NamedTuple):
    prompt_id: str
    at: datetime
    expires_at: datetime


def measure(quick: bool) -> Iterator[Figure]:
    """Lost, twice, too late; and the seconds from due to arrival."""
    drill = Drill(500, 10.0, 3) if quick else Drill(3000, 60.0, 16)
    with empty_database():
        due = _make_due(drill)
        with _webhook() as (url, arrivals):
            _send_under_fire(drill, url, arrivals)
        unsent = Prompt.objects.filter(sent_at=None).count()
    yield from _figures(drill, due, arrivals, unsent)


def _figures(
    drill: Drill, due: dict[str, datetime], arrivals: list[Arrival], unsent: int
) -> Iterator[Figure]:
    times = Counter(each.prompt_id for each in arrivals)
    first: dict[str, datetime] = {}
    for each in arrivals:
        first.setdefault(each.prompt_id, each.at)
    late = sorted((first[each] - due[each]).total_seconds() for each in first)
    about = f"dispatch: {drill.prompts:,} in {drill.over_s:.0f} s, {drill.kills} kills"
    counts = {
        "lost": len(due.keys() - first.keys()),
        "arrived after expiry": sum(each.at >= each.expires_at for each in arrivals),
        "without a state at the end": unsent,
    }
    for what, count in counts.items():
        yield Figure(f"{about}: {what}", "prompts", [float(count)], goal=Goal("=", 0))
    twice = sum(count - 1 for count in times.values())  # the phone shows one id once
    yield Figure(f"{about}: arrived again with the same id", "prompts", [float(twice)])
    for percent, allowed in {50: None, 95: 5.0, 99: 30.0, 100: None}.items():
        at = late[min(len(late) - 1, len(late) * percent // 100)]
        what = f"{about}: lateness p{percent}"
        if allowed is None:
            yield Figure(what, "s", [at])
        else:
            yield Figure(what, "s", [at], "allowed", [allowed], goal=Goal("≤", 1))


def _make_due(drill: Drill) -> dict[str, datetime]:
    """Prompts of many participants, due at random instants from a moment from now on."""
    now = timezone.now()
    study = trial.start_study(now)
    people = trial.enrol(study, drill.prompts // PROMPTS_EACH, now, now)
    for participant in people:
        trial.hand_out_phone(participant, now)
    plan_prompts(now)
    kept = [
        prompt
        for participant in people
        for prompt in participant.prompts.order_by("-due_at")[:PROMPTS_EACH]
    ]
    Prompt.objects.exclude(pk__in=[each.pk for each in kept]).delete()
    Device.objects.update(enrolled_at=now - timedelta(hours=1))
    began = timezone.now() + timedelta(seconds=FIRST_DUE_IN_S)
    for prompt in kept:
        prompt.due_at = began + timedelta(seconds=random.uniform(0, drill.over_s))
        prompt.expires_at = prompt.due_at + timedelta(minutes=30)
    Prompt.objects.bulk_update(kept, ["due_at", "expires_at"], batch_size=1000)
    analyze()
    return {str(prompt.pk): prompt.due_at for prompt in kept}


@contextmanager
def _webhook() -> Iterator[tuple[str, list[Arrival]]]:
    """Where the dispatchers post to, and what arrived there."""
    arrivals: list[Arrival] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            expires_at = datetime.fromisoformat(content["expires_at"])
            arrivals.append(Arrival(content["prompt_id"], datetime.now(UTC), expires_at))
            time.sleep(ANSWER_S)
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, request: Any, client_address: Any) -> None:
            """A dispatcher that is killed while it sends is what the drill is about."""

    server = Server(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/due", arrivals
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _send_under_fire(drill: Drill, url: str, arrivals: list[Arrival]) -> None:
    """Kill one dispatcher after the other, evenly over the drill, until everything has arrived."""
    running = [_start(url) for _ in range(DISPATCHERS)]
    try:
        time.sleep(FIRST_DUE_IN_S / 2)
        began = time.monotonic() + FIRST_DUE_IN_S / 2
        for number in range(drill.kills):
            at = began + (number + random.random()) * drill.over_s / drill.kills
            time.sleep(max(0.0, at - time.monotonic()))
            victim = number % DISPATCHERS
            running[victim].kill()
            running[victim].wait()
            running[victim] = _start(url)
            say(f"dispatch: {number + 1} of {drill.kills} kills, {len(arrivals):,} arrived")
        last = began + drill.over_s + WAIT_AFTERWARDS_S
        while Prompt.objects.filter(sent_at=None).exists() and time.monotonic() < last:
            time.sleep(0.5)
    finally:
        for each in running:
            each.terminate()
        for each in running:
            each.wait()


def _start(url: str) -> "subprocess.Popen[bytes]":
    settings = {
        "FOURBEAT_STATE_DIR": str(STATE_DIR),
        "DELIVERY_CHANNEL": "webhook",
        "DELIVERY_WEBHOOK_URL": url,
    }
    return subprocess.Popen(
        [sys.executable, str(MANAGE), "run_dispatcher"],
        env={**os.environ, **settings},
        stdout=subprocess.DEVNULL,
    )
