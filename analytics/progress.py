"""Progress on stderr: a bar in a terminal, a plain line elsewhere. Standard output stays clean."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

PLAIN_EVERY_S = 10.0


class Step:
    """One piece of long work; `advance` says how much of it is done."""

    def __init__(self, title: str, total: int, bar: Progress | None, plain: TextIO) -> None:
        self._title, self._total, self._bar, self._plain = title, total, bar, plain
        self._done, self._said = 0, time.monotonic()
        self._task = bar.add_task(title, total=total) if bar else None

    def advance(self, by: int = 1) -> None:
        self._done += by
        if self._bar and self._task is not None:
            self._bar.update(self._task, advance=by)
        elif time.monotonic() - self._said > PLAIN_EVERY_S:
            self._said = time.monotonic()
            print(f"{self._title}: {self._done} of {self._total}", file=self._plain, flush=True)

    def upto(self, done: int) -> None:
        """Set how much is done, counted from the start."""
        self.advance(done - self._done)


@contextmanager
def progress(title: str, total: int, stream: TextIO | None = None) -> Iterator[Step]:
    """Show a long piece of work, and how long it took when it is over."""
    stream = stream or sys.stderr
    began = time.monotonic()
    if stream.isatty():
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
        console = Console(file=stream)
        with Progress(*columns, TimeElapsedColumn(), console=console) as bar:
            yield Step(title, total, bar, stream)
        return
    yield Step(title, total, None, stream)
    print(f"{title}: done in {time.monotonic() - began:.1f} s", file=stream, flush=True)
