"""Lines of the log: where an exception arose and what kind it is, not what it says.

What an exception says may hold what somebody wrote: the database repeats the whole row that it
refuses, a mail server the address. So only words that cannot hold data are written.
"""

import copy
import logging
import traceback
from collections.abc import Iterator
from types import TracebackType

import psycopg
from django.db import Error as DatabaseError

WITHHELD = "(what it says is left out of the log)"
ROWS, VALUES, RAISED = "23", "22", "P0"  # classes of SQLSTATE: constraints, data, own triggers
ExceptionInfo = (
    tuple[type[BaseException], BaseException, TracebackType | None] | tuple[None, None, None]
)


class Line(logging.Formatter):
    """A line for each record; an exception's own words are replaced, in the message as well."""

    def format(self, record: logging.LogRecord) -> str:
        kept = copy.copy(record)
        kept.msg, kept.args, kept.exc_text = record.getMessage(), None, None
        error = record.exc_info[1] if record.exc_info else None
        for each in chain(error):
            for words in filter(None, (repr(each), str(each))):
                kept.msg = kept.msg.replace(words, _named(each))
        return super().format(kept)

    def formatException(self, ei: ExceptionInfo) -> str:  # noqa: N802 - the standard library's name
        return "\n".join(_told(each) for each in reversed(list(chain(ei[1]))))


def chain(error: BaseException | None) -> Iterator[BaseException]:
    """The exception, what it was raised from, and so on."""
    seen = set[int]()
    while error is not None and id(error) not in seen:
        yield error
        seen.add(id(error))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _told(error: BaseException) -> str:
    frames = "".join(traceback.format_tb(error.__traceback__))
    return f"Traceback (most recent call last):\n{frames}{_named(error)}"


def _named(error: BaseException) -> str:
    kind = type(error)
    return f"{kind.__module__}.{kind.__qualname__}: {_said(error)}"


def _said(error: BaseException) -> str:
    """What can be told of it without repeating anybody's words."""
    cause = error.__cause__ if isinstance(error, DatabaseError) else error
    if isinstance(cause, psycopg.Error):
        return _said_by_database(cause)
    if isinstance(error, OSError) and error.errno is not None:
        return f"[Errno {error.errno}] {error.strerror}"
    return WITHHELD


def _said_by_database(error: psycopg.Error) -> str:
    """State and constraint; the first line of what it says, where that holds no values."""
    state, about = error.sqlstate or "", error.diag.constraint_name or ""
    first = str(error).partition("\n")[0]
    says = WITHHELD if state.startswith((ROWS, VALUES, RAISED)) else first
    return " ".join(filter(None, (state and f"SQLSTATE {state}", about, says)))
