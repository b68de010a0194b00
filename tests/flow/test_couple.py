"""Two workers couple a study in shards; one is killed in the middle of its own."""

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connections, transaction
from django.utils import timezone

from analytics import shards
from analytics.models import Coupling, CouplingShard
from ema import embedded, stack
from ema.models import Response
from tests.analytics.answers import make_trial
from tests.flow.conftest import database_url, wait_until

pytestmark = [pytest.mark.flow, pytest.mark.django_db(transaction=True)]

PEOPLE, SIZE = 24, 3


@pytest.fixture
def environ(tmp_path: Path) -> Iterator[dict[str, str]]:
    queue = embedded.ensure(tmp_path / "queue", postgres=False)
    yield {
        "DATABASE_URL": database_url(),
        "REDIS_URL": queue.redis_url,
        "SECRET_KEY": settings.SECRET_KEY,
        "ALLOWED_HOSTS": "127.0.0.1",
        "COUPLE_EVERY_S": "1",
    }
    embedded.stop_and_wait(tmp_path / "queue")


@contextmanager
def sums_held_up() -> Iterator[None]:
    """Nobody can write sums within the block."""
    other = connections.create_connection("default")
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN; LOCK TABLE analytics_moments IN EXCLUSIVE MODE")
            yield
    finally:
        other.close()


def free() -> int:
    """Shards that nobody has claimed."""
    with transaction.atomic():
        return len(CouplingShard.objects.select_for_update(skip_locked=True).all())


def test_a_shard_of_a_killed_worker_is_summed_by_another(environ: dict[str, str]) -> None:
    make_trial(n=PEOPLE, prompts=6)
    Response.objects.update(received_at=timezone.now() - timedelta(minutes=10))
    shards.share_out(timezone.now(), size=SIZE)
    assert free() == PEOPLE // SIZE
    with ExitStack() as running:
        with sums_held_up():
            workers = [stack.start_worker(environ) for _ in range(2)]
            running.enter_context(stack.running(*workers, stack.start_beat(environ)))
            wait_until(lambda: free() == PEOPLE // SIZE - 2, "two workers claimed a shard each")
            assert not Coupling.objects.exists()
            os.killpg(workers[0].process.pid, signal.SIGKILL)
        wait_until(lambda: not CouplingShard.objects.exists(), "every shard was coupled")
    assert Coupling.objects.exclude(shrunken_slope=None).count() == PEOPLE
    call_command("rebuild_moments", "relief", "--check")
