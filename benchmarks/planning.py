"""Planning prompts into PostgreSQL, against a binary COPY of the very same rows."""

from collections.abc import Iterator
from datetime import timedelta

from django.db import connection
from django.utils import timezone

from benchmarks import trial
from benchmarks.database import analyze, empty, empty_database
from benchmarks.figures import Figure, Goal, seconds
from ema.models import Prompt
from scheduler.planning import plan_prompts


def measure(quick: bool) -> Iterator[Figure]:
    """Microseconds per prompt of a first run; milliseconds of a run that finds nothing to do."""
    participants, repeats = (60, 2) if quick else (300, 5)
    now = timezone.now()
    with empty_database():
        study = trial.start_study(now)
        trial.enrol(study, participants, now, enrolled_at=now - timedelta(hours=1))
        analyze()
        runs = [_once() for _ in range(repeats)]
        count = Prompt.objects.count()
    planned, copied, again = zip(*runs, strict=True)
    micro = 1e6 / count
    yield Figure(
        f"planning: {count:,} prompts of {participants}",
        "µs/prompt",
        [each * micro for each in planned],
        "binary COPY of the rows",
        [each * micro for each in copied],
        goal=Goal("≤", 2),
    )
    yield Figure(
        "planning: again, nothing to do",
        "ms",
        [each * 1e3 for each in again],
        "the first run",
        [each * 1e3 for each in planned],
    )


def _once() -> tuple[float, float, float]:
    """Seconds to plan, to copy the planned rows into the emptied table, and to plan again."""
    empty("ema_prompt")
    now = timezone.now()
    planned = seconds(lambda: plan_prompts(now))
    rows = _copy_out()
    empty("ema_prompt")
    copied = seconds(lambda: _copy_in(rows))
    return planned, copied, seconds(lambda: plan_prompts(now))


def _copy_out() -> bytes:
    with (
        connection.cursor() as cursor,
        cursor.copy("COPY ema_prompt TO STDOUT (FORMAT BINARY)") as copy,
    ):
        return b"".join(map(bytes, copy))


def _copy_in(rows: bytes) -> None:
    with (
        connection.cursor() as cursor,
        cursor.copy("COPY ema_prompt FROM STDIN (FORMAT BINARY)") as copy,
    ):
        copy.write(rows)
