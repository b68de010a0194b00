"""The proof of a drill: every answer that a person gave is stored, once, as it was given."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from uuid import UUID

from analytics.simulate.life import Lived
from ema.models import Response, Study
from ema.models.response import Flag

ROLES = ("stress", "craving", "pain")
CLOCKS_AGREE_WITHIN = timedelta(seconds=30)  # a request that waits for a busy server takes time


@dataclass
class Account:
    """What was given beside what is stored; `faults` says in words what does not agree."""

    given: int = 0
    stored: int = 0
    told: Counter[str] = field(default_factory=Counter)
    flags: Counter[str] = field(default_factory=Counter)
    largest_clock_error: timedelta = timedelta(0)
    faults: list[str] = field(default_factory=list)


def account(study: Study, lives: Iterable[Lived]) -> Account:
    """Compare every answer given with the study's responses, one by one."""
    found, left = Account(), dict[UUID, Lived]()
    for lived in lives:
        found.told += lived.told
        left |= dict.fromkeys(lived.given, lived)
    found.given = len(left)
    wrong: Counter[str] = Counter()
    rows = Response.objects.filter(participant__study=study).values_list(
        "pk", "completed_at_corrected", "flags", *ROLES
    )
    for key, corrected_at, flags, *values in rows.iterator(chunk_size=10_000):
        found.stored += 1
        found.flags.update(flags)
        if key not in left:
            wrong["stored although nobody gave them"] += 1
            continue
        lived = left.pop(key)
        given = lived.given[key]
        off = abs(corrected_at - given.completed_at)
        found.largest_clock_error = max(found.largest_clock_error, off)
        wrong["with other values than given"] += values != [given.values[r] for r in ROLES]
        wrong["at another time than given"] += off > CLOCKS_AGREE_WITHIN
        wrong["of a lost phone without the flag"] += (
            key in lived.held and Flag.FROM_REPLACED_DEVICE not in flags
        )
    wrong["lost"] = len(left)
    wrong["in conflict"] = found.told["conflict"]
    wrong["in quarantine"] = found.told["quarantined"]
    found.faults = [f"Responses {what}: {count}." for what, count in wrong.items() if count]
    return found
