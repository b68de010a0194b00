"""Outcomes: lapse, relapse and longest abstinence by arm, from the urine tests of a study.

Like a comparison this reads the allocation, so what it says goes to the closed role only, while
arms are hidden (`ema.access.access_comparison`). Days count from allocation; in a study without
arms to compare, from enrolment. docs/outcomes.md says what every number is.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from analytics import plan as plan_documents
from analytics import plans
from analytics.abstinence import IN_A_ROW, ScheduledTest, abstinence
from analytics.models import AnalysisPlan, Coupling
from analytics.outcomes_by_arm import ArmTable, Person, alone, beside_reference, together
from analytics.plan import STANDARD
from analytics.software import software
from ema.models import Allocation, Arm, Participant, Study, UrineTest
from ema.urine import DAY, MOST_DAYS_OFF

DEFINITION = (
    "A lapse is a scheduled urine test that is opioid positive or missed; a relapse is "
    f"{IN_A_ROW} lapses in a row, at the second. Longest abstinence is the longest stretch of days "
    "between lapses, from {} to the last test with a known result."
)
AFTER_DROPOUT = {
    True: "Tests missed after drop-out count as lapses.",
    False: "Tests missed after drop-out do not count: who dropped out is followed until then.",
}


class OutcomesImpossible(ValueError):
    """This study's urine tests cannot be compared (yet); the message says what is missing."""


def outcomes(
    study: Study, now: datetime, stored: AnalysisPlan | None = None, participants: bool = False
) -> dict[str, Any]:
    """The report by a plan's rule for tests missed after drop-out (None: the standard one).

    A study with one arm or none is one group, without contrasts. What the data do not hold is null,
    with a sentence in `warnings`. Raises OutcomesImpossible, in words.
    """
    plan = stored.plan if stored else STANDARD
    counts = plan.missed_after_dropout_counts
    groups = _groups(study)
    enrolled = list(_enrolled(study, groups))
    table = _table(groups, enrolled, counts)
    if not table.people:
        raise OutcomesImpossible(_nothing_known(study, enrolled))
    other = _table(groups, enrolled, not counts)
    is_exploratory, notes = plans.notes_on(stored, study)
    missing = list(_overdue(enrolled, now))
    since = "allocation" if groups[0] is not None else "enrolment"
    report = {
        "study": study.slug,
        "plan": {
            "key": stored.key if stored else None,
            "version": stored.version if stored else None,
            "sha256": plan_documents.digest(plan),
        },
        "reference": groups[0],
        "exploratory": is_exploratory,
        "notes": notes,
        "definition": f"{DEFINITION.format(since)} {AFTER_DROPOUT[counts]}",
        "missed_after_dropout_counts": counts,
        "arms": alone(table, Counter(one.arm for one in enrolled)),
        "contrasts": beside_reference(table, missing),
        "tests": together(table, missing),
        "other_rule": {
            "missed_after_dropout_counts": not counts,
            "contrasts": beside_reference(other, []),
        },
        "warnings": missing,
        "software": software(),
    }
    return report | ({"participants": _beside_coupling(table)} if participants else {})


def outcomes_or_why(study: Study, now: datetime, stored: AnalysisPlan | None) -> dict[str, Any]:
    """The report, or the sentence that says why there is none, as `impossible`."""
    try:
        return outcomes(study, now, stored)
    except OutcomesImpossible as error:
        return {"impossible": str(error)}


def _beside_coupling(table: ArmTable) -> list[dict[str, Any]]:
    """Everybody's abstinence beside their own coupling, where that is estimated."""
    own = Coupling.objects.filter(participant__in=[one.participant for one in table.people])
    slopes = {
        participant: (slope, reliability)
        for participant, slope, reliability in own.values_list(
            "participant", "shrunken_slope", "reliability"
        )
    }
    rows = []
    for one in table.people:
        slope, reliability = slopes.get(one.participant, (None, None))
        rows.append(
            {
                "participant": one.code,
                "arm": table.arms[one.arm],
                "longest_abstinence": one.outcome.longest_abstinence,
                "lapse_day": one.outcome.lapse_day,
                "relapse_day": one.outcome.relapse_day,
                "last_day": one.outcome.last_day,
                "shrunken_slope": slope,
                "reliability": reliability,
            }
        )
    return rows


