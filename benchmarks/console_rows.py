"""What the coordinator's pages show beside prompts: alerts with their messages, urine tests."""

import json
import uuid
from typing import Any

from django.contrib.auth.models import User
from django.db import connection, transaction

from ema.models import AlertRule, Study

# Twenty alerts of everybody, the last two open; all were told by e-mail.
ALERTS = """
WITH made AS (
    INSERT INTO ema_alert (rule_id, participant_id, occasion, rule_content, rule_sha256, severity,
        finding, occurred_at, known_at, raised_at, acknowledged_at, acknowledged_by_id, action,
        action_text)
    SELECT rule.id, p.id, number::text, %(content)s::jsonb, repeat('0', 64), rule.severity,
        'Craving was 90.', at, at, at, CASE WHEN number < 19 THEN at END,
        CASE WHEN number < 19 THEN %(by)s::integer END,
        CASE WHEN number < 19 THEN 'called' ELSE '' END,
        CASE WHEN number < 19 THEN 'Called at noon.' ELSE '' END
    FROM ema_participant p, ema_alertrule rule, generate_series(1, 20) AS number,
        LATERAL (SELECT now() - (21 - number) * interval '1 day' AS at) AS times
    WHERE p.study_id = %(study)s AND rule.study_id = %(study)s
    RETURNING id, raised_at, acknowledged_at
)
INSERT INTO ema_alertmessage (alert_id, channel, address, queued_at, next_attempt_at, attempts,
    sent_at, failure)
SELECT id, 'mail', 'who@example.org', raised_at, raised_at, 1, raised_at, '' FROM made
"""
# Three tests a week for fourteen weeks around today; what was due is known.
URINE = """
INSERT INTO ema_urinetest (participant_id, due_on, collected_on, result, recorded_at)
SELECT p.id, due_on, CASE WHEN due_on < current_date THEN due_on END,
    CASE WHEN due_on < current_date
        THEN CASE WHEN (p.id + day) %% 4 = 0 THEN 'positive' ELSE 'negative' END ELSE '' END,
    CASE WHEN due_on < current_date THEN now() END
FROM ema_participant p, generate_series(-42, 55) AS day,
    LATERAL (SELECT current_date + day AS due_on) AS due
WHERE p.study_id = %(study)s AND extract(isodow FROM due_on) IN (1, 3, 5)
"""


def fill(study: Study) -> None:
    """Alerts and urine tests of everybody."""
    rule = AlertRule.objects.create(
        study=study,
        title="High craving",
        kind="answer",
        item="craving",
        operator="at_least",
        value="80",
        severity="urgent",
        todo="Call the participant.",
    )
    given: dict[str, Any] = {
        "study": study.pk,
        "by": User.objects.create_user(f"by {uuid.uuid4()}").pk,
        "content": json.dumps(rule.content()),
    }
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(ALERTS, given)
        cursor.execute(URINE, given)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE")
