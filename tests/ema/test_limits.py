"""How often a phone may come."""

import itertools
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, strategies

from ema.limits import Buckets, Rate


def test_a_rate_is_read_as_settings_write_it() -> None:
    assert Rate.read("1200/min") == Rate(1200, 60)
    assert Rate.read("5/s") == Rate(5, 1)


def test_as_many_as_the_rate_come_at_once_and_then_steadily() -> None:
    buckets = Buckets(Rate(3, 60))
    assert [buckets.wait("phone", 0.0) for _ in range(4)] == [0, 0, 0, 20]
    assert buckets.wait("phone", 19.0) == pytest.approx(1)
    assert buckets.wait("phone", 20.0) == 0
    assert buckets.wait("phone", 20.0) == pytest.approx(20)
    assert buckets.wait("another", 20.0) == 0


def test_names_that_have_not_come_for_long_are_forgotten() -> None:
    buckets = Buckets(Rate(1, 60), names=2)
    for name in ("a", "b", "c"):
        assert buckets.wait(name, 0.0) == 0
    assert buckets.wait("c", 0.0) > 0
    assert buckets.wait("a", 0.0) == 0


@given(steps=strategies.lists(strategies.floats(0, 30), max_size=200))
def test_never_more_than_the_rate_beyond_the_first_burst(steps: list[float]) -> None:
    rate, buckets = Rate(5, 60), Buckets(Rate(5, 60))
    instants = list(itertools.accumulate(steps))
    taken = [at for at in instants if buckets.wait("phone", at) == 0]
    for first, at in enumerate(taken):
        within = [each for each in taken[first:] if each - at <= rate.seconds]
        assert len(within) <= 2 * rate.most + 1


@pytest.fixture
def impatient_threads() -> Iterator[None]:
    """Threads that take turns as often as they can."""
    usual = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(usual)


@pytest.mark.usefixtures("impatient_threads")
def test_threads_share_a_bucket() -> None:
    buckets = Buckets(Rate(10_000, 86_400))
    with ThreadPoolExecutor(8) as pool:
        runs = [
            pool.submit(lambda: [buckets.wait("phone", 0.0) for _ in range(5_000)])
            for _ in range(8)
        ]
        waits = [wait for run in runs for wait in run.result()]
    assert waits.count(0) == 10_000
