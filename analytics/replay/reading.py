"""Replay real EMA data as a study: read the file, check it, say what is wrong in it."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any

from analytics.file_options import UnusableDataError, WrongOptionError, listed
from analytics.replay.entries import Entry, read_entries
from analytics.replay.file import Columns, Selection, select_rows
from analytics.replay.findings import Findings
from analytics.replay.people import Person, Scale, arm_map_of, arms_of, people_of, scales_of
from ema.zone_names import zone_named

SHORTEST_EXPIRY = timedelta(minutes=30)


@dataclass(frozen=True)
class Asked:
    """What a replay was asked to do."""

    file: Path
    columns: Columns
    where: Sequence[str] = ()
    arm_map: Sequence[str] = ()
    reference: str | None = None
    study: str | None = None
    zone: str = "UTC"
    scale: tuple[int, int] | None = None
    padded: bool = False


@dataclass(frozen=True)
class Replay:
    """A file, read and checked: ready to become a study."""

    asked: Asked
    selection: Selection
    findings: Findings
    people: tuple[Person, ...]
    scales: Mapping[str, Scale]
    zones: Mapping[str, int]

    @property
    def prompts(self) -> int:
        return sum(len(person.occasions) for person in self.people)

    @property
    def answered(self) -> int:
        return sum(o.values is not None for p in self.people for o in p.occasions)

    @property
    def looks_padded(self) -> bool:
        """Everybody has equally many rows and over 40 % are unanswered: perhaps a filled grid."""
        rows = {len(person.occasions) for person in self.people}
        return len(self.people) > 1 and len(rows) == 1 and self.answered < 0.6 * self.prompts

    @property
    def arms(self) -> list[str]:
        return sorted({person.arm for person in self.people if person.arm})

    @property
    def expires_after(self) -> timedelta:
        """Files do not say when prompts expired: later than every answer they hold."""
        answered = (o for p in self.people for o in p.occasions if o.values is not None)
        longest = max((o.completed_at - o.due_at for o in answered), default=timedelta(0))
        return max(SHORTEST_EXPIRY, longest + timedelta(minutes=1))

    def content(self) -> dict[str, Any]:
        """What was read, in numbers that add up: every row is used or left out for a reason."""
        return {
            "file": self.asked.file.name,
            "rows_in_file": self.selection.rows_in_file,
            "rows_not_asked_for": self.selection.rows_in_file - len(self.selection.rows),
            "rows_left_out": self.findings.rows_left_out,
            "participants": len(self.people),
            "prompts": self.prompts,
            "answered": self.answered,
            "missed": self.prompts - self.answered,
            "looks_padded": self.looks_padded,
            "zones": dict(self.zones),
            "items": {
                role: {
                    "column": scale.column,
                    "minimum": scale.minimum,
                    "maximum": scale.maximum,
                    "decimals": scale.decimals,
                }
                for role, scale in self.scales.items()
            },
            "findings": self.findings.content(),
        }


def read(asked: Asked, now: datetime) -> Replay:
    """Read and check the file. Raises WrongOptionError or UnusableDataError, in one sentence."""
    findings = Findings()
    zone = _zone(asked.zone)
    if asked.reference and not asked.columns.arm:
        raise WrongOptionError("--reference needs --arm: which column names the arm?")
    selection = select_rows(asked.file, asked.columns, asked.where, findings)
    arm_map = arm_map_of(asked.arm_map, selection, asked.columns.arm)
    entries = read_entries(
        selection, asked.columns, findings, zone=zone, now=now, padded=asked.padded
    )
    arms = arms_of(entries, arm_map, findings) if asked.columns.arm else {}
    if asked.columns.arm:
        _refuse_reference(asked, sorted(set(arms.values())))
    _refuse_no_pairs(asked, entries, selection, findings)
    _refuse_scale(asked, entries)
    return Replay(
        asked=asked,
        selection=selection,
        findings=findings,
        people=tuple(people_of(entries, asked.columns, arms, zone, findings)),
        scales=scales_of(entries, asked.columns, asked.scale, findings),
        zones=Counter(entry.zone for entry in entries if entry.zone),
    )


def _zone(name: str) -> tzinfo:
    try:
        return zone_named(name)
    except ValueError as error:
        message = f"--zone {name!r} is unknown: write an IANA name such as Europe/Brussels."
        raise WrongOptionError(message) from error


def _refuse_reference(asked: Asked, arms: Sequence[str]) -> None:
    if asked.reference not in arms:
        problem = f"{asked.reference!r} is not an arm" if asked.reference else "is missing"
        raise WrongOptionError(
            f"--reference {problem}: column {asked.columns.arm!r} has {listed(arms)}"
        )


def _refuse_scale(asked: Asked, entries: Sequence[Entry]) -> None:
    """A scale that fits no value of a column was not meant for it."""
    if asked.scale is None:
        return
    low, high = asked.scale
    for role, column in asked.columns.items.items():
        values = [entry.values[role] for entry in entries if role in entry.values]
        if values and not any(low <= value <= high for value in values):
            raise WrongOptionError(
                f"--scale {low},{high} fits no value of column {column!r}, which has "
                f"{min(values)} to {max(values)}"
            )


def _refuse_no_pairs(
    asked: Asked, entries: Sequence[Entry], selection: Selection, findings: Findings
) -> None:
    if any({"stress", "craving"} <= entry.values.keys() for entry in entries):
        return
    columns = asked.columns
    found = ", ".join(
        f"{len(those)} × {problem.replace('_', ' ')}"
        for problem, those in findings.by_problem().items()
    )
    raise UnusableDataError(
        f"{asked.file.name}: none of {len(selection.rows)} rows has a participant with both "
        f"{columns.stress!r} and {columns.craving!r}" + (f" ({found})" if found else "")
    )
