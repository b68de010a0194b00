"""What goes wrong with phones: lost replies, wrong clocks, evenings offline, phones replaced."""

import random
import threading
import time
from collections import defaultdict
from dataclasses import dataclass
from datetime import timedelta

import httpx

LARGEST_SKEW = timedelta(hours=3)
SMALLEST_SKEW = timedelta(minutes=3)  # below two minutes nobody calls it skew


@dataclass(frozen=True)
class Troubles:
    """How much goes wrong; shares from 0 to 1."""

    lost_replies: float = 0.03
    """of uploads: the server stored them, the phone never hears of it"""
    offline: float = 0.15
    """of evenings on which nothing can be uploaded"""
    wrong_clocks: float = 0.1
    """of phones, off by 3 minutes to 3 hours"""
    replaced: float = 0.05
    """of phones, lost half-way; the old one turns up at the end with what it held"""
    moves: float = 0.05
    """of people, who travel to another zone"""


NONE = Troubles(0, 0, 0, 0, 0)
ELSEWHERE = ("America/New_York", "Asia/Tokyo", "Pacific/Auckland", "Asia/Katmandu")


@dataclass(frozen=True)
class Fate:
    """What goes wrong for one person. Days count from 0; `lost_on` and `moves_on` are rare."""

    clock_error: timedelta
    offline_on: frozenset[int]
    lost_on: int | None
    moves_on: int | None
    elsewhere: str

    @classmethod
    def draw(cls, rng: random.Random, troubles: Troubles, days: int) -> "Fate":
        clock_error = timedelta(0)
        if rng.random() < troubles.wrong_clocks:
            size = rng.uniform(SMALLEST_SKEW.total_seconds(), LARGEST_SKEW.total_seconds())
            clock_error = timedelta(seconds=round(size) * rng.choice((-1, 1)))
        offline = frozenset(day for day in range(days) if rng.random() < troubles.offline)
        lost_on = rng.randrange(1, days) if rng.random() < troubles.replaced else None
        moves_on = rng.randrange(days) if rng.random() < troubles.moves else None
        return cls(clock_error, offline, lost_on, moves_on, rng.choice(ELSEWHERE))


class BadNetwork(httpx.BaseTransport):
    """A network that delivers every request and loses some of the replies to uploads.

    Keeps how long each door took to answer, in seconds.
    """

    def __init__(self, network: httpx.BaseTransport, troubles: Troubles, seed: int) -> None:
        self.network, self.troubles = network, troubles
        self.seconds: defaultdict[str, list[float]] = defaultdict(list)
        self.lost = 0
        self._rng, self._lock = random.Random(seed), threading.Lock()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        began = time.perf_counter()
        reply = self.network.handle_request(request)
        reply.read()
        door = f"{request.method} {request.url.path}"
        with self._lock:
            self.seconds[door].append(time.perf_counter() - began)
            is_lost = ":batch" in door and self._rng.random() < self.troubles.lost_replies
            self.lost += is_lost
        if is_lost:
            raise httpx.ReadError("The reply was lost on its way.", request=request)
        return reply

    def close(self) -> None:
        self.network.close()
