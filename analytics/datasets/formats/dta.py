"""Stata's .dta, format 118 (Stata 14 and later), written in batches.

Layout: help dta_118 of Stata. There is no time stamp but a fixed one, so that bytes repeat.
"""

import struct
from collections.abc import Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np

from analytics.datasets.about import About
from analytics.datasets.columns import DAY, INSTANT, LOCAL, WHOLE
from analytics.datasets.draft import Draft, Hashed
from analytics.datasets.formats import fields
from analytics.datasets.formats.fields import NO_ANSWER, NO_VALUE, Field
from analytics.datasets.reading import Written, cells

if TYPE_CHECKING:
    import pyarrow

STAMP = b"01 Jan 1970 00:00"
RESERVED = (
    *["_all", "_b", "byte", "_coef", "_cons", "double", "float", "if", "in", "int", "long"],
    *["_n", "_pi", "_pred", "_rc", "_skip", "strl", "using", "with"],
)
LONGEST, BEYOND, DOUBLE = 2045, 32768, 65526
EPOCH = 3653  # days from 1960 to 1970
# Missing values of doubles: . and .a and .b; and of the numbers that labels are for.
SYSTEM, NOT_ANSWERED, NOT_GIVEN = (0x7FE0000000000000 + (n << 40) for n in (0, 1, 2))
LABELS_OF_MISSING = [(2147483622, NO_ANSWER), (2147483623, NO_VALUE)]
FORMATS = {INSTANT: "%tc", LOCAL: "%tc", DAY: "%td", WHOLE: "%12.0g"}


def write(draft: Draft, tables: Sequence[Written], about: About) -> None:
    for table in tables:
        with draft.open(f"data/{table.name}.dta") as file:
            _write(file, table, fields.fields_of(table, _named))


_named = partial(fields.named, longest=32, reserved=RESERVED)


def _write(file: Hashed, table: Written, found: list[Field]) -> None:
    row = np.dtype([(field.name, _type(field)) for field in found])
    head = _header(table, found)
    parts = _descriptors(table, found)
    sizes = [len(part) for part in parts]
    far = b"".join(_far_texts(table, found))
    labels = b"".join(_labels(found))
    ends = [len(head), MAP_SIZE, *sizes, len(_tagged("data", b"")) + row.itemsize * table.rows]
    ends += [len(_tagged("strls", far)), len(_tagged("value_labels", labels)), len(END)]
    offsets = [0, *np.cumsum(ends).tolist()]
    file.write(head)
    file.write(_tagged("map", struct.pack("<14Q", *offsets)))
    for part in parts:
        file.write(part)
    file.write(b"<data>")
    for block in fields.records(table, row, _Filler(table, found)):
        file.write(block)
    file.write(b"</data>" + _tagged("strls", far) + _tagged("value_labels", labels) + END)


END = b"</stata_dta>"
MAP_SIZE = len(b"<map></map>") + 14 * 8


def _tagged(name: str, content: bytes) -> bytes:
    return b"<%b>%b</%b>" % (name.encode(), content, name.encode())


def _header(table: Written, found: list[Field]) -> bytes:
    label = _fitting(table.row, 80)
    return b"<stata_dta>" + _tagged(
        "header",
        _tagged("release", b"118")
        + _tagged("byteorder", b"LSF")
        + _tagged("K", struct.pack("<H", len(found)))
        + _tagged("N", struct.pack("<Q", table.rows))
        + _tagged("label", struct.pack("<H", len(label)) + label)
        + _tagged("timestamp", bytes([len(STAMP)]) + STAMP),
    )


def _descriptors(table: Written, found: list[Field]) -> list[bytes]:
    labelled = [field.name if _labels_of(field) else "" for field in found]
    formats = [FORMATS.get(field.column.kind, "%10.0g") for field in found]
    formats = [
        f"%{min(field.width, 244)}s" if field.is_text else plain
        for field, plain in zip(found, formats, strict=True)
    ]
    return [
        _tagged("variable_types", b"".join(struct.pack("<H", _code(field)) for field in found)),
        _tagged("varnames", b"".join(_padded(field.name, 129) for field in found)),
        _tagged("sortlist", bytes(2 * (len(found) + 1))),
        _tagged("formats", b"".join(_padded(one, 57) for one in formats)),
        _tagged("value_label_names", b"".join(_padded(name, 129) for name in labelled)),
        _tagged("variable_labels", b"".join(_padded(f.column.meaning, 321) for f in found)),
        _tagged("characteristics", b""),
    ]


