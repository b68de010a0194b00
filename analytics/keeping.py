"""What is kept in Valkey for a while; while Valkey is away nothing is kept, and is made anew."""

import logging
from collections.abc import Callable
from threading import Event
from typing import Any

from django.core.cache import cache
from redis.exceptions import ConnectionError as NotReached
from redis.exceptions import TimeoutError as NotAnswered

log = logging.getLogger(__name__)
_away = Event()  # as far as this process knows; an outage is told once, and its end


def get(key: str) -> Any:
    """What was kept under a key; None where nothing is."""
    return _ask(lambda: cache.get(key), None)


def keep(key: str, value: object, seconds: float) -> None:
    """Keep it for so long."""
    _ask(lambda: cache.set(key, value, seconds), None)


def is_first(key: str, seconds: float) -> bool:
    """Whether nobody else has said so within this time; nobody is while Valkey is away."""
    return bool(_ask(lambda: cache.add(key, True, seconds), False))


def _ask(ask: Callable[[], Any], otherwise: Any) -> Any:
    try:
        answer = ask()
    except (NotReached, NotAnswered) as error:
        if not _away.is_set():
            _away.set()
            log.warning("Valkey is away, so reports are not kept: %s", type(error).__name__)
        return otherwise
    if _away.is_set():
        _away.clear()
        log.warning("Valkey is back, so reports are kept again.")
    return answer
