"""Plans of the statements that keep a row change are kept; nobody else attaches the function."""

from django.db import migrations

from ema.row_change_trigger import KEEP_ROW_CHANGE


class Migration(migrations.Migration):
    dependencies = [
        ("ema", "0020_arm_labels"),
    ]

    operations = [
        migrations.RunSQL(sql=KEEP_ROW_CHANGE, reverse_sql=migrations.RunSQL.noop),
    ]
