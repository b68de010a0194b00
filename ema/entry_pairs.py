"""What two people entered, compared and put into words; `ema/double_entry.py` has the steps."""

from collections.abc import Iterable, Mapping
from datetime import date
from typing import Any

from django.db.models import QuerySet

from ema import adverse_events, urine
from ema.models import AdverseEvent, DoubleEntry, UrineTest
from ema.urine import Entry

Said = dict[str, Any]
LONGEST_DESCRIPTION = 4000


def waiting_for(tests: Iterable[UrineTest]) -> dict[int, DoubleEntry]:
    """The pairs of entries that are not settled, by test; a queryset stays in the database."""
    asked = tests.order_by() if isinstance(tests, QuerySet) else [test.pk for test in tests]
    found = DoubleEntry.objects.waiting().filter(urine_test__in=asked)
    return {
        pair.urine_test_id: pair
        for pair in found.select_related("first_by", "second_by")
        if pair.urine_test_id
    }


def agreed(pair: DoubleEntry) -> Said | None:
    """What two entries both say, or None. Descriptions are joined where they differ."""
    if differing(pair):
        return None
    first, second = pair.first_said, pair.second_said or {}
    if pair.urine_test_id:
        return dict(first)
    texts = dict.fromkeys(filter(None, (first["description"], second.get("description"))))
    whole = "\n\n".join(texts)
    return first | {"description": whole} if len(whole) <= LONGEST_DESCRIPTION else None


def differing(pair: DoubleEntry) -> list[str]:
    """The names of what two entries say differently."""
    first, second = pair.first_said, pair.second_said or {}
    return [
        name for name in first if _compared(name, first[name]) != _compared(name, second.get(name))
    ]


def both(pair: DoubleEntry) -> Said:
    """Two entries with their persons, as the audit trail keeps them."""
    return {
        f"{name_of(by)}: {name}": value
        for by, said in ((pair.first_by, pair.first_said), (pair.second_by, pair.second_said or {}))
        for name, value in said.items()
    }


def read(pair: DoubleEntry, told: Mapping[str, Any]) -> Said:
    """What an entry says, as it was said."""
    if pair.urine_test_id is None:
        return adverse_events.said_by(told)
    return {"result": told["result"], "collected_on": _date(told["collected_on"])}


def said_of(entry: Entry) -> Said:
    on: date | None = entry.collected_on
    return {"result": str(entry.result), "collected_on": on.isoformat() if on else None}


def in_words(told: AdverseEvent | DoubleEntry) -> str:
    """What became of an adverse event that was reported."""
    if isinstance(told, AdverseEvent):
        return f"Adverse event {told.pk} is kept: {told}."
    return (
        f"Entry {told.pk} waits: somebody else enters this adverse event of {told.participant} too."
    )


def subject_of(pair: DoubleEntry) -> str:
    """What the audit trail calls an entry."""
    if pair.urine_test:
        return urine.subject_of(pair.urine_test)
    return f"entry {pair.pk} of participant {pair.participant.code}"


def _compared(name: str, value: Any) -> Any:
    """Descriptions are kept, not compared; terms are the same but for capitals and spaces."""
    if name == "description":
        return ""
    return " ".join(str(value).split()).casefold() if name == "term" else value


def _date(text: str | None) -> date | None:
    return date.fromisoformat(text) if text else None


def name_of(user: Any) -> str:
    return str(user.get_username())
