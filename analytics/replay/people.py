"""From entries to people with numbered, dated prompts, and the scales of their ratings. Pure."""

import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal
from hashlib import sha256

from analytics.csv_rows import MISSING
from analytics.file_options import WrongOptionError, listed
from analytics.replay.entries import Entry
from analytics.replay.file import Columns, Selection
from analytics.replay.findings import Findings

FIRST_DAY = date(2001, 1, 1)  # of studies without dates: a Monday, safely in the past
DAY_STARTS, DAY_LASTS = time(8), timedelta(hours=14)
PROMPTS_OF_A_DAY = 10  # where the file has neither days nor times
MOST_DECIMALS = 4
LONGEST_CODE = 40
USUAL_CODE = re.compile(r"[^\W_][\w.-]*")
ANSWER_AFTER = timedelta(minutes=1)  # where the file does not say


@dataclass(frozen=True)
class Occasion:
    """A prompt of a person, and what came of it: `values` is None when it was missed."""

    row: int
    day: int
    ordinal: int
    due_at: datetime
    completed_at: datetime
    values: Mapping[str, Decimal | None] | None


@dataclass(frozen=True)
class Person:
    """A participant; `first_on` is study day 1."""

    code: str
    arm: str | None
    first_on: date
    occasions: tuple[Occasion, ...]


@dataclass(frozen=True)
class Scale:
    """A rating: its column, range and decimals."""

    column: str
    minimum: int
    maximum: int
    decimals: int


def arms_of(
    entries: Sequence[Entry], arm_map: Mapping[str, str], findings: Findings
) -> dict[str, str]:
    """The arm of each participant: one, or none with a finding."""
    seen: defaultdict[str, dict[str, Entry]] = defaultdict(dict)
    for entry in entries:
        if entry.arm in MISSING:
            continue
        label = arm_map.get(entry.arm, None if arm_map else entry.arm)
        if label is None:
            findings.add("arm_unknown", entry.row, participant=entry.participant, value=entry.arm)
        else:
            seen[entry.participant].setdefault(label, entry)
    found = {}
    for entry in {e.participant: e for e in reversed(entries)}.values():
        labels = seen[entry.participant]
        if len(labels) == 1:
            found[entry.participant] = next(iter(labels))
        else:
            problem = "arm_twice" if labels else "arm_missing"
            row = max((e.row for e in labels.values()), default=entry.row)
            value = " and ".join(labels)
            findings.add(problem, row, participant=entry.participant, value=value)
    return found


def arm_map_of(pairs: Sequence[str], selection: Selection, column: str | None) -> dict[str, str]:
    """`FROM=TO` pairs, checked against the labels the file has."""
    found: dict[str, str] = {}
    for pair in pairs:
        label, equals, arm = pair.partition("=")
        if not equals or not arm:
            raise WrongOptionError(f"--arm-map {pair!r} is not of the form FROM=TO")
        if column is None:
            raise WrongOptionError(f"--arm-map {pair!r} needs --arm: which column names the arm?")
        there = sorted({row[column] for row in selection.rows})
        if label not in there:
            raise WrongOptionError(
                f"--arm-map {pair!r}: column {column!r} has no {label!r}; it has {listed(there)}"
            )
        found[label] = arm
    return found


def scales_of(
    entries: Sequence[Entry],
    columns: Columns,
    declared: tuple[int, int] | None,
    findings: Findings,
) -> dict[str, Scale]:
    """Range and decimals of each rating: as declared, or as wide as the data."""
    found = {}
    for role, column in columns.items.items():
        values = [(entry, entry.values[role]) for entry in entries if role in entry.values]
        decimals = 0
        for entry, value in values:
            digits = _decimals(value)
            decimals = max(decimals, min(digits, MOST_DECIMALS))
            outside = declared and not declared[0] <= value <= declared[1]
            problems = {"value_rounded": digits > MOST_DECIMALS, "value_outside": outside}
            for problem, is_so in problems.items():
                if is_so:
                    findings.add(
                        problem,
                        entry.row,
                        participant=entry.participant,
                        column=column,
                        value=str(value),
                    )
        low, high = declared or _range([value for _, value in values])
        found[role] = Scale(column, low, high, decimals)
    return found


def _decimals(value: Decimal) -> int:
    exponent = value.normalize().as_tuple().exponent
    return max(0, -exponent) if isinstance(exponent, int) else 0


def _range(values: Sequence[Decimal]) -> tuple[int, int]:
    low = int(min(values, default=Decimal(0)).to_integral_value(ROUND_FLOOR))
    high = int(max(values, default=Decimal(1)).to_integral_value(ROUND_CEILING))
    edge = 2**31 - 1
    low, high = max(low, -edge), min(high, edge)
    return low, max(high, low + 1)


def people_of(
    entries: Sequence[Entry],
    columns: Columns,
    arms: Mapping[str, str],
    zone: tzinfo,
    findings: Findings,
) -> list[Person]:
    """Everybody, in the order of the file, with their prompts numbered and dated."""
    entries = _counted_from_one(entries, columns, findings)
    rows: defaultdict[str, list[Entry]] = defaultdict(list)
    for entry in entries:
        rows[entry.participant].append(entry)
    placed = {who: _placed(mine, columns, zone, findings) for who, mine in rows.items()}
    slots = max((o for _, days in placed.values() for _, _, o in days), default=1)
    return [
        Person(
            code=_code(who, rows[who][0].row, findings),
            arm=arms.get(who),
            first_on=first_on,
            occasions=tuple(
                _occasion(entry, day, ordinal, first_on, slots, columns, zone)
                for entry, day, ordinal in days
            ),
        )
        for who, (first_on, days) in placed.items()
    ]


