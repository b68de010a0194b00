"""What tables are made of: a study's scope, columns with their SQL, sources of rows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from analytics.models import SnapshotMasking
from ema.models import Study

CODE = 'participant.code COLLATE "C"'


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
    name: str
    sql: str
    kind: str
    meaning: str


@dataclass(frozen=True)
class Source:
    """FROM and WHERE of a table with its parameters, and the order of its rows."""

    sql: str
    parameters: Sequence[Any]
    order: str


@dataclass(frozen=True)
class Table:
    name: str
    row: str
    columns: Callable[[Scope], Sequence[Column]]
    source: Callable[[Scope], Source]

    def select(self, scope: Scope) -> tuple[str, Sequence[Any]]:
        """The whole table as one SELECT and its parameters."""
        listed = ", ".join(f"{column.sql} AS {column.name}" for column in self.columns(scope))
        source = self.source(scope)
        return f"SELECT {listed} FROM {source.sql} ORDER BY {source.order}", source.parameters  # noqa: S608


def text(name: str, sql: str, meaning: str) -> Column:
    """Text from people or phones. A cell that a spreadsheet would run gets an apostrophe first."""
    formula = f"({sql}) ~ '^[=+@\\-\\t\\r\\n]'"
    guarded = f"CASE WHEN {formula} THEN '''' || ({sql}) ELSE nullif(({sql}), '') END"
    return Column(name, guarded, "text", meaning)


def word(name: str, sql: str, meaning: str) -> Column:
    """One of a fixed set of words, or a key made by the software."""
    return Column(name, f"nullif({sql}, '')", "word", meaning)


def instant(name: str, sql: str, meaning: str) -> Column:
    utc = f"to_char({sql} AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"')"
    return Column(name, utc, "instant, UTC, ISO 8601", meaning)


def day(name: str, sql: str, meaning: str) -> Column:
    return Column(name, f"to_char({sql}, 'YYYY-MM-DD')", "date, ISO 8601", meaning)


def whole(name: str, sql: str, meaning: str) -> Column:
    return Column(name, sql, "whole number", meaning)


def number(name: str, sql: str, meaning: str) -> Column:
    return Column(name, sql, "number", meaning)


PARTICIPANT = text("participant_id", "participant.code", "The participant's pseudonym.")
