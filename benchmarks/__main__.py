"""`python -m benchmarks`: run the subjects, print one table with its goals.

Exits with 1 where a goal of correctness is missed; a missed ratio is only said.
"""

import argparse
import os
import sys
from collections.abc import Iterator, Sequence
from importlib import import_module
from typing import Protocol, cast

import django

from benchmarks.figures import Figure, say, seconds, table
from ema.embedded import EmbeddedServersError
from ema.stack import StackError

SUBJECTS = {
    "draws": "prompt times of a day, against the bare HMAC calls they rest on",
    "statistics": "uniform, flat and apart: the prompt times of many days of a fixed seed",
    "zones": "a year and two months in every time zone: overlaps, bounds, gaps, counts",
    "planning": "prompts into PostgreSQL, against a binary COPY of the same rows",
    "ingest": "responses through the HTTP door, against one prepared INSERT of the same rows",
    "model": "the mixed model from moments, beside lme4 and statsmodels: 6 minutes",
    "comparison": "the page of a comparison and its report, against one bare aggregate of answers",
    "console": "the coordinator's pages of a thousand participants, against one bare aggregate",
    "snapshots": "a million prompts as CSV and Parquet, against a bare COPY; its memory",
    "beside": "uploads while a snapshot is being built, against uploads without",
    "calibration": "how often each method finds a difference, in simulated trials: 4 minutes",
    "dispatch": "prompts that fall due while senders are killed and Redis is flushed: 4 minutes",
}
QUICK = [name for name in SUBJECTS if name != "dispatch"]  # a drill is never a matter of seconds
RATIO = (
    "ratio = median ÷ baseline, repeat by repeat; of times and CPU less is better, of rates more."
)


class Subject(Protocol):
    """A module of this package: what it measures, one figure after the other."""

    def measure(self, quick: bool) -> Iterator[Figure]: ...


def main(arguments: Sequence[str] | None = None) -> int:
    described = parser()
    options = described.parse_args(arguments)
    for name in options.names:
        if name not in SUBJECTS:
            described.error(f"there is no subject {name!r}; choose from {', '.join(SUBJECTS)}")
    if options.list:
        for name, what in SUBJECTS.items():
            print(f"{name:10} {what}")
        return 0
    django.setup()
    figures: list[Figure] = []
    try:
        names = options.names or (QUICK if options.quick else list(SUBJECTS))
        took = seconds(lambda: figures.extend(measured(names, options.quick)))
    except (EmbeddedServersError, StackError, RuntimeError) as error:
        say(str(error))
        return 1
    print(f"{table(figures)}\n\n{RATIO}")
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}; {took:.0f} s in all.")
    return verdict(figures)


def verdict(figures: Sequence[Figure]) -> int:
    """Say which goals are missed. The exit code is 1 where it is one of correctness."""
    for figure in figures:
        if not figure.met:
            print(f"{'WRONG' if figure.wrong else 'Slow'}: {figure.what} (goal {figure.goal})")
    return int(any(figure.wrong for figure in figures))


def measured(names: Sequence[str], quick: bool) -> Iterator[Figure]:
    for name in names:
        say(f"{name}: {SUBJECTS[name]}")
        yield from cast("Subject", import_module(f"benchmarks.{name}")).measure(quick)


def parser() -> argparse.ArgumentParser:
    described = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure speed as ratios inside one run, and hold prompt times to their goals.",
        epilog="The model is measured beside lme4 and statsmodels where installed; the variable "
        "BENCH_PYTHON may name another Python that has statsmodels.",
    )
    everything = f"default: {', '.join(SUBJECTS)}; with --quick all but dispatch"
    described.add_argument("names", nargs="*", metavar="NAME", help=everything)
    described.add_argument("--list", action="store_true", help="say what can be measured")
    described.add_argument("--quick", action="store_true", help="smaller and rougher, in seconds")
    return described


if __name__ == "__main__":
    sys.exit(main())
