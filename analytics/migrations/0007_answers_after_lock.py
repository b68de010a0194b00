"""Sum anew whoever answered after their study was locked: such answers were in their couplings."""

from django.db import migrations

SHARE_OUT = """
INSERT INTO analytics_couplingshard (study_id, participants, planned_at)
SELECT study.id, array_agg(DISTINCT r.participant_id), now()
FROM ema_study study
JOIN ema_participant participant ON participant.study_id = study.id
JOIN ema_response r ON r.participant_id = participant.id
WHERE r.received_at > study.locked_at
GROUP BY study.id
"""


class Migration(migrations.Migration):
    dependencies = [
        ("analytics", "0006_rows_as_bytes"),
        ("ema", "0025_double_entry"),
    ]

    operations = [migrations.RunSQL(SHARE_OUT, migrations.RunSQL.noop)]
