"""Abstinence, lapse and relapse of many participants at once. Pure.

What `analytics.abstinence` says of one calendar of urine tests, for a whole study in a few
passes over arrays: the same definitions, the same numbers.
"""

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]
Bools = NDArray[np.bool_]
NEGATIVE, POSITIVE, MISSED, OPEN = range(4)
DAY_BITS = 32
NEVER = -1  # the day of a lapse or relapse that did not happen
STAYED = np.iinfo(np.int64).max  # the day of drop-out of whom did not drop out


class Scheduled(NamedTuple):
    """Scheduled tests: whose, how many days after day 0, and the result; arrays of one length."""

    person: Ints
    day: Ints
    result: Ints

    def where(self, these: Bools) -> "Scheduled":
        return Scheduled(self.person[these], self.day[these], self.result[these])

    def in_order(self) -> "Scheduled":
        """By person and day; itself where it is in order already."""
        place = (self.person << DAY_BITS) + self.day
        if (np.diff(place) > 0).all():
            return self
        order = np.argsort(place)
        return Scheduled(self.person[order], self.day[order], self.result[order])


class Calendars(NamedTuple):
    """The outcomes of everybody with a test after day 0; arrays of one length, days since day 0.

    `person` are those of the tests, ascending. As `analytics.abstinence.Abstinence`, with NEVER
    for the days of what did not happen.
    """

    person: Ints
    last_day: Ints
    n_tests: Ints
    n_positive: Ints
    n_missed: Ints
    longest_abstinence: Ints
    longest_run: Ints
    lapse_day: Ints
    relapse_day: Ints

    def where(self, these: Bools) -> "Calendars":
        return Calendars(*(column[these] for column in self))

    def each(self) -> Iterator[dict[str, int | None]]:
        """A participant at a time, None for the days of what did not happen."""
        for row in zip(*(column.tolist() for column in self), strict=True):
            yield {
                name: None if value == NEVER else value
                for name, value in zip(self._fields, row, strict=True)
            }

    def differ_from(self, others: "Calendars") -> bool:
        """Whether anybody's outcome does."""
        pairs = zip(self, others, strict=True)
        return not all(np.array_equal(one, other) for one, other in pairs)

    def until(self, event: str) -> tuple[Ints, Bools]:
        """Day of the first `lapse` or of the `relapse`, or of censoring; whether it happened."""
        day: Ints = self.lapse_day if event == "lapse" else self.relapse_day
        return np.where(day == NEVER, self.last_day, day), day != NEVER


def calendars(
    tests: Scheduled, dropped_out_on: Ints, *, missed_after_dropout_counts: bool
) -> Calendars:
    """From tests with a known result, no two of one person on one day, in any order.

    `dropped_out_on` by person, STAYED for most.
    """
    kept = (tests.day > 0) & (tests.result != OPEN)
    if not missed_after_dropout_counts:
        kept &= (tests.result != MISSED) | (tests.day <= dropped_out_on[tests.person])
    tests = tests.where(kept)
    person, day, result = tests.in_order()
    first = np.flatnonzero(np.diff(person, prepend=-1))
    last = np.append(first[1:], len(person))[: len(first)] - 1
    lapse = result != NEGATIVE
    again = lapse.copy()
    again[1:] &= lapse[:-1]
    again[first] = False
    return Calendars(
        person=person[first],
        last_day=day[last],
        n_tests=last - first + 1,
        n_positive=_sum(result == POSITIVE, first),
        n_missed=_sum(result == MISSED, first),
        longest_abstinence=_longest_stretch(person, day, lapse, last),
        longest_run=_most(_runs(lapse, first), first),
        lapse_day=_first_day(person, day, lapse, person[first]),
        relapse_day=_first_day(person, day, again, person[first]),
    )


def _longest_stretch(person: Ints, day: Ints, lapse: Bools, last: Ints) -> Ints:
    """From day 0 or a lapse until the next lapse, or until the last test; the longest by person."""
    marked = lapse.copy()
    marked[last] = True
    whose, at = person[marked], day[marked]
    begins = np.flatnonzero(np.diff(whose, prepend=-1))
    since = np.concatenate([[0], at[:-1]])[: len(at)]
    since[begins] = 0
    return _most(at - since, begins)


def _runs(lapse: Bools, first: Ints) -> Ints:
    """How many tests in a row were negative, up to each."""
    place = np.arange(len(lapse))
    reset = np.where(lapse, place, -1)
    reset[first] = np.where(lapse[first], first, first - 1)
    return place - np.maximum.accumulate(reset)


def _first_day(person: Ints, day: Ints, happened: Bools, people: Ints) -> Ints:
    whose, at = person[happened], day[happened]
    once = np.flatnonzero(np.diff(whose, prepend=-1))
    found = np.full(len(people), NEVER, dtype=np.int64)
    found[np.searchsorted(people, whose[once])] = at[once]
    return found


def _sum(values: Bools, first: Ints) -> Ints:
    return np.add.reduceat(values.astype(np.int64), first) if len(first) else first


def _most(values: Ints, first: Ints) -> Ints:
    return np.maximum.reduceat(values, first) if len(first) else first
