"""A laboratory's file of urine results: CSV, a line per test."""

import csv
from collections.abc import Iterator, Sequence
from datetime import date, datetime
from typing import NamedTuple

from django.db.models import QuerySet

from ema.audit import Actor
from ema.models import Participant, Site, Study, UrineTest
from ema.models.urine import UrineResult
from ema.urine import Entry
from ema.urine_batch import BatchRefused, Recorded, record_results

COLUMNS = ("participant", "due_on", "result", "collected_on")
MAY_HAVE = ("reason",)
NEAREST = 2
Tests = dict[str, dict[date, int]]


class FileRefused(ValueError):
    """Nothing was recorded; `faults` has a sentence for each line that is wrong."""

    def __init__(self, faults: Sequence[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = list(faults)


class _WrongLine(ValueError):
    """What is wrong with a line."""


class Line(NamedTuple):
    number: int
    entry: Entry


def record_file(
    *,
    study: Study,
    text: str,
    now: datetime,
    actor: Actor,
    is_rehearsal: bool = False,
    sites: QuerySet[Site] | None = None,
) -> Recorded:
    """Enter a file's results, all or none; a rehearsal saves nothing. Raises FileRefused.

    Of these sites, where whoever enters them is kept to some.
    """
    people = study.participants.all()
    lines = _read(people.filter(site__in=sites) if sites is not None else people, text)
    numbers = {line.entry.test: line.number for line in lines}
    try:
        return record_results(
            entries=[line.entry for line in lines], now=now, actor=actor, is_rehearsal=is_rehearsal
        )
    except BatchRefused as error:
        told = sorted((numbers[test], why) for test, why in error.problems.items())
        raise FileRefused([f"Line {number}: {why}" for number, why in told]) from error


def open_tests(study: Study, now: datetime) -> Iterator[tuple[str, ...]]:
    """The tests that wait for a result, as lines of a file to fill in."""
    yield COLUMNS
    waiting = UrineTest.objects.open().filter(participant__study=study, due_on__lte=now.date())
    listed = waiting.order_by("participant__code", "due_on")
    for code, due_on in listed.values_list("participant__code", "due_on"):
        yield (code, due_on.isoformat(), "", "")


def _read(people: QuerySet[Participant], text: str) -> list[Line]:
    """Every line, or FileRefused with what is wrong with each."""
    rows = _rows(text)
    tests = _tests(people)
    lines: list[Line] = []
    faults: list[str] = []
    seen: dict[int, int] = {}
    for number, row in rows:
        try:
            entry = _entry(row, tests)
            if (first := seen.setdefault(entry.test, number)) != number:
                raise _WrongLine(f"the same test is in line {first} already.")
            lines.append(Line(number, entry))
        except _WrongLine as error:
            faults.append(f"Line {number}: {error}")
    if faults:
        raise FileRefused(faults)
    return lines


def _rows(text: str) -> list[tuple[int, dict[str, str]]]:
    """The lines below the header, with their numbers; commas or semicolons between fields."""
    text = text.removeprefix("\ufeff")
    header = text.partition("\n")[0]
    mark = ";" if header.count(";") > header.count(",") else ","
    reader = csv.DictReader(text.splitlines(), delimiter=mark, restkey="", restval="")
    named = [name.strip().lower() for name in reader.fieldnames or ()]
    if missing := [name for name in COLUMNS if name not in named]:
        raise FileRefused(
            [f"Line 1 names no column {', '.join(missing)}: begin with {','.join(COLUMNS)}."]
        )
    if unknown := [name for name in named if name not in (*COLUMNS, *MAY_HAVE)]:
        raise FileRefused([f"Line 1 names {', '.join(unknown)}, which is no column of this file."])
    reader.fieldnames = named
    rows = [(reader.line_num, row) for row in reader]
    if not rows:
        raise FileRefused(["The file has no lines below its header."])
    return rows


def _tests(people: QuerySet[Participant]) -> Tests:
    """By code of the participant and day."""
    found: Tests = {code: {} for code in people.values_list("code", flat=True)}
    tests = UrineTest.objects.filter(participant__in=people)
    for code, due_on, pk in tests.values_list("participant__code", "due_on", "pk"):
        found[code][due_on] = pk
    return found


def _entry(row: dict[str, str], tests: Tests) -> Entry:
    if row.get(""):
        raise _WrongLine("there are more fields than columns.")
    said = {name: row.get(name, "").strip() for name in (*COLUMNS, *MAY_HAVE)}
    code, result = said["participant"], said["result"].lower()
    if code not in tests:
        raise _WrongLine(f"there is no participant {code!r} in this study.")
    due_on = _date(said["due_on"], "due_on")
    if result not in UrineResult.values:
        raise _WrongLine(f"{said['result']!r} is no result: write {', '.join(UrineResult.values)}.")
    collected_on = _date(said["collected_on"], "collected_on") if said["collected_on"] else None
    if due_on not in tests[code]:
        raise _WrongLine(_no_test(code, due_on, tests[code]))
    return Entry(tests[code][due_on], result, collected_on, said["reason"][:500])


def _no_test(code: str, due_on: date, there: dict[date, int]) -> str:
    nearest = sorted(there, key=lambda on: abs(on - due_on))[:NEAREST]
    named = " and ".join(on.isoformat() for on in sorted(nearest))
    instead = f"the nearest {'is' if len(nearest) == 1 else 'are'} due on {named}."
    return f"no test of {code} is due on {due_on}: " + (instead if named else "none is scheduled.")


def _date(text: str, column: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise _WrongLine(f"{column} {text!r} is no date: write it as 2026-06-01.") from None
