"""What tables are made of: a study's scope, columns with their SQL, sources of rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

from analytics.datasets import clocks
from analytics.models import Deidentified, SnapshotMasking
from ema.models import Study

CODE = 'participant.label COLLATE "C"'

# What the type of a column is called in the codebook.
TEXT, WORD = "text", "word"
INSTANT, DAY = "instant, UTC, ISO 8601", "date, ISO 8601"
WHOLE, NUMBER = "whole number", "number"
LOCAL = "local date and time, ISO 8601"
KEY = "decode(current_setting('fourbeat.release_key'), 'hex')"

GUARDED = r"=+@\-\t\r\n＝＋－＠"  # the inside of a set, for the regular expressions of all readers


@dataclass(frozen=True)
class Scope:
    """What a snapshot covers: a study as it stands, prompts judged at `moment`."""

    study: Study
    masking: str
    moment: datetime
    deidentify: str = Deidentified.NONE.value
    release_key: bytes = b""

    @property
    def with_arms(self) -> bool:
        return self.masking == SnapshotMasking.UNMASKED

    @property
    def tells_of_arms(self) -> bool:
        """By name or by a label that does not say which is which."""
        return self.masking != SnapshotMasking.MASKED

    @property
    def has_dates(self) -> bool:
        return self.deidentify != Deidentified.L3

    @property
    def has_zones(self) -> bool:
        """Zones, instants in UTC and whatever else could place or name somebody."""
        return self.deidentify in (Deidentified.NONE, Deidentified.L1)

    @cached_property
    def clock(self) -> str:
        """What clocks showed in this study's zones, as a table in SQL: zone, since, until, offset.

        Local times are made from these, so that they agree with Python's zones and not with
        whatever version of them PostgreSQL has.
        """
        return clocks.as_sql(self.study)

    @cached_property
    def people(self) -> str:
        """The study's participants, in SQL, with `label`, their pseudonym here, and `moved`, by
        how many days their dates lie earlier."""
        label, moved = "p.code", "0"
        if self.deidentify:
            label = f"'P' || upper(left(encode({_keyed('person', 'p.code')}, 'hex'), 12))"
        if not self.has_zones:
            drawn = _keyed("weeks", "p.code")
            moved = f"7 * (1 + mod(get_byte({drawn}, 0) * 256 + get_byte({drawn}, 1), 52))"
        return f"""(SELECT p.*, {label} AS label, {moved} AS moved
FROM ema_participant p WHERE p.study_id = {self.study.pk}) participant"""  # noqa: S608

    def identity(self, sql: str) -> str:
        """The id of a record; in a release, one that no other release has."""
        if not self.deidentify:
            return f"{sql}::text"
        return f"encode(substr({_keyed('record', f'{sql}::text')}, 1, 16), 'hex')::uuid::text"


def _keyed(purpose: str, sql: str) -> str:
    """A hash that only who has the release's key can make; the key has a fixed length."""
    return f"sha256({KEY} || convert_to('{purpose} ' || {sql}, 'UTF8'))"


@dataclass(frozen=True)
class Column:
    """`labels` says what values mean.

    Of an item in `prompts`, `is_item`: empty has two reasons; `has_room` for them as numbers, when
    the item is never −8 or lower.
    """

    name: str
    sql: str
    kind: str
    meaning: str
    labels: Mapping[str, str] = field(default_factory=dict)
    is_item: bool = False
    has_room: bool = False


@dataclass(frozen=True)
class Source:
    """FROM and WHERE of a table with its parameters, and the order of its rows."""

    sql: str
    parameters: Sequence[Any]
    order: str


@dataclass(frozen=True)
class Table:
    """One file: `key` names the columns that tell its rows apart."""

    name: str
    row: str
    columns: Callable[[Scope], Sequence[Column]]
    source: Callable[[Scope], Source]
    key: Callable[[Scope], Sequence[str]]

    def select(self, scope: Scope) -> tuple[str, Sequence[Any]]:
        """The whole table as one SELECT and its parameters."""
        listed = ", ".join(f'{column.sql} AS "{column.name}"' for column in self.columns(scope))
        source = self.source(scope)
        return f"SELECT {listed} FROM {source.sql} ORDER BY {source.order}", source.parameters  # noqa: S608


def text(name: str, sql: str, meaning: str, labels: Mapping[str, str] | None = None) -> Column:
    """Text from people or phones. A cell that a spreadsheet would run gets an apostrophe first.

    One that has apostrophes before such a character gets one more: whoever takes one away has what
    was written.
    """
    formula = f"({sql}) ~ '^''*[{GUARDED}]'"
    guarded = f"CASE WHEN {formula} THEN '''' || ({sql}) ELSE nullif(({sql}), '') END"
    return Column(name, guarded, TEXT, meaning, labels or {})


def word(name: str, sql: str, meaning: str, labels: Mapping[str, str] | None = None) -> Column:
    """One of a fixed set of words, or a key made by the software."""
    return Column(name, f"nullif({sql}, '')", WORD, meaning, labels or {})


OF_CLOCK = "clock.offset_min * interval '1 minute'"


def instant(scope: Scope, base: str, sql: str, meaning: str) -> Column:
    """An instant: in UTC, as `<base>_at_utc`. Where zones are dropped, `<base>_local`, by the clock
    of the row and moved by the participant's weeks; where dates are, `<base>_time`, to the minute.
    """
    moved = f"({sql} AT TIME ZONE 'UTC') + {OF_CLOCK} - participant.moved * interval '1 day'"
    if scope.has_zones:
        shown = f"to_char({sql} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
        return Column(f"{base}_at_utc", shown, INSTANT, meaning)
    if scope.has_dates:
        return local(f"{base}_local", moved, meaning)
    return Column(f"{base}_time", f"to_char({moved}, 'HH24:MI')", WORD, f"{meaning} Local time.")


def local(name: str, sql: str, meaning: str) -> Column:
    shown = f"to_char({sql}, 'YYYY-MM-DD\"T\"HH24:MI:SS.US')"
    return Column(name, shown, LOCAL, meaning)


def days(scope: Scope, name: str, sql: str, meaning: str) -> list[Column]:
    """A date, moved by the participant's weeks; none where dates are dropped."""
    shown = f"to_char({sql} - participant.moved, 'YYYY-MM-DD')"
    return [Column(name, shown, DAY, meaning)] if scope.has_dates else []


def whole(name: str, sql: str, meaning: str, labels: Mapping[str, str] | None = None) -> Column:
    return Column(name, sql, WHOLE, meaning, labels or {})


def number(name: str, sql: str, meaning: str) -> Column:
    return Column(name, sql, NUMBER, meaning)


PARTICIPANT = text("participant_id", "participant.label", "The participant's pseudonym.")
