"""What the values of settings must look like: each kind reads a text, or says what is right."""

import math
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar
from urllib.parse import urlsplit

from django.core.exceptions import ImproperlyConfigured

T = TypeVar("T")
SWITCH = dict.fromkeys(("on", "true", "yes", "y", "ok", "1"), True) | dict.fromkeys(
    ("off", "false", "no", "n", "0", ""), False
)
RATE = re.compile(r"[1-9][0-9]{0,8}/(?:s|sec|second|m|min|minute|h|hour|d|day)")
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL")
UNSAFE = re.compile(r"[^\w.-]+")
LONGEST_INTERVAL_S = 86_400
LONGEST_DAYS = 365
LONGEST_HOURS = 24
MINUTES_OF_A_DAY = 1440
MOST_FAILURES = 100


class Kind(NamedTuple):
    """How a text is read (ValueError or KeyError: it is wrong), and what is right, in words."""

    read: Callable[[str], Any]
    wanted: str


def parsed(name: str, text: str, kind: str) -> Any:
    """The value of a setting, or ImproperlyConfigured naming it."""
    try:
        return KINDS[kind].read(text)
    except (ValueError, KeyError) as error:
        message = f"{name}={text!r} is wrong: it must be {KINDS[kind].wanted}."
        raise ImproperlyConfigured(message) from error


def _seconds(text: str) -> float:
    seconds = float(text)
    return _right(seconds, math.isfinite(seconds) and 0 < seconds <= LONGEST_INTERVAL_S)


def _count(text: str) -> int:
    return _right(int(text), int(text) >= 0)


def _positive(text: str) -> int:
    return _right(int(text), 1 <= int(text) <= MOST_FAILURES)


def _minutes(text: str) -> int:
    return _right(int(text), 1 <= int(text) <= MINUTES_OF_A_DAY)


def _hours(text: str) -> int:
    return _right(int(text), 1 <= int(text) <= LONGEST_HOURS)


def _days(text: str) -> int:
    return _right(int(text), 1 <= int(text) <= LONGEST_DAYS)


def _rate(text: str) -> str:
    return _right(text, RATE.fullmatch(text) is not None)


def _level(text: str) -> str:
    return _right(text.upper(), text.upper() in LEVELS)


def _redis(text: str) -> str:
    parts = urlsplit(text)
    database = parts.path.strip("/")
    with_host = parts.scheme in ("redis", "rediss") and bool(parts.hostname) and parts.port != 0
    is_socket = parts.scheme == "unix" and parts.path.startswith("/")
    return _right(text, is_socket or (with_host and (not database or database.isdecimal())))


def _right(value: T, is_right: bool) -> T:
    if not is_right:
        raise ValueError(value)
    return value


KINDS = {
    "switch": Kind(lambda text: SWITCH[text.strip().lower()], "on or off"),
    "count": Kind(_count, "a whole number, 0 or more"),
    "positive": Kind(_positive, f"a whole number from 1 to {MOST_FAILURES}"),
    "minutes": Kind(_minutes, f"a whole number of minutes from 1 to {MINUTES_OF_A_DAY}"),
    "hours": Kind(_hours, f"a whole number of hours from 1 to {LONGEST_HOURS}"),
    "seconds": Kind(_seconds, f"a number of seconds above 0, at most {LONGEST_INTERVAL_S}"),
    "days": Kind(_days, f"a whole number of days from 1 to {LONGEST_DAYS}"),
    "rate": Kind(_rate, "a number per second, minute, hour or day, such as 20/min"),
    "level": Kind(_level, f"one of {', '.join(LEVELS)}"),
    "redis": Kind(_redis, "redis://host:6379/0, rediss://host:6379/0 or unix:///path/of/socket"),
}


def process_name(arguments: Sequence[str]) -> str:
    """What runs, as its command line names it, without options: manage.py_lock."""
    program = Path(arguments[0]).name if arguments and arguments[0] else "python"
    words = arguments[1:2] if program == "manage.py" else []
    return "_".join(UNSAFE.sub("-", word) for word in [program, *words])[:100]
