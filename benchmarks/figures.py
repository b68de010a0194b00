"""What a subject measures: figures, one value per repeat, beside a baseline of the same run."""

import operator
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Literal, NamedTuple

HEADINGS = ("what", "median", "min", "unit", "baseline", "its median", "ratio", "goal", "met")
WORDS = {0, 3, 4, 7, 8}  # columns set flush left
SIGNS = {
    "=": operator.eq,
    "<": operator.lt,
    "≤": operator.le,
    ">": operator.gt,
    "≥": operator.ge,
}


class Goal(NamedTuple):
    """What a figure ought to be: its ratio where it has a baseline, else each of its values."""

    sign: Literal["=", "<", "≤", ">", "≥"]
    bound: float

    def __str__(self) -> str:
        return f"{self.sign} {number(self.bound)}"

    def met_by(self, value: float) -> bool:
        return bool(SIGNS[self.sign](value, self.bound))


@dataclass(frozen=True)
class Figure:
    """One line of the table. `limits` are the baseline's values, in the same unit.

    Repeats of figure and baseline alternate, so that a busy moment of the machine meets both.
    """

    what: str
    unit: str
    values: Sequence[float]
    baseline: str = ""
    limits: Sequence[float] = ()
    goal: Goal | None = None

    @property
    def ratio(self) -> float | None:
        """Figure ÷ baseline: the median over pairs where both were repeated alike."""
        if not self.limits:
            return None
        if len(self.limits) == len(self.values):
            return median(v / limit for v, limit in zip(self.values, self.limits, strict=True))
        return median(self.values) / median(self.limits)

    @property
    def met(self) -> bool:
        """Whether the goal is met, if there is one."""
        if not self.goal:
            return True
        judged = self.values if self.ratio is None else [self.ratio]
        return all(map(self.goal.met_by, judged))

    @property
    def wrong(self) -> bool:
        """A goal of correctness is missed. A ratio that is missed is slow, not wrong."""
        return self.ratio is None and not self.met

    def cells(self) -> tuple[str, ...]:
        return (
            self.what,
            number(median(self.values)),
            number(min(self.values)) if len(self.values) > 1 else "",
            self.unit,
            self.baseline,
            number(median(self.limits)) if self.limits else "",
            "" if self.ratio is None else number(self.ratio),
            str(self.goal or ""),
            ("yes" if self.met else "NO") if self.goal else "",
        )


def number(value: float) -> str:
    """Three digits that matter, without an exponent."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3g}"


def table(figures: Sequence[Figure]) -> str:
    rows = [HEADINGS, *(figure.cells() for figure in figures)]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    rows.insert(1, tuple("-" * width for width in widths))
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column in WORDS else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    )


def seconds(do: Callable[[], object]) -> float:
    """How long one call takes by the wall clock."""
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


def say(what: str) -> None:
    """Progress, on stderr: standard output carries the table alone."""
    print(what, file=sys.stderr, flush=True)
