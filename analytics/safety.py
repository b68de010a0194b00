"""Safety: adverse events of a study by arm, with differences of risk.

Reads the allocation: what it says goes to whoever may compare arms. `docs/outcomes.md` says what
every number is.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any, NamedTuple

from django.db import connection

from analytics.outcomes import OutcomesImpossible, groups_of
from analytics.risk_difference import risk_difference
from ema.arm_labels import names_shown
from ema.models import AdverseEvent, Study
from ema.models.adverse_event import Relatedness, Severity

DEFINITION = (
    "Adverse events that started on the day of {since} or later, of everybody {whom}; struck ones "
    "are left out. Events with the same term but for capitals are one kind."
)
RELATED = frozenset({"possible", "probable", "definite"})
SEVERE = frozenset({"severe", "life_threatening", "fatal"})
PEOPLE = """
SELECT p.id, arm.key,
    CASE WHEN %(by_arm)s THEN (a.allocated_at AT TIME ZONE p.zone)::date ELSE p.enrolled_on END
FROM ema_participant p
LEFT JOIN ema_allocation a ON a.participant_id = p.id LEFT JOIN ema_arm arm ON arm.id = a.arm_id
WHERE p.study_id = %(study)s AND (arm.key IS NOT NULL OR NOT %(by_arm)s)
"""


class Event(NamedTuple):
    participant: int
    term: str
    severity: str
    relatedness: str
    is_serious: bool


KINDS: dict[str, Callable[[Event], bool]] = {
    "any": lambda _: True,
    "serious": lambda event: event.is_serious,
    "severe or worse": lambda event: event.severity in SEVERE,
    "possibly related or more": lambda event: event.relatedness in RELATED,
}
"""What is counted of an arm, and compared with the reference."""


def safety(study: Study) -> dict[str, Any]:
    """The report. A study without arms to compare is one group; `impossible` says why none."""
    try:
        groups = groups_of(study)
    except OutcomesImpossible as error:
        return {"impossible": str(error)}
    by_arm = groups[0] is not None
    people = _people(study, by_arm)
    if not people:
        return {"impossible": f"No participant of study {study} is allocated to an arm yet."}
    events, before = _events(study, people)
    members = {arm: {who for who, (own, _) in people.items() if own == arm} for arm in groups}
    of_arm = {
        arm: [event for event in events if event.participant in members[arm]] for arm in groups
    }
    arms = [_arm(arm, len(members[arm]), of_arm[arm]) for arm in groups]
    since, whom = ("allocation", "allocated") if by_arm else ("enrolment", "enrolled")
    return {
        "study": study.slug,
        "reference": groups[0],
        "definition": DEFINITION.format(since=since, whom=whom),
        "arms": arms,
        "contrasts": [_contrast(arm, arms[0]) for arm in arms[1:]],
        "terms": _terms(of_arm),
        "n_before": before,
    }


def _people(study: Study, by_arm: bool) -> dict[int, tuple[str | None, date]]:
    """Everybody who is followed: their arm, and day 0."""
    with connection.cursor() as cursor:
        cursor.execute(PEOPLE, {"study": study.pk, "by_arm": by_arm})
        rows = cursor.fetchall()
    name_of = names_shown(study)
    return {who: (name_of[arm] if by_arm else None, on) for who, arm, on in rows}


def _events(study: Study, people: Mapping[int, tuple[str | None, date]]) -> tuple[list[Event], int]:
    """The events of those people from their day 0 on, and how many were before."""
    rows = AdverseEvent.objects.standing().filter(participant__study=study).order_by("pk")
    found = [
        (Event(who, " ".join(term.split()), *rest), on)
        for who, term, *rest, on in rows.values_list(*Event._fields, "started_on")
        if who in people
    ]
    since = [event for event, on in found if on >= people[event.participant][1]]
    return since, len(found) - len(since)


def _arm(arm: str | None, n: int, events: list[Event]) -> dict[str, Any]:
    severities, relations = (
        Counter(e.severity for e in events),
        Counter(e.relatedness for e in events),
    )
    return {
        "arm": arm,
        "n_participants": n,
        "n_events": len(events),
        "with_event": {kind: _with(events, kind) for kind in KINDS},
        "events": {kind: sum(map(is_one, events)) for kind, is_one in KINDS.items()},
        "by_severity": {name: severities[name] for name in Severity.values},
        "by_relatedness": {name: relations[name] for name in Relatedness.values},
    }


def _with(events: Iterable[Event], kind: str) -> int:
    """How many participants have at least one event of a kind."""
    return len({event.participant for event in events if KINDS[kind](event)})


def _contrast(arm: dict[str, Any], reference: dict[str, Any]) -> dict[str, Any]:
    """Differences of the share with at least one event; none where an arm is empty."""
    sizes = arm["n_participants"], reference["n_participants"]
    differences: dict[str, dict[str, Any] | None] = {}
    for kind in KINDS:
        if not all(sizes):
            differences[kind] = None
            continue
        found = risk_difference(
            arm["with_event"][kind], sizes[0], reference["with_event"][kind], sizes[1]
        )
        differences[kind] = {"estimate": found.estimate, "interval": list(found.interval)}
    return {"arm": arm["arm"], "reference": reference["arm"], "risk_differences": differences}


def _terms(of_arm: Mapping[str | None, list[Event]]) -> list[dict[str, Any]]:
    """Every kind of event, that of most participants first."""
    found: defaultdict[str, dict[str | None, list[Event]]] = defaultdict(dict)
    for arm, events in of_arm.items():
        for event in events:
            found[event.term.casefold()].setdefault(arm, []).append(event)
    rows = [
        {
            "term": key,
            "arms": [
                {
                    "arm": arm,
                    "with_event": _with(by.get(arm, ()), "any"),
                    "n_events": len(by.get(arm, ())),
                }
                for arm in of_arm
            ],
        }
        for key, by in found.items()
    ]
    return sorted(
        rows, key=lambda row: (-sum(one["with_event"] for one in row["arms"]), row["term"])
    )
