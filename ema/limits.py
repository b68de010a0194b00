"""How often somebody may come: a bucket that fills steadily, kept in this process. Pure.

Nothing is asked of Redis or of the database, so that a limit can never be what keeps answers out.
"""

from collections import OrderedDict
from threading import Lock
from typing import NamedTuple

SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}


class Rate(NamedTuple):
    """So many in so many seconds; as many may come at once."""

    most: int
    seconds: int

    @classmethod
    def read(cls, text: str) -> "Rate":
        """From a setting such as `1200/min`."""
        most, _, unit = text.partition("/")
        return cls(int(most), SECONDS[unit[0]])


class Buckets:
    """One bucket for each name, the least recently used forgotten beyond `names`."""

    def __init__(self, rate: Rate, names: int = 100_000) -> None:
        self.rate, self.names = rate, names
        self._full_at: OrderedDict[str, float] = OrderedDict()
        self._lock = Lock()  # the threads of a web process share the buckets

    def wait(self, name: str, now: float) -> float:
        """Seconds until this name may come again, 0 when it may now (and then has).

        `now` is of a clock that never goes back, in seconds.
        """
        with self._lock:
            return self._wait(name, now)

    def _wait(self, name: str, now: float) -> float:
        each = self.rate.seconds / self.rate.most
        full_at = max(self._full_at.pop(name, now), now)
        too_early = full_at + each - now - self.rate.seconds
        self._full_at[name] = full_at if too_early > 0 else full_at + each
        if len(self._full_at) > self.names:
            self._full_at.popitem(last=False)
        return max(0.0, too_early)
