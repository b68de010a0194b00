"""Outcomes: lapse, relapse and longest abstinence by arm, from the urine tests of a study.

Like a comparison this reads the allocation, so what it says goes to the closed role only, while
arms are hidden (`ema.access.access_comparison`). Days count from allocation; in a study without
arms to compare, from enrolment. docs/outcomes.md says what every number is.
"""

from collections.abc import Iterator
from datetime import datetime
from typing import Any

import numpy as np

from analytics import plan as plan_documents
from analytics import plans
from analytics.abstinence import IN_A_ROW
from analytics.many_calendars import calendars
from analytics.models import AnalysisPlan, Coupling
from analytics.outcomes_by_arm import ArmTable, alone, beside_reference, together
from analytics.plan import STANDARD
from analytics.rank_correlation import rank_correlation
from analytics.software import software
from analytics.urine_rows import Followed, followed
from ema.arm_labels import arms_shown
from ema.models import Study
from ema.urine import DAY, MOST_DAYS_OFF

OF_COUPLING = ("slope", "shrunken_slope", "reliability")
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
    groups = groups_of(study)
    everybody = followed(study, groups)
    table = _table(groups, everybody, counts)
    if not table.held:
        raise OutcomesImpossible(_nothing_known(study, everybody))
    other = _table(groups, everybody, not counts)
    is_exploratory, notes = plans.notes_on(stored, study)
    missing = list(_overdue(groups, everybody, now))
    since = "allocation" if groups[0] is not None else "enrolment"
    contrasts = beside_reference(table, missing)
    people = _beside_coupling(study, table, everybody)
    differs = other.calendars.differ_from(table.calendars)
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
        "arms": alone(table, np.bincount(everybody.arm, minlength=len(groups)).tolist()),
        "contrasts": contrasts,
        "tests": together(table, missing),
        "other_rule": {
            "missed_after_dropout_counts": not counts,
            "differs": differs,
            "contrasts": beside_reference(other, []) if differs else contrasts,
        },
        "correlations": _correlations(groups, people),
        "warnings": missing,
        "software": software(),
    }
    return report | ({"participants": people} if participants else {})


def outcomes_or_why(
    study: Study, now: datetime, stored: AnalysisPlan | None, participants: bool = False
) -> dict[str, Any]:
    """The report, or the sentence that says why there is none, as `impossible`."""
    try:
        return outcomes(study, now, stored, participants)
    except OutcomesImpossible as error:
        return {"impossible": str(error)}


def _beside_coupling(study: Study, table: ArmTable, everybody: Followed) -> list[dict[str, Any]]:
    """Everybody's abstinence beside their own coupling, where that is estimated; by code."""
    own = Coupling.objects.filter(participant__study=study)
    slopes = {
        participant: rest for participant, *rest in own.values_list("participant", *OF_COUPLING)
    }
    rows = []
    for person, one in zip(table.calendars.person.tolist(), table.calendars.each(), strict=True):
        coupling = slopes.get(int(everybody.keys[person]), [None] * len(OF_COUPLING))
        rows.append(
            {
                "participant": everybody.codes[person],
                "arm": table.arms[int(everybody.arm[person])],
                "longest_abstinence": one["longest_abstinence"],
                "lapse_day": one["lapse_day"],
                "relapse_day": one["relapse_day"],
                "last_day": one["last_day"],
                **dict(zip(OF_COUPLING, coupling, strict=True)),
            }
        )
    return sorted(rows, key=lambda row: str(row["participant"]))


def _correlations(groups: list[str | None], people: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of the shrunken coupling with the longest abstinence, in each arm."""
    found = []
    for arm in groups:
        pairs = [
            (one["shrunken_slope"], one["longest_abstinence"])
            for one in people
            if one["arm"] == arm and one["shrunken_slope"] is not None
        ]
        told = rank_correlation(pairs)._asdict()
        found.append({"arm": arm, **told, "interval": told["interval"] and list(told["interval"])})
    return found


def groups_of(study: Study) -> list[str | None]:
    """The arms, the reference first; one nameless group where there is nothing to compare."""
    arms = arms_shown(study)
    if len(arms) < 2:
        return [None]
    reference = [arm.name for arm in arms if arm.is_reference]
    if not reference:
        named = ", ".join(arm.name for arm in arms)
        raise OutcomesImpossible(
            f"Study {study} has no reference arm: mark one of {named} as the one to compare with."
        )
    return [reference[0], *(arm.name for arm in arms if not arm.is_reference)]


def _table(groups: list[str | None], everybody: Followed, counts: bool) -> ArmTable:
    """Everybody with a known result after day 0."""
    found = calendars(everybody.tests, everybody.dropped_out_on, missed_after_dropout_counts=counts)
    strata = [everybody.strata[person] for person in found.person]
    return ArmTable(groups, found, everybody.arm[found.person], strata)


def _overdue(groups: list[str | None], everybody: Followed, now: datetime) -> Iterator[str]:
    """Open tests that can hardly get a sample any more: leaving them out flatters abstinence."""
    overdue = everybody.still_open(now.date() - MOST_DAYS_OFF * DAY)
    arms = everybody.arm[everybody.tests.person[overdue]]
    named = ", ".join(
        f"{n} {f'under {arm}' if arm else 'in all'}"
        for arm, n in zip(groups, np.bincount(arms, minlength=len(groups)), strict=True)
        if n
    )
    if named:
        yield (
            f"Open tests due more than {MOST_DAYS_OFF} days ago: {named}. They are left out until "
            "a result is entered; a missed test that nobody entered makes abstinence look longer."
        )


def _nothing_known(study: Study, everybody: Followed) -> str:
    if not everybody.codes:
        return f"No participant of study {study} is allocated to an arm yet."
    if not study.urine_weekdays:
        return f"Study {study} schedules no urine tests: its urine weekdays are empty."
    return f"No urine test of study {study} has a result yet."
