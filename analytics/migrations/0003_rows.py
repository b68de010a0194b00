import django.contrib.postgres.fields
import django.db.models.deletion
from django.db import migrations, models

# What is kept of responses is made anew by the next estimate, within the minute: it takes whoever
# has responses and no coupling.
MAKE_ANEW = "DELETE FROM analytics_moments; DELETE FROM analytics_coupling"


class Migration(migrations.Migration):

    dependencies = [
        ("analytics", "0002_plans"),
        ("ema", "0001_initial"),
    ]

    operations = [
        migrations.RunSQL(MAKE_ANEW, migrations.RunSQL.noop),
        migrations.AddField(
            model_name="moments",
            name="stress",
            field=django.contrib.postgres.fields.ArrayField(base_field=models.IntegerField(), default=list, size=None),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="moments",
            name="craving",
            field=django.contrib.postgres.fields.ArrayField(base_field=models.IntegerField(), default=list, size=None),
            preserve_default=False,
        ),
        migrations.AddField(
            model_name="moments",
            name="follows",
            field=django.contrib.postgres.fields.ArrayField(base_field=models.BooleanField(), default=list, size=None),
            preserve_default=False,
        ),
        migrations.CreateModel(
            name="LeftOut",
            fields=[
                ("id", models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name="ID")),
                ("reason", models.CharField(max_length=40)),
                ("n", models.PositiveIntegerField()),
                ("computed_at", models.DateTimeField()),
                ("participant", models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name="left_out", to="ema.participant")),
                ("phase", models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name="left_out", to="ema.phase")),
            ],
            options={
                "verbose_name_plural": "left out",
                "constraints": [models.UniqueConstraint(fields=("participant", "phase", "reason"), name="a_reason_is_counted_once_in_a_phase", nulls_distinct=False)],
            },
        ),
    ]
