"""Who sends in a drill, and what befalls them."""

import os
import signal
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import redis

from benchmarks import STATE_DIR
from ema import stack
from ema.embedded_servers import Addresses
from ema.stack import Part


@dataclass
class Senders:
    """Processes of the product by name, each with the words after `manage.py`."""

    commands: Mapping[str, Sequence[str]]
    environ: dict[str, str] = field(default_factory=dict)
    parts: dict[str, Part] = field(default_factory=dict)

    @contextmanager
    def at_work(self, url: str) -> Iterator[None]:
        """Keep them running for the length of a block, sending to the webhook at `url`."""
        _broker().flushall()  # what an earlier drill left
        self.environ = {"DELIVERY_CHANNEL": "webhook", "DELIVERY_WEBHOOK_URL": url}
        try:
            for name in self.commands:
                self.start(name)
            yield
        finally:
            for part in self.parts.values():
                stack.stop_part(part)

    def start(self, name: str) -> None:
        self.parts[name] = stack.start_part(
            f"drill-{name}", *self.commands[name], environ=self.environ
        )

    def ended(self) -> int:
        """How many have ended by themselves."""
        return sum(part.process.poll() is not None for part in self.parts.values())


def dispatchers() -> Senders:
    """Two at once, without a broker."""
    return Senders({f"dispatcher-{number}": ["run_dispatcher"] for number in (1, 2)})


def celery() -> Senders:
    """Two workers and two beats."""
    return Senders(
        {f"worker-{number}": ["worker", "--queues", "delivery"] for number in (1, 2)}
        | {f"beat-{number}": ["beat"] for number in (1, 2)}
    )


def kill_one(senders: Senders, number: int) -> None:
    """Kill one outright, each in its turn, and start it again."""
    name = list(senders.commands)[number % len(senders.commands)]
    senders.parts[name].process.kill()
    stack.stop_part(senders.parts[name])  # also what it left behind
    senders.start(name)


def flush_the_broker(senders: Senders) -> None:
    """Every queue and every binding of Celery is gone at once."""
    _broker().flushall()


def kill_the_broker(senders: Senders) -> None:
    """Outright; its supervisor starts it again."""
    os.kill(_broker().info("server")["process_id"], signal.SIGKILL)


def _broker() -> "redis.Redis":
    return redis.Redis.from_url(Addresses.of(STATE_DIR).redis_url)
