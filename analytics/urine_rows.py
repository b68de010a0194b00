"""Who is followed from which day on, and their urine tests, in two statements.

Day 0 is the local date of allocation; in a study without arms to compare, of enrolment.
"""

from dataclasses import dataclass
from datetime import date

import numpy as np
from django.db import connection

from analytics.many_calendars import OPEN, STAYED, Bools, Ints, Scheduled
from ema.arm_labels import names_shown
from ema.models import Study

# Dates are days since 0001-01-01 here: whole numbers from the database on.
DAY_ZERO = date(1, 1, 1)
PEOPLE = """
SELECT p.id, p.code, arm.key, coalesce(a.stratum, ''),
    CASE WHEN %(by_arm)s THEN (a.allocated_at AT TIME ZONE p.zone)::date ELSE p.enrolled_on END
        - DATE '0001-01-01',
    (p.withdrawn_at AT TIME ZONE p.zone)::date - DATE '0001-01-01'
FROM ema_participant p
LEFT JOIN ema_allocation a ON a.participant_id = p.id LEFT JOIN ema_arm arm ON arm.id = a.arm_id
WHERE p.study_id = %(study)s AND (arm.key IS NOT NULL OR NOT %(by_arm)s) ORDER BY p.id
"""
# All tests as one string of bytes, a hundred times less to unpack than rows: eight bytes a test,
# whose numbers ascend by participant and day.
TESTS = """
SELECT string_agg(int8send(
    (t.participant_id << 24) | ((t.due_on - DATE '0001-01-01')::bigint << 2)
    | CASE t.result WHEN 'negative' THEN 0 WHEN 'positive' THEN 1 WHEN 'missed' THEN 2 ELSE 3 END
), ''::bytea)
FROM ema_urinetest t JOIN ema_participant p ON p.id = t.participant_id
WHERE p.study_id = %(study)s
"""


@dataclass(frozen=True)
class Followed:
    """The participants, in the order of their keys, and their tests, which name them by place.

    `arm` is the place in the study's groups; `dropped_out_on` counts from day 0.
    """

    keys: Ints
    codes: tuple[str, ...]
    arm: Ints
    strata: tuple[str, ...]
    began_on: Ints
    dropped_out_on: Ints
    tests: Scheduled

    def still_open(self, since: date) -> Bools:
        """Which tests have no result and were due before this day."""
        due = self.tests.day + self.began_on[self.tests.person]
        found: Bools = (self.tests.result == OPEN) & (due < (since - DAY_ZERO).days)
        return found


def followed(study: Study, groups: list[str | None]) -> Followed:
    """Everybody who is allocated; everybody where there is one nameless group."""
    by_arm = groups[0] is not None
    with connection.cursor() as cursor:
        cursor.execute(PEOPLE, {"study": study.pk, "by_arm": by_arm})
        people = cursor.fetchall()
    place, name_of = {arm: number for number, arm in enumerate(groups)}, names_shown(study)
    keys, began_on = (np.array([one[at] for one in people], dtype=np.int64) for at in (0, 4))
    left = np.array([STAYED if one[5] is None else one[5] for one in people], dtype=np.int64)
    arm = [place[name_of[one[2]]] if by_arm else 0 for one in people]
    return Followed(
        keys=keys,
        codes=tuple(one[1] for one in people),
        arm=np.array(arm, dtype=np.int64),
        strata=tuple(one[3] if by_arm else "" for one in people),
        began_on=began_on,
        dropped_out_on=np.where(left == STAYED, STAYED, left - began_on),
        tests=_tests(study, keys, began_on),
    )


def _tests(study: Study, keys: Ints, began_on: Ints) -> Scheduled:
    """Of these participants, whose keys ascend, in the order of participants and days."""
    with connection.cursor() as cursor:
        cursor.execute(TESTS, {"study": study.pk})
        ((packed,),) = cursor.fetchall()
    tests = np.sort(np.frombuffer(packed or b"", dtype=">i8").astype(np.int64))
    owner, due, result = tests >> 24, (tests >> 2) & 0x3FFFFF, tests & 3
    known = np.isin(owner, keys)
    person = np.searchsorted(keys, owner[known])
    return Scheduled(person, due[known] - began_on[person], result[known])