def _code(field: Field) -> int:
    if not field.is_text:
        return DOUBLE
    return field.width if field.width <= LONGEST else BEYOND


def _type(field: Field) -> str:
    if not field.is_text:
        return "<f8"
    return f"S{field.width}" if field.width <= LONGEST else "<u8"


def _padded(text: str, size: int) -> bytes:
    return _fitting(text, min(size - 1, 80 if size == 321 else size - 1)).ljust(size, b"\0")


def _fitting(text: str, most: int) -> bytes:
    """A text of at most so many characters; what is longer is in the codebook."""
    return (text if len(text) <= most else f"{text[: most - 1]}…").encode()


class _Filler:
    """Puts a batch into rows; counts them, as far texts are found by variable and row."""

    def __init__(self, table: Written, found: list[Field]) -> None:
        self.table, self.found, self.done = table, found, 0

    def __call__(self, array: Any, batch: "pyarrow.RecordBatch") -> None:
        answered = fields.reasons(batch, self.table)
        for place, field in enumerate(self.found):
            column = batch.column(place)
            if field.is_text and field.width <= LONGEST:
                array[field.name] = fields.strings(column, field.width)
            elif field.is_text:
                array[field.name] = self._places(place, column)
            else:
                _fill_numbers(array[field.name], column, field, answered)
        self.done += len(batch)

    def _places(self, place: int, column: "pyarrow.Array") -> Any:
        """Where the texts are: variable in the first 16 bits, row in the others; 0 is empty."""
        rows = np.arange(self.done + 1, self.done + len(column) + 1, dtype=np.uint64)
        there = np.array(column.is_valid().to_pylist(), dtype=bool)
        return np.where(there, (rows << np.uint64(16)) | np.uint64(place + 1), np.uint64(0))


def _fill_numbers(into: Any, column: "pyarrow.Array", field: Field, answered: Any) -> None:
    values = fields.numbers(column, field.column.kind, epoch=EPOCH, per_second=1000)
    bits = values.view(np.uint64).copy()
    missing = np.isnan(values)
    bits[missing] = SYSTEM
    if field.column.is_item:
        bits[missing & answered] = NOT_GIVEN
        bits[missing & ~answered] = NOT_ANSWERED
    into[...] = bits.view(np.float64)


def _far_texts(table: Written, found: list[Field]) -> Iterator[bytes]:
    """Texts longer than a string variable takes; items have some, and there are few items."""
    far = [place for place, field in enumerate(found) if field.is_text and field.width > LONGEST]
    for number, row in enumerate(cells(table), start=1) if far else ():
        for place in far:
            if cell := row[place]:
                text = cell.encode() + b"\0"
                yield b"GSO" + struct.pack("<IQBI", place + 1, number, 130, len(text)) + text


def _labels_of(field: Field) -> list[tuple[int, str]]:
    """Of numbers only; Stata has no labels of texts."""
    if field.is_text:
        return []
    own = sorted((int(value), label) for value, label in field.labels)
    return own + (LABELS_OF_MISSING if field.column.is_item else [])


def _labels(found: list[Field]) -> Iterator[bytes]:
    for field in found:
        if labels := _labels_of(field):
            texts = [label.encode() + b"\0" for _, label in labels]
            starts = [0, *np.cumsum([len(text) for text in texts]).tolist()]
            table = struct.pack("<ii", len(labels), starts[-1])
            table += struct.pack(f"<{len(labels)}i", *starts[:-1])
            table += struct.pack(f"<{len(labels)}i", *(value for value, _ in labels))
            table += b"".join(texts)
            yield _tagged(
                "lbl", struct.pack("<i", len(table)) + _padded(field.name, 129) + bytes(3) + table
            )
