"""A comparison's page is looked at often and changes seldom: its report is kept for a while.

The key is everything a report depends on: the plan, the couplings' last estimate, allocations,
arms, phases, participants and the version of the code. What an answer that came since would change
waits for the next estimate, which is within the minute.
"""

import hashlib
import json
from typing import Any

from django.core.cache import cache
from django.db import connection

from analytics import plan as plans
from analytics.comparison import compare
from analytics.models import AnalysisPlan
from analytics.plan import STANDARD
from analytics.plans import notes_on
from analytics.software import software
from ema.arm_labels import names_shown
from ema.models import Study

KEEP_FOR_S = 900
STATE = """
SELECT (SELECT concat_ws('/', count(*), sum(n_pairs), max(estimated_at))
        FROM analytics_coupling c JOIN ema_participant p ON p.id = c.participant_id
        WHERE p.study_id = %(study)s),
    (SELECT md5(string_agg(concat_ws('/', participant_id, arm_id, stratum), ',' ORDER BY id))
     FROM ema_allocation WHERE study_id = %(study)s AND participant_id IS NOT NULL),
    (SELECT string_agg(concat_ws('/', key, is_reference, treatments), ',' ORDER BY key)
     FROM ema_arm WHERE study_id = %(study)s),
    (SELECT string_agg(concat_ws('/', id, key), ',' ORDER BY id)
     FROM ema_phase WHERE study_id = %(study)s),
    (SELECT md5(string_agg(concat_ws('/', id, code, site_id), ',' ORDER BY id))
     FROM ema_participant WHERE study_id = %(study)s)
"""


def kept_report(study: Study, stored: AnalysisPlan | None) -> dict[str, Any]:
    """The report with everybody's slopes, as `compare` makes it; what is exploratory as of now."""
    key = _key(study, stored)
    report: dict[str, Any] | None = cache.get(key)
    if report is None:
        report = compare(study, stored, participants=True)
        cache.set(key, report, KEEP_FOR_S)
        return report
    is_exploratory, notes = notes_on(stored, study)
    one_group = [note for note in report["notes"] if note.startswith("There is nothing to compare")]
    return report | {"exploratory": is_exploratory, "notes": [*notes, *one_group]}


def _key(study: Study, stored: AnalysisPlan | None) -> str:
    with connection.cursor() as cursor:
        cursor.execute(STATE, {"study": study.pk})
        (state,) = cursor.fetchall()
    plan = stored.plan if stored else STANDARD
    version = [stored.pk, str(stored.locked_at)] if stored else []
    names = sorted(names_shown(study).items())
    depends = [study.pk, study.slug, names, software(), plans.digest(plan), *version, *state]
    text = json.dumps(depends, default=str)
    return f"comparison:{hashlib.sha256(text.encode()).hexdigest()}"
