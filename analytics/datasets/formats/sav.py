"""SPSS's .sav, written in batches.

Layout: the description of system files that PSPP publishes. Bytes 92 to 108 would be the time of
writing; they are fixed, so that bytes repeat. Instants are seconds in a double, which tells two
microseconds apart, not one.
"""

import struct
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from analytics.datasets.about import About
from analytics.datasets.columns import DAY, INSTANT, LOCAL, NUMBER
from analytics.datasets.draft import Draft, Hashed
from analytics.datasets.formats import fields
from analytics.datasets.formats.fields import NO_ANSWER, NO_VALUE, Field
from analytics.datasets.reading import Written

if TYPE_CHECKING:
    import pyarrow

STAMP = b"01 Jan 7000:00:00"
RESERVED = (*["all", "and", "by", "eq", "ge", "gt", "le", "lt", "ne", "not", "or", "to", "with"],)
EPOCH = 141428  # days from 14 October 1582 to 1970
SYSTEM = -sys.float_info.max
LOWEST = np.nextafter(SYSTEM, 0)
NOT_ANSWERED, NOT_GIVEN = -8.0, -9.0
FORMATS = {INSTANT: (22, 23, 2), LOCAL: (22, 23, 2), DAY: (39, 10, 0), NUMBER: (5, 12, 4)}
CHUNK, HELD = 252, 255  # a long text is cut into variables of 255 bytes, counted by 252


def write(draft: Draft, tables: Sequence[Written], about: About) -> None:
    for table in tables:
        with draft.open(f"data/{table.name}.sav") as file:
            _write(file, table, fields.fields_of(table, _named))


_named = partial(fields.named, longest=64, reserved=RESERVED)


