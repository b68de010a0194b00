"""Redis may be flushed and beats may be two: prompts are delivered, each of them once."""

import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import redis
from django.conf import settings
from django.utils import timezone

from ema import embedded, stack
from ema.models import Prompt
from scheduler.models import Delivery
from scheduler.planning import plan_prompts
from tests import trial
from tests.flow.conftest import database_url

pytestmark = [pytest.mark.flow, pytest.mark.django_db(transaction=True)]

PATIENCE_S = 40.0


@pytest.fixture
def arrivals() -> Iterator[tuple[str, Counter[str]]]:
    """The address of a webhook, and how often each prompt arrived there."""
    counts: Counter[str] = Counter()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            content = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            counts[content["prompt_id"]] += 1
            self.send_response(204)
            self.end_headers()

        def log_message(self, *args: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/due", counts
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def broker(arrivals: tuple[str, Counter[str]], tmp_path: Path) -> Iterator["redis.Redis"]:
    """A worker for delivery and two beats, on a Redis of their own."""
    queue = embedded.ensure(tmp_path / "queue", postgres=False)
    environ = {
        "DATABASE_URL": database_url(),
        "REDIS_URL": queue.redis_url,
        "SECRET_KEY": settings.SECRET_KEY,
        "ALLOWED_HOSTS": "127.0.0.1",
        "DISPATCH_EVERY_S": "1",
        "DELIVERY_CHANNEL": "webhook",
        "DELIVERY_WEBHOOK_URL": arrivals[0],
    }
    with ExitStack() as running:
        running.callback(embedded.stop_and_wait, tmp_path / "queue")
        starts = [stack.start_dispatcher, stack.start_beat, stack.start_beat]
        parts = [start(environ) for start in starts]
        running.enter_context(stack.running(*parts))
        yield redis.Redis.from_url(queue.redis_url)
        assert all(part.process.poll() is None for part in parts)


@pytest.fixture
def coming() -> list[Prompt]:
    """Many prompts, none of which is due."""
    study = trial.make_study()
    for number in range(3):
        someone = trial.enrol(study, f"S1-{number}", "UTC", timezone.now() - timedelta(hours=1))
        trial.redeem(someone)
    plan_prompts(timezone.now())
    Prompt.objects.filter(study_day__lte=2).delete()  # one might fall due by itself meanwhile
    return list(Prompt.objects.standing().order_by("pk"))


def fall_due(prompts: list[Prompt]) -> set[str]:
    """Let prompts be due one after the other, from now on for two seconds."""
    now = timezone.now()
    for number, prompt in enumerate(prompts):
        prompt.due_at = now + timedelta(seconds=2) * number / len(prompts)
        prompt.expires_at = prompt.due_at + timedelta(minutes=30)
    Prompt.objects.bulk_update(prompts, ["due_at", "expires_at"])
    return {str(prompt.pk) for prompt in prompts}


def wait_until(happened: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < deadline, f"waited {PATIENCE_S:.0f} s, and not {what}"
        time.sleep(0.1)


def all_sent(ids: set[str]) -> Callable[[], bool]:
    return lambda: Prompt.objects.filter(pk__in=ids, sent_at__isnull=False).count() == len(ids)


def test_two_beats_send_each_prompt_once_however_often_redis_is_flushed(
    arrivals: tuple[str, Counter[str]], broker: "redis.Redis", coming: list[Prompt]
) -> None:
    for flushes in range(3):
        due = fall_due(coming[20 * flushes : 20 * (flushes + 1)])
        wait_until(all_sent(due), f"everything sent after {flushes} flushes")
        broker.flushall()
    assert arrivals[1] == Counter(str(prompt.pk) for prompt in coming[:60])
    assert Delivery.objects.count() == 60
