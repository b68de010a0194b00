"""What tables are made of: a study's scope, columns with their SQL, sources of rows."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from analytics.models import SnapshotMasking
from ema.models import Study

CODE = 'participant.code COLLATE "C"'

# What the type of a column is called in the codebook.
TEXT, WORD = "text", "word"
INSTANT, DAY = "instant, UTC, ISO 8601", "date, ISO 8601"
WHOLE, NUMBER = "whole number", "number"
LOCAL = "local date and time, ISO 8601"

GUARDED = r"=+@\-\t\r\n＝＋－＠"  # the inside of a set, for the regular expressions of all readers


@dataclass(frozen=True)
class Scope:
    """What a snapshot covers: a study as it stands, prompts judged at `moment`."""

    study: Study
    masking: str
    moment: datetime

    @property
    def with_arms(self) -> bool:
        return self.masking == SnapshotMasking.UNMASKED


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
    key: Sequence[str]

    def select(self, scope: Scope) -> tuple[str, Sequence[Any]]:
        """The whole table as one SELECT and its parameters."""
        listed = ", ".join(f"{column.sql} AS {column.name}" for column in self.columns(scope))
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


def instant(name: str, sql: str, meaning: str) -> Column:
    utc = f"to_char({sql} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
    return Column(name, utc, INSTANT, meaning)


def day(name: str, sql: str, meaning: str) -> Column:
    return Column(name, f"to_char({sql}, 'YYYY-MM-DD')", DAY, meaning)


def whole(name: str, sql: str, meaning: str, labels: Mapping[str, str] | None = None) -> Column:
    return Column(name, sql, WHOLE, meaning, labels or {})


def number(name: str, sql: str, meaning: str) -> Column:
    return Column(name, sql, NUMBER, meaning)


PARTICIPANT = text("participant_id", "participant.code", "The participant's pseudonym.")