def _groups(study: Study) -> list[str | None]:
    """The arms, the reference first; one nameless group where there is nothing to compare."""
    arms = list(Arm.objects.filter(study=study).order_by("key"))
    if len(arms) < 2:
        return [None]
    reference = [arm.key for arm in arms if arm.is_reference]
    if not reference:
        named = ", ".join(arm.key for arm in arms)
        raise OutcomesImpossible(
            f"Study {study} has no reference arm: mark one of {named} as the one to compare with."
        )
    return [reference[0], *(arm.key for arm in arms if not arm.is_reference)]


@dataclass(frozen=True)
class Enrolled:
    """Who is followed from which day on: that of allocation, or without arms that of enrolment.

    `dropped_out_on` is the day of withdrawal since then, None for who did not withdraw.
    """

    pk: int
    code: str
    arm: str | None
    stratum: str
    began_on: date
    dropped_out_on: int | None

    @classmethod
    def of(cls, person: Participant, arm: str | None, stratum: str, began_on: date) -> "Enrolled":
        left = person.withdrawn_at
        days = (_local(person, left) - began_on).days if left else None
        return cls(person.pk, person.code, arm, stratum, began_on, days)


def _local(person: Participant, at: datetime) -> date:
    return at.astimezone(ZoneInfo(person.zone)).date()


def _enrolled(study: Study, groups: list[str | None]) -> Iterator[Enrolled]:
    if groups[0] is None:
        for everybody in Participant.objects.filter(study=study).order_by("code"):
            yield Enrolled.of(everybody, None, "", everybody.enrolled_on)
        return
    spent = Allocation.objects.filter(study=study, participant__isnull=False)
    for slot in spent.select_related("participant", "arm").order_by("participant__code"):
        person = slot.participant
        if person is not None and slot.allocated_at is not None:
            yield Enrolled.of(person, slot.arm.key, slot.stratum, _local(person, slot.allocated_at))


def _table(groups: list[str | None], enrolled: list[Enrolled], counts: bool) -> ArmTable:
    """Everybody with a known result after day 0."""
    known: dict[int, list[tuple[date, str]]] = defaultdict(list)
    rows = UrineTest.objects.filter(participant__in=[one.pk for one in enrolled]).exclude(result="")
    for participant, due_on, result in rows.values_list("participant_id", "due_on", "result"):
        known[participant].append((due_on, result))
    people = []
    for one in enrolled:
        found = abstinence(
            (ScheduledTest((on - one.began_on).days, result) for on, result in known[one.pk]),
            dropped_out_on=one.dropped_out_on,
            missed_after_dropout_counts=counts,
        )
        if found is not None:
            people.append(Person(one.pk, one.code, groups.index(one.arm), one.stratum, found))
    return ArmTable(groups, people)


def _overdue(enrolled: list[Enrolled], now: datetime) -> Iterator[str]:
    """Open tests that can hardly get a sample any more: leaving them out flatters abstinence."""
    arm_of = {one.pk: one.arm for one in enrolled}
    long_ago = now.date() - MOST_DAYS_OFF * DAY
    open_tests = UrineTest.objects.filter(participant__in=arm_of, result="", due_on__lt=long_ago)
    by_arm = Counter(arm_of[each] for each in open_tests.values_list("participant", flat=True))
    if by_arm:
        named = ", ".join(f"{n} {f'under {arm}' if arm else 'in all'}" for arm, n in by_arm.items())
        yield (
            f"Open tests due more than {MOST_DAYS_OFF} days ago: {named}. They are left out until "
            "a result is entered; a missed test that nobody entered makes abstinence look longer."
        )


def _nothing_known(study: Study, enrolled: list[Enrolled]) -> str:
    if not enrolled:
        return f"No participant of study {study} is allocated to an arm yet."
    if not study.urine_weekdays:
        return f"Study {study} schedules no urine tests: its urine weekdays are empty."
    return f"No urine test of study {study} has a result yet."