def _counted_from_one(
    entries: Sequence[Entry], columns: Columns, findings: Findings
) -> Sequence[Entry]:
    for column, name in ((columns.day, "day"), (columns.prompt, "prompt")):
        zeros = [entry for entry in entries if getattr(entry, name) == 0]
        if column and zeros:
            findings.add("from_zero", zeros[0].row, column=column, value="0")
            entries = [
                entry
                if (number := getattr(entry, name)) is None
                else replace(entry, **{name: number + 1})
                for entry in entries
            ]
    return entries


def _code(who: str, row: int, findings: Findings) -> str:
    """A code that enrolment takes; a changed one ends in a hash, so that no two become one."""
    problems = {
        "participant_long": len(who) > LONGEST_CODE,
        "participant_unusual": USUAL_CODE.fullmatch(who) is None,
    }
    for problem, is_so in problems.items():
        if is_so:
            findings.add(problem, row, participant=who, value=who)
    if not any(problems.values()):
        return who
    kept = re.sub(r"[^\w.-]", "-", who[:31]).lstrip("._-")
    return f"{kept}-{sha256(who.encode()).hexdigest()[:8]}".lstrip("-")


Placed = tuple[Entry, int, int]


def _placed(
    entries: Sequence[Entry], columns: Columns, zone: tzinfo, findings: Findings
) -> tuple[date, list[Placed]]:
    """Study day 1, and each entry's day and number within it."""
    if not columns.day and not columns.at:
        ordered = sorted(entries, key=lambda e: e.prompt or 0) if columns.prompt else entries
        return FIRST_DAY, [
            (entry, i // PROMPTS_OF_A_DAY + 1, i % PROMPTS_OF_A_DAY + 1)
            for i, entry in enumerate(ordered)
        ]
    first_on = _first_day(entries, zone)
    days: defaultdict[int, list[Entry]] = defaultdict(list)
    day = 1
    for entry in entries:
        if entry.day is not None:
            day = entry.day
        elif entry.at:
            day = max((entry.at.astimezone(zone).date() - first_on).days + 1, 1)
        days[day].append(entry)
    numbered = [
        (entry, day, ordinal)
        for day in sorted(days)
        for entry, ordinal in _numbered(days[day], columns, findings)
    ]
    return first_on, numbered


def _first_day(entries: Sequence[Entry], zone: tzinfo) -> date:
    """Where most stamps say study day 1 is; without study days, the first stamp's date."""
    stamped = [(e.day, e.at.astimezone(zone).date()) for e in entries if e.at]
    if not stamped:
        return FIRST_DAY
    firsts = Counter(on - timedelta(days=day - 1) for day, on in stamped if day)
    return firsts.most_common(1)[0][0] if firsts else min(on for _, on in stamped)


def _numbered(
    entries: Sequence[Entry], columns: Columns, findings: Findings
) -> list[tuple[Entry, int]]:
    """Numbers within one day: the file's own; the next free one for those without or taken."""
    taken: dict[int, Entry] = {}
    later: list[Entry] = []
    for entry in entries:
        if entry.prompt and entry.prompt not in taken:
            taken[entry.prompt] = entry
            continue
        later.append(entry)
        if entry.prompt and columns.prompt:
            findings.add(
                "prompt_twice",
                entry.row,
                participant=entry.participant,
                column=columns.prompt,
                value=str(entry.prompt),
            )
    if not columns.prompt:  # in the order of their times, where there are any
        later.sort(key=lambda e: e.at.timestamp() if e.at else 0)
    free = max(taken, default=0)
    taken |= dict(enumerate(later, start=free + 1))
    return [(taken[number], number) for number in sorted(taken)]


def _occasion(
    entry: Entry,
    day: int,
    ordinal: int,
    first_on: date,
    slots: int,
    columns: Columns,
    zone: tzinfo,
) -> Occasion:
    """A prompt with its instants: the file's own, or spread evenly over 08–22 h of its day."""
    due_at = entry.at
    if due_at is None and entry.answered_at is not None:
        due_at = entry.answered_at - ANSWER_AFTER
    if due_at is None:
        morning = datetime.combine(first_on + timedelta(days=day - 1), DAY_STARTS, tzinfo=zone)
        slot = DAY_LASTS / slots * (ordinal - 0.5)
        due_at = morning.astimezone(UTC) + slot
    due_at = due_at.replace(microsecond=0)
    values = {role: _rounded(entry.values.get(role)) for role in columns.items}
    return Occasion(
        row=entry.row,
        day=day,
        ordinal=ordinal,
        due_at=due_at,
        completed_at=entry.answered_at or due_at + ANSWER_AFTER,
        values=values if entry.answered else None,
    )


def _rounded(value: Decimal | None) -> Decimal | None:
    if value is None or _decimals(value) <= MOST_DECIMALS:
        return value
    return round(value, MOST_DECIMALS)
