"""A comparison's page is looked at often and changes seldom: its report is kept for a while.

The key is everything a report depends on: the plan, the couplings' last estimate, allocations,
arms, phases, participants, sites, published questionnaires, the newest snapshot and the version of
the code. What an answer that came since would change waits for the next estimate, which is within
the minute; prompts sent or missed meanwhile are counted when the report is made the next time.

After every run of estimates a worker makes the standard reports, so that whoever looks first need
not wait for one. While Valkey is away a report is made whenever somebody looks, and by no worker.
"""

import hashlib
import json
import time
from typing import Any

from django.db import connection
from django.db.models import Exists, OuterRef

from analytics import keeping
from analytics import plan as plans
from analytics.comparison import compare
from analytics.models import AnalysisPlan, Coupling
from analytics.plan import STANDARD
from analytics.plans import notes_on
from analytics.software import software
from analytics.trial import ComparisonImpossible
from ema.arm_labels import names_shown
from ema.models import Study

KEEP_FOR_S = 900
RENEW_AFTER_S = 600  # by a worker, before it is gone
REST = 19  # times as long as it took: of one worker's time at most a twentieth for a study
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
     FROM ema_participant WHERE study_id = %(study)s),
    (SELECT string_agg(concat_ws('/', id, code), ',' ORDER BY id)
     FROM ema_site WHERE study_id = %(study)s),
    (SELECT string_agg(concat_ws('/', v.id, v.published_at), ',' ORDER BY v.id)
     FROM ema_questionnaireversion v JOIN ema_questionnaire q ON q.id = v.questionnaire_id
     WHERE q.study_id = %(study)s AND v.published_at IS NOT NULL),
    (SELECT max(built_at) FROM analytics_snapshot WHERE study_id = %(study)s)
"""


def kept_report(study: Study, stored: AnalysisPlan | None) -> dict[str, Any]:
    """The report with everybody's slopes, as `compare` makes it; what is exploratory as of now."""
    key = _key(study, stored)
    report: dict[str, Any] | None = keeping.get(key)
    if report is None:
        return _make(key, study, stored)
    is_exploratory, notes = notes_on(stored, study)
    one_group = [note for note in report["notes"] if note.startswith("There is nothing to compare")]
    return report | {"exploratory": is_exploratory, "notes": [*notes, *one_group]}


def renew_reports() -> int:
    """Make standard reports that are not kept, or soon no longer; how many studies have a new one.

    Harmless when workers run it at once: a report that one has begun the others leave to it.
    """
    estimated = Coupling.objects.filter(participant__study=OuterRef("pk"))
    return sum(map(_renew, Study.objects.filter(Exists(estimated)).order_by("pk")))


def _renew(study: Study) -> bool:
    key, resting = _key(study, None), f"comparison:{study.pk}:resting"
    if keeping.get(resting) or not keeping.is_first(_begun(key), RENEW_AFTER_S):
        return False
    began = time.monotonic()
    try:
        _make(key, study, None)
    except ComparisonImpossible:
        return False
    finally:
        keeping.keep(resting, True, REST * (time.monotonic() - began))
    return True


def _make(key: str, study: Study, stored: AnalysisPlan | None) -> dict[str, Any]:
    report = compare(study, stored, participants=True)
    keeping.keep(key, report, KEEP_FOR_S)
    keeping.keep(_begun(key), True, RENEW_AFTER_S)
    return report


def _begun(key: str) -> str:
    return f"{key}:begun"


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
