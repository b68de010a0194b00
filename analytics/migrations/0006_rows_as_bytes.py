from django.db import migrations, models

# Read as they are: an array takes PostgreSQL as long to send as it takes to fit the model.
AS_BYTES = """
ALTER TABLE analytics_moments
    ADD stress_bytes bytea, ADD craving_bytes bytea, ADD follows_bytes bytea;
UPDATE analytics_moments SET (stress_bytes, craving_bytes, follows_bytes) = (
    SELECT coalesce(string_agg(int4send(x), '' ORDER BY place), ''),
        coalesce(string_agg(int4send(y), '' ORDER BY place), ''),
        coalesce(string_agg(boolsend(after), '' ORDER BY place), '')
    FROM unnest(stress, craving, follows) WITH ORDINALITY AS row (x, y, after, place)
);
ALTER TABLE analytics_moments DROP stress, DROP craving, DROP follows;
ALTER TABLE analytics_moments RENAME stress_bytes TO stress;
ALTER TABLE analytics_moments RENAME craving_bytes TO craving;
ALTER TABLE analytics_moments RENAME follows_bytes TO follows;
ALTER TABLE analytics_moments ALTER stress SET NOT NULL,
    ALTER craving SET NOT NULL, ALTER follows SET NOT NULL
"""
# The next estimate takes whoever has responses and no coupling.
AS_ARRAYS = """
DELETE FROM analytics_moments;
DELETE FROM analytics_coupling;
ALTER TABLE analytics_moments DROP stress, DROP craving, DROP follows;
ALTER TABLE analytics_moments ADD stress integer[] NOT NULL,
    ADD craving integer[] NOT NULL, ADD follows boolean[] NOT NULL
"""


class Migration(migrations.Migration):

    dependencies = [
        ("analytics", "0005_snapshots"),
    ]

    operations = [
        migrations.RunSQL(
            AS_BYTES,
            AS_ARRAYS,
            state_operations=[
                migrations.AlterField(
                    model_name="moments",
                    name="stress",
                    field=models.BinaryField(help_text="Four bytes a row, the first the highest."),
                ),
                migrations.AlterField(
                    model_name="moments",
                    name="craving",
                    field=models.BinaryField(help_text="Four bytes a row, the first the highest."),
                ),
                migrations.AlterField(
                    model_name="moments",
                    name="follows",
                    field=models.BinaryField(help_text="One byte a row, 1 for yes."),
                ),
            ],
        ),
    ]
