"""Read an allocation list from CSV: stratum, position, arm and perhaps kit, a row per slot."""

import csv
import io
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from secrets import SystemRandom
from typing import Any

from ema.allocation_lists import (
    KEY,
    LONGEST_STRATUM,
    MOST_SLOTS,
    ListRefused,
    Slot,
    kit_codes,
    parts_of,
)

COLUMNS = ("stratum", "position", "arm")
KIT = "kit"
Row = dict[str, Any]  # a cell is None where a row is too short


@dataclass(frozen=True)
class Known:
    """What a study has already, as far as a list must fit it; `factors` None: no list yet."""

    arms: Sequence[str]
    sites: Sequence[str]
    last: Mapping[str, int] = field(default_factory=dict)
    kits: AbstractSet[str] = frozenset()
    factors: Mapping[str, Sequence[str]] | None = None


def read(text: str, known: Known) -> list[Slot]:
    """The slots of a file; without a column of kits each gets a random code.

    Raises ListRefused with a sentence for every wrong row.
    """
    rows, has_kits = _rows(text.removeprefix("\ufeff"))
    faults: list[str] = []
    slots: list[tuple[int, Slot]] = []
    for line, row in rows:
        wrong = list(_wrong_cells(row, known, has_kits))
        faults += [f"Line {line}: {fault}" for fault in wrong]
        if not wrong:
            slots.append((line, _slot(row)))
    if not faults:
        faults = [*_repeats(slots, has_kits), *_gaps(slots, known), *_mixed_factors(slots)]
    if faults:
        raise ListRefused(*faults)
    read_slots = [slot for _, slot in slots]
    if has_kits:
        return read_slots
    kits = kit_codes(len(slots), known.kits, SystemRandom())
    return [slot._replace(kit=kit) for slot, kit in zip(read_slots, kits, strict=True)]


def _rows(text: str) -> tuple[list[tuple[int, Row]], bool]:
    """Every row with its line in the file, and whether there are kits."""
    delimiter = max(",;\t", key=text.partition("\n")[0].count)
    reader = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    try:
        names = [name.strip().lower() for name in reader.fieldnames or ()]
        if not set(COLUMNS) <= set(names) <= {*COLUMNS, KIT} or len(set(names)) < len(names):
            raise ListRefused(
                "Line 1: the columns are stratum, position, arm and perhaps kit; here are: "
                f"{', '.join(names) or 'none'}."
            )
        reader.fieldnames = names
        rows = [(reader.line_num, row) for row in reader]
    except csv.Error as error:
        raise ListRefused(f"Line {reader.line_num}: this is no CSV ({error}).") from error
    if not rows:
        raise ListRefused("Line 2: no slots below the header.")
    if len(rows) > MOST_SLOTS:
        raise ListRefused(f"A list has at most {MOST_SLOTS} slots; here are {len(rows)}.")
    return rows, KIT in names


def _slot(row: Row) -> Slot:
    cell = {name: str(value or "").strip() for name, value in row.items()}
    return Slot(cell["stratum"], int(cell["position"]), cell["arm"], cell.get(KIT, ""))


def _wrong_cells(row: Row, known: Known, has_kits: bool) -> Iterator[str]:
    if None in row or None in row.values():
        yield f"there are as many cells as columns, {len(row) - (None in row)}."
        return
    cell = {name: str(value).strip() for name, value in row.items()}
    yield from _wrong_stratum(cell["stratum"], known)
    if not (cell["position"].isascii() and cell["position"].isdigit() and int(cell["position"])):
        yield f"{cell['position']!r} is no position: write 1, 2, 3 …"
    if cell["arm"] not in known.arms:
        yield f"there is no arm {cell['arm']!r}. There are: {', '.join(known.arms) or 'none yet'}."
    if has_kits:
        yield from _wrong_kit(cell[KIT], known)


def _wrong_stratum(stratum: str, known: Known) -> Iterator[str]:
    try:
        site, factors = parts_of(stratum)
    except ListRefused as error:
        yield str(error)
        return
    if site not in known.sites:
        yield f"there is no site {site!r}. There are: {', '.join(known.sites) or 'none yet'}."
    if len(stratum) > LONGEST_STRATUM:
        yield f"a stratum has at most {LONGEST_STRATUM} characters."
    if known.factors is None:
        return
    if list(factors) != list(known.factors):
        named = "".join(f"/{name}=…" for name in known.factors)
        yield f"the study is stratified already: write {site}{named}, not {stratum}."
        return
    for name, value in factors.items():
        if value not in known.factors[name]:
            yield f"{name} is {' or '.join(known.factors[name])}, not {value!r}."


def _wrong_kit(kit: str, known: Known) -> Iterator[str]:
    if not KEY.fullmatch(kit):
        yield f"{kit!r} is no kit code: write 1 to 40 letters, digits, - and _."
    if kit in known.kits:
        yield f"kit {kit} is on an earlier list: a code is handed out once."
    for arm in known.arms:
        if arm.lower() in kit.lower():
            yield f"kit {kit} names arm {arm}: a code must tell nothing."


def _repeats(slots: Sequence[tuple[int, Slot]], has_kits: bool) -> Iterator[str]:
    places: dict[tuple[str, int], int] = {}
    kits: dict[str, int] = {}
    for line, slot in slots:
        first = places.setdefault((slot.stratum, slot.position), line)
        if first != line:
            yield f"Line {line}: slot {slot.position} of {slot.stratum} is on line {first} already."
        if has_kits and (first := kits.setdefault(slot.kit, line)) != line:
            yield f"Line {line}: kit {slot.kit} is on line {first} already."


def _gaps(slots: Sequence[tuple[int, Slot]], known: Known) -> Iterator[str]:
    """Positions of a stratum count on from what is there, without gaps."""
    positions: dict[str, dict[int, int]] = defaultdict(dict)
    for line, slot in slots:
        positions[slot.stratum][slot.position] = line
    for stratum, lines in positions.items():
        expected = known.last.get(stratum, 0) + 1
        for position in sorted(lines):
            if position != expected:
                yield (
                    f"Line {lines[position]}: in {stratum} position {expected} comes next, not "
                    f"{position}."
                )
                break
            expected += 1


def _mixed_factors(slots: Sequence[tuple[int, Slot]]) -> Iterator[str]:
    """All strata name the same factors, in the same order."""
    first_line, first = slots[0]
    names = list(parts_of(first.stratum)[1])
    for line, slot in slots:
        if list(parts_of(slot.stratum)[1]) != names:
            yield (
                f"Line {line}: {slot.stratum} names other factors than {first.stratum} on line "
                f"{first_line}: all name the same, in the same order."
            )
