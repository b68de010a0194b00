"""What was compared, and what came out."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, NamedTuple

from scheduler.verification.seed import Revealed
from scheduler.verification.stored import Rows
from scheduler.zones import TZDATA_VERSION

MISSING, EXTRA, DUE_AT, EXPIRES_AT = "missing", "extra", "due_at", "expires_at"
PROBABILITY, UNREADABLE = "inclusion_probability", "not_recomputable"
Value = datetime | float | None
OTHER_SEED: dict[str, Any] = {"cause": "the seed is another", "is_by_tzdata": False}


class Difference(NamedTuple):
    """One thing that is not as the seed has it. `cause` is a sentence, or empty when unknown."""

    participant: str
    phase: str
    study_on: date
    ordinal: int
    kind: str
    stored: Value
    expected: Value
    cause: str = ""
    is_by_tzdata: bool = False


@dataclass(kw_only=True)
class Verified:
    """What was compared and what came out; of the differences, the first `limit` are kept."""

    seed: Revealed
    limit: int
    participants: int = 0
    days: int = 0
    prompts: int = 0
    not_drawn: int = 0
    by_tzdata: int = 0
    tzdata: Counter[str] = field(default_factory=Counter)
    kinds: Counter[str] = field(default_factory=Counter)
    differences: list[Difference] = field(default_factory=list)

    @property
    def all_equal(self) -> bool:
        return self.seed.is_the_committed_one and not self.kinds

    @property
    def other_tzdata(self) -> list[str]:
        return sorted(self.tzdata.keys() - {TZDATA_VERSION})

    def count(self, own: Rows) -> None:
        for rows in own.values():
            self.prompts += len(rows)
            self.days += len({row.study_on for row in rows})
            self.tzdata.update(row.tzdata for row in rows)

    def note(self, found: Iterable[Difference]) -> None:
        for each in found:
            is_of_seed = self.seed.is_another and each.kind == DUE_AT
            difference = each._replace(**OTHER_SEED) if is_of_seed else each
            self.kinds[difference.kind] += 1
            self.by_tzdata += difference.is_by_tzdata
            if len(self.differences) < self.limit:
                self.differences.append(difference)

    def content(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "all_equal": self.all_equal,
            "seed_sha256": self.seed.sha256,
            "seed_commitment": self.seed.commitment,
            "seed_is_the_committed_one": self.seed.is_the_committed_one,
            "participants": self.participants,
            "days": self.days,
            "prompts": self.prompts,
            "not_drawn": self.not_drawn,
            "tzdata_installed": TZDATA_VERSION,
            "tzdata": dict(sorted(self.tzdata.items())),
            "difference_counts": {"all": self.kinds.total(), **self.kinds},
            "differences_by_tzdata": self.by_tzdata,
            "differences": [_content(each) for each in self.differences],
        }


def _content(difference: Difference) -> dict[str, Any]:
    return {
        "participant": difference.participant,
        "phase": difference.phase,
        "study_on": difference.study_on.isoformat(),
        "ordinal": difference.ordinal,
        "kind": difference.kind,
        "stored": _json(difference.stored),
        "expected": _json(difference.expected),
        "cause": difference.cause,
    }


def _json(value: Value) -> str | float | None:
    return value.isoformat() if isinstance(value, datetime) else value
