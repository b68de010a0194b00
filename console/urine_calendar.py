"""A week of urine tests: who is due when, what is known, what waits to be entered."""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date, datetime, timedelta
from itertools import groupby
from typing import Any, NamedTuple

from django.db.models import Count, Q, QuerySet

from ema.entry_pairs import waiting_for
from ema.models import DoubleEntry, Participant, Study, UrineTest
from ema.models.urine import UrineResult
from ema.urine import today_of

DAY = timedelta(days=1)
ENTERED = ("entered once", "second entry late", "entries differ")
STATES = ("negative", "positive", "missed", "open", *ENTERED, "due today", "to come")


Counts = list[tuple[str, int]]


class Run(NamedTuple):
    """Abstinence up to the last known result: days since the last lapse, or since enrolment."""

    days: int
    negative_tests: int


class Cell(NamedTuple):
    test: UrineTest
    state: str
    may_enter: bool
    may_correct: bool
    may_decide: bool
    entered: DoubleEntry | None
    """The entries of a result that is not settled."""


class Line(NamedTuple):
    participant: Participant
    run: Run | None
    cells: list[Cell | None]


class Week(NamedTuple):
    monday: date

    @classmethod
    def of(cls, on: date) -> "Week":
        return cls(on - (on.isoweekday() - 1) * DAY)

    @property
    def days(self) -> list[date]:
        return [self.monday + number * DAY for number in range(7)]

    @property
    def before(self) -> date:
        return self.monday - 7 * DAY

    @property
    def after(self) -> date:
        return self.monday + 7 * DAY


def state_of(
    test: UrineTest, today: date, *, entered: DoubleEntry | None = None, grace: int | None = None
) -> str:
    """One of STATES; a second entry is late after the days of grace that the study gives."""
    if test.result:
        return test.result
    if entered and entered.second_by_id:
        return "entries differ"
    if entered:
        is_late = grace is not None and test.due_on + grace * DAY < today
        return "second entry late" if is_late else "entered once"
    if test.due_on == today:
        return "due today"
    return "open" if test.due_on < today else "to come"


def current_run(enrolled_on: date, results: Iterable[tuple[date, str]]) -> Run | None:
    """From the results by day, oldest first; None while nothing is known."""
    known = [(on, result) for on, result in results if result]
    if not known:
        return None
    since, negative = enrolled_on, 0
    for on, result in known:
        if result == UrineResult.NEGATIVE:
            negative += 1
        else:
            since, negative = on, 0
    return Run((known[-1][0] - since).days, negative)


def tests_of(people: QuerySet[Participant], week: Week) -> QuerySet[UrineTest]:
    return UrineTest.objects.filter(
        participant__in=people, due_on__range=(week.monday, week.days[-1])
    )


def due_in(
    people: QuerySet[Participant], week: Week, *, only_open: bool, until: date
) -> QuerySet[Participant]:
    """Who has a test in this week; or one that waits for its result."""
    due = Q(urine_tests__due_on__range=(week.monday, week.days[-1]))
    if only_open:
        due &= Q(urine_tests__result="", urine_tests__due_on__lte=until)
    return people.filter(due).distinct()


def counts(study: Study, people: QuerySet[Participant], week: Week, today: date) -> Counts:
    """How many tests of the week are in each state, by the date of the study's zone."""
    tests, grace = tests_of(people, week), study.urine_grace_days
    found = Counter[str]()
    alike = tests.order_by().values_list("due_on", "result").annotate(Count("pk"))
    for due_on, result, n in alike:
        found[state_of(UrineTest(due_on=due_on, result=result), today, grace=grace)] += n
    pairs = waiting_for(tests)
    for test in tests.filter(pk__in=list(pairs)):  # these few were counted as if not entered
        found[state_of(test, today, grace=grace)] -= 1
        found[state_of(test, today, entered=pairs[test.pk], grace=grace)] += 1
    shown = STATES if study.double_entry or pairs else [s for s in STATES if s not in ENTERED]
    return [(state, found[state]) for state in shown]


def lines(
    people: list[Participant], week: Week, *, days: list[date], writable: set[int], now: datetime
) -> Iterator[Line]:
    """A line for each participant, with a cell for each of the days."""
    tests = UrineTest.objects.filter(
        participant__in=people, due_on__range=(week.monday, week.days[-1])
    )
    listed = list(tests.order_by("participant_id", "due_on"))
    every = {owner: list(own) for owner, own in groupby(listed, lambda test: test.participant_id)}
    runs, pairs = runs_of(people), waiting_for(listed)
    for person in people:
        cells = {
            test.due_on: _cell(test, pairs.get(test.pk), person, writable, now)
            for test in every.get(person.pk, [])
        }
        yield Line(person, runs[person.pk], [cells.get(day) for day in days])


def runs_of(people: list[Participant]) -> dict[int, Run | None]:
    """Everybody's abstinence up to now."""
    known = UrineTest.objects.filter(participant__in=people).exclude(result="")
    rows = known.order_by("participant_id", "due_on")
    every = {
        owner: [(on, result) for _, on, result in own]
        for owner, own in groupby(
            rows.values_list("participant_id", "due_on", "result"), lambda row: row[0]
        )
    }
    return {one.pk: current_run(one.enrolled_on, every.get(one.pk, [])) for one in people}


def _cell(
    test: UrineTest,
    entered: DoubleEntry | None,
    person: Participant,
    writable: set[int],
    now: datetime,
) -> Cell:
    grace = person.study.urine_grace_days
    state = state_of(test, today_of(person, now), entered=entered, grace=grace)
    mine = person.site_id in writable
    may_enter = mine and state not in ("to come", "entries differ") and not test.result
    return Cell(
        test,
        state,
        may_enter=may_enter,
        may_correct=mine and bool(test.result),
        may_decide=mine and state == "entries differ",
        entered=entered,
    )


def as_rows(people: list[Participant], week: Week, now: datetime) -> Iterator[tuple[Any, ...]]:
    """The week as lines of a file: one a test."""
    yield (
        "participant",
        "site",
        "due_on",
        "state",
        "collected_on",
        "abstinent_days",
        "negative_tests_in_a_row",
    )
    for line in lines(people, week, days=week.days, writable=set(), now=now):
        for cell in filter(None, line.cells):
            yield (
                line.participant.code,
                line.participant.site.code,
                cell.test.due_on,
                cell.state,
                cell.test.collected_on or "",
                *(line.run or ("", "")),
            )
