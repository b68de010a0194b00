"""What each row says, cell by cell: who, what, when. What is wrong in it is reported."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo
from decimal import Decimal, InvalidOperation

from analytics.csv_rows import MISSING
from analytics.replay.file import Columns, Row, Selection
from analytics.replay.findings import Findings
from analytics.replay.times import Stamp, read_stamp

ANSWERED = frozenset({"answered", "complete", "completed", "responded", "yes", "true", "1"})
MISSED = frozenset(
    {"missed", "expired", "incomplete", "not answered", "unanswered", "no", "false", "0", ""}
)


@dataclass(frozen=True)
class Entry:
    """One row, read: who, what, when, as far as the file says."""

    row: int
    participant: str
    arm: str
    answered: bool
    values: Mapping[str, Decimal]
    day: int | None
    prompt: int | None
    at: datetime | None
    answered_at: datetime | None
    zone: str


def read_entries(
    selection: Selection,
    columns: Columns,
    findings: Findings,
    *,
    zone: tzinfo,
    now: datetime,
    padded: bool = False,
) -> list[Entry]:
    """What the rows say; a row that is no prompt is left out, with a finding."""
    reader = _Reader(columns, findings, zone, now, padded)
    found = [reader.entry(row) for row in selection.rows]
    return [entry for entry in found if entry is not None]


class _Reader:
    """Reads rows one by one, noting what is wrong."""

    def __init__(
        self, columns: Columns, findings: Findings, zone: tzinfo, now: datetime, padded: bool
    ) -> None:
        self.columns, self.findings, self.zone, self.now = columns, findings, zone, now
        self.padded = padded

    def entry(self, row: Row) -> Entry | None:
        participant = row[self.columns.participant]
        if participant in MISSING:
            self.findings.add("no_participant", row.number)
            return None
        values = {
            role: value
            for role, column in self.columns.items.items()
            if (value := self._value(row, participant, column)) is not None
        }
        answered = self._answered(row, participant, values)
        prompt = self._whole(row[self.columns.prompt]) if self.columns.prompt else None
        if problem := self._no_prompt(row, answered, prompt):
            self.findings.add(problem, row.number, participant=participant)
            return None
        at, answered_at = self._stamps(row, participant, answered)
        day = self._whole(row[self.columns.day]) if self.columns.day else None
        if self.columns.day and day is None:
            self._note("day_unreadable", row, participant, self.columns.day)
        if self.columns.prompt and prompt is None:
            self._note("prompt_unreadable", row, participant, self.columns.prompt)
        return Entry(
            row=row.number,
            participant=participant,
            arm=row[self.columns.arm] if self.columns.arm else "",
            answered=answered,
            values=values,
            day=day,
            prompt=prompt,
            at=at.at if at else None,
            answered_at=answered_at,
            zone=at.zone if at else "",
        )

    def _note(self, problem: str, row: Row, participant: str, column: str) -> None:
        self.findings.add(
            problem, row.number, participant=participant, column=column, value=row[column]
        )

    def _no_prompt(self, row: Row, answered: bool, prompt: int | None) -> str:
        """Why an unanswered row is no prompt, or nothing."""
        if answered:
            return ""
        if self.padded:
            return "padding"
        stamped = self.columns.at and row[self.columns.at] not in MISSING
        return "empty_row" if self.columns.prompt and prompt is None and not stamped else ""

    def _value(self, row: Row, participant: str, column: str) -> Decimal | None:
        cell = row[column]
        if cell in MISSING:
            return None
        try:
            value = Decimal(cell)
        except InvalidOperation:
            value = Decimal("nan")
        if not value.is_finite() or abs(value) >= Decimal(10) ** 12:
            self._note("value_not_number", row, participant, column)
            return None
        return value

    def _answered(self, row: Row, participant: str, values: Mapping[str, Decimal]) -> bool:
        """By the status word where there is one; values overrule `missed`."""
        if self.columns.status is None:
            return bool(values)
        column = self.columns.status
        word = row[column].strip().lower()
        if word in ANSWERED:
            if missing := [r for r in ("stress", "craving") if r not in values]:
                whole = len(missing) == 2
                self._note(
                    "answered_empty" if whole else "answered_partly", row, participant, column
                )
            return True
        if word not in MISSED and word.upper() not in MISSING:
            self._note("status_unknown", row, participant, column)
        elif values:
            self._note("missed_with_values", row, participant, column)
        return bool(values)

    def _stamps(
        self, row: Row, participant: str, answered: bool
    ) -> tuple[Stamp | None, datetime | None]:
        """The instant of the prompt and of its answer, checked against each other."""
        prompted = self._stamp(row, participant, self.columns.at)
        replied = self._stamp(row, participant, self.columns.answered_at)
        at = prompted.at if prompted else None
        answered_at = replied.at if replied else None
        if self.columns.at and row[self.columns.at] in MISSING:
            self._note("stamp_missing", row, participant, self.columns.at)
        self._late_issue(row, participant, prompted)
        if self.columns.answered_at is None:
            return prompted, None
        if not answered:
            if answered_at:
                hour = at is not None and (answered_at - at).total_seconds() == 3600
                problem = "missed_with_expiry" if hour else "missed_with_stamp"
                self._note(problem, row, participant, self.columns.answered_at)
            return prompted, None
        if answered_at is None:
            self._note("answer_time_missing", row, participant, self.columns.answered_at)
        elif at and answered_at < at:
            self._note("answered_early", row, participant, self.columns.answered_at)
        return prompted, answered_at

    def _stamp(self, row: Row, participant: str, column: str | None) -> Stamp | None:
        if column is None or row[column] in MISSING:
            return None
        stamp = read_stamp(row[column], zone=self.zone, now=self.now)
        if stamp.problem:
            self._note(stamp.problem, row, participant, column)
        return stamp

    def _late_issue(self, row: Row, participant: str, prompted: Stamp | None) -> None:
        """The planned time is a wall clock: it is compared with the clock as written."""
        column = self.columns.planned_at
        if column is None or prompted is None or prompted.at is None or row[column] in MISSING:
            return
        planned = read_stamp(row[column], zone=self.zone, now=self.now).written
        if planned and prompted.written and prompted.written > planned:
            self._note("issued_late", row, participant, column)

    @staticmethod
    def _whole(cell: str) -> int | None:
        """A whole number from 0 to 32,767, also when written 3.0; None for anything else."""
        try:
            value = Decimal(cell)
            return int(value) if value == int(value) and 0 <= value <= 32767 else None
        except (InvalidOperation, ValueError, OverflowError):
            return None