def _write(file: Hashed, table: Written, found: list[Field]) -> None:
    row = np.dtype(
        [(field.name, f"S{_bytes(field)}" if field.is_text else "<f8") for field in found]
    )
    file.write(_header(table, row.itemsize // 8))
    for block in (*_variables(found), *_labels(found), *_extensions(table, found)):
        file.write(block)
    file.write(struct.pack("<ii", 999, 0))
    for block in fields.records(table, row, partial(_fill, table, found)):
        file.write(block)


def _header(table: Written, segments: int) -> bytes:
    return (
        b"$FL2"
        + b"@(#) SPSS DATA FILE Fourbeat".ljust(60)
        + struct.pack("<iiiiid", 2, segments, 0, 0, table.rows, 100.0)
        + STAMP
        + _fitting(table.row, 64).ljust(64)
        + bytes(3)
    )


def _fitting(text: str, most: int) -> bytes:
    """At most so many bytes of a text, cut between characters; the codebook has all of it."""
    return text.encode()[:most].decode(errors="ignore").encode()


def _cuts(field: Field) -> list[int]:
    """Widths of the variables that a text is cut into; one when it is not long."""
    if field.width <= HELD:
        return [field.width]
    whole = (field.width + CHUNK - 1) // CHUNK - 1
    return [HELD] * whole + [field.width - whole * CHUNK]


def _bytes(field: Field) -> int:
    """Bytes of a text in a row: each variable in eights."""
    return sum(-(-width // 8) * 8 for width in _cuts(field))


def _short(place: int) -> str:
    return f"V{place + 1}"


def _variables(found: list[Field]) -> Iterator[bytes]:
    for place, field in enumerate(found):
        if not field.is_text:
            kind, width, decimals = FORMATS.get(field.column.kind, (5, 12, 0))
            yield _variable(field, 0, _short(place), kind << 16 | width << 8 | decimals)
            continue
        for part, width in enumerate(_cuts(field)):
            name = _short(place) if part == 0 else f"W{place + 1}_{part}"
            yield _variable(field, width, name, 1 << 16 | width << 8)
            rest = struct.pack("<iiiiii", 2, -1, 0, 0, 0, 0) + b" " * 8
            yield rest * (-(-width // 8) - 1)


def _variable(field: Field, width: int, name: str, shown: int) -> bytes:
    label = _fitting(field.column.meaning, 252)
    missing = _missing(field)
    return (
        struct.pack("<iiiiii", 2, width, 1, len(missing), shown, shown)
        + name.encode().ljust(8)
        + struct.pack("<i", len(label))
        + label.ljust(-(-len(label) // 4) * 4)
        + struct.pack(f"<{len(missing)}d", *missing)
    )


def _missing(field: Field) -> list[float]:
    """-8 and -9, of items that are never that low."""
    return [NOT_GIVEN, NOT_ANSWERED] if field.column.has_room else []


def _labels(found: list[Field]) -> Iterator[bytes]:
    """Of numbers and of texts of up to eight bytes."""
    for index, field in zip(_indexes(found), found, strict=True):
        labels: list[tuple[bytes, str]]
        if field.is_text:
            short = field.width <= 8
            labels = [(str(v).encode().ljust(8), text) for v, text in field.labels] if short else []
        else:
            own = sorted((float(value), label) for value, label in field.labels)
            if _missing(field):
                own = [(NOT_GIVEN, NO_VALUE), (NOT_ANSWERED, NO_ANSWER), *own]
            labels = [(struct.pack("<d", value), label) for value, label in own]
        if labels:
            yield struct.pack("<ii", 3, len(labels)) + b"".join(
                value + _counted(_fitting(label, 120)) for value, label in labels
            )
            yield struct.pack("<iii", 4, 1, index)


def _indexes(found: list[Field]) -> list[int]:
    """The place of each field, counted in pieces of eight bytes from 1."""
    sizes = [_bytes(field) if field.is_text else 8 for field in found]
    return [1 + start // 8 for start in np.cumsum([0, *sizes[:-1]]).tolist()]


def _counted(label: bytes) -> bytes:
    return (bytes([len(label)]) + label).ljust(-(-(len(label) + 1) // 8) * 8)


def _extensions(table: Written, found: list[Field]) -> Iterator[bytes]:
    yield _extension(3, 4, struct.pack("<8i", 1, 0, 0, -1, 1, 1, 2, 65001))
    yield _extension(4, 8, struct.pack("<3d", SYSTEM, sys.float_info.max, LOWEST))
    yield _extension(11, 4, b"".join(_display(field) for field in found))
    names = "\t".join(f"{_short(place)}={field.name}" for place, field in enumerate(found))
    yield _extension(13, 1, names.encode())
    long = [(place, field) for place, field in enumerate(found) if field.width > HELD]
    if long:
        widths = "".join(f"{_short(place)}={field.width:05d}\0\t" for place, field in long)
        yield _extension(14, 1, widths.encode())
    if labels := b"".join(_long_labels(found)):
        yield _extension(21, 1, labels)
    yield _extension(16, 8, struct.pack("<qq", 1, table.rows))
    yield _extension(20, 1, b"UTF-8")


def _extension(kind: int, size: int, content: bytes) -> bytes:
    return struct.pack("<iiii", 7, kind, size, len(content) // size) + content


def _display(field: Field) -> bytes:
    """Measure (1 nominal, 3 scale), width and alignment of every variable, cut ones included."""
    if not field.is_text:
        return struct.pack("<iii", 1 if field.column.labels else 3, 12, 1)
    return struct.pack("<iii", 1, min(field.width, 32), 0) * len(_cuts(field))


def _long_labels(found: list[Field]) -> Iterator[bytes]:
    """Labels of texts longer than eight bytes, by their long names."""
    for field in found:
        if field.is_text and 8 < field.width <= HELD and field.labels:
            name = field.name.encode()
            yield struct.pack("<i", len(name)) + name
            yield struct.pack("<ii", field.width, len(field.labels))
            for value, label in field.labels:
                cell, text = str(value).encode().ljust(field.width), _fitting(label, 120)
                yield struct.pack("<i", len(cell)) + cell + struct.pack("<i", len(text)) + text


def _fill(table: Written, found: list[Field], array: Any, batch: "pyarrow.RecordBatch") -> None:
    answered = fields.reasons(batch, table)
    for place, field in enumerate(found):
        column = batch.column(place)
        if field.is_text:
            array[field.name] = _texts(column, field)
            continue
        values = fields.numbers(column, field.column.kind, epoch=EPOCH, per_second=1)
        if field.column.kind == DAY:
            values *= 86400.0
        missing = np.isnan(values)
        values[missing] = SYSTEM
        if _missing(field):
            values[missing & answered] = NOT_GIVEN
            values[missing & ~answered] = NOT_ANSWERED
        array[field.name] = values


def _texts(column: "pyarrow.Array", field: Field) -> Any:
    """Texts filled up with blanks; of a long one, 255 bytes and a blank, again and again."""
    size = _bytes(field)
    if field.width <= HELD:
        return _blank(fields.strings(column, size), size)
    cut = [
        b" ".join(text[at : at + HELD].ljust(HELD) for at in range(0, max(len(text), 1), HELD))
        for text in (str(cell or "").encode() for cell in column.to_pylist())
    ]
    return _blank(np.array(cut, dtype=f"S{size}"), size)


def _blank(texts: Any, size: int) -> Any:
    """Zeros at the end become blanks."""
    raw = texts.view(np.uint8).reshape(len(texts), size)
    raw[raw == 0] = 32
    return raw.view(f"S{size}").reshape(-1)
