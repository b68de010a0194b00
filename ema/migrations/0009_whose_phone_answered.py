import django.db.models.deletion
from django.db import migrations, models


# A response's phone is one of its participant's: one constraint says it, and that both exist.
# Checked once a row instead of twice; PostgreSQL's checks are a quarter of what a response costs.
OWN_PHONE = """
ALTER TABLE ema_response ADD CONSTRAINT a_response_is_from_its_participants_phone
FOREIGN KEY (device_id, participant_id) REFERENCES ema_device (id, participant_id)
DEFERRABLE INITIALLY DEFERRED
"""
NOT_OWN_PHONE = "ALTER TABLE ema_response DROP CONSTRAINT a_response_is_from_its_participants_phone"


class Migration(migrations.Migration):

    dependencies = [
        ('ema', '0008_fewer_indexes'),
    ]

    operations = [
        migrations.AlterField(
            model_name='response',
            name='device',
            field=models.ForeignKey(db_constraint=False, db_index=False, on_delete=django.db.models.deletion.PROTECT, related_name='responses', to='ema.device'),
        ),
        migrations.AlterField(
            model_name='response',
            name='participant',
            field=models.ForeignKey(db_constraint=False, on_delete=django.db.models.deletion.PROTECT, related_name='responses', to='ema.participant'),
        ),
        migrations.AddConstraint(
            model_name='device',
            constraint=models.UniqueConstraint(fields=('id', 'participant'), name='a_phone_is_of_one_participant'),
        ),
        migrations.RunSQL(OWN_PHONE, NOT_OWN_PHONE),
    ]
