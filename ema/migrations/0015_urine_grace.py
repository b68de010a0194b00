"""Open urine tests are missed after days of grace; in studies that are there already, by hand."""

import django.core.validators
from django.db import migrations, models

DAYS = dict(
    blank=True,
    help_text='Whole days after the day a urine test is due; an open test is missed after them. Empty: never by itself.',
    null=True,
    validators=[django.core.validators.MaxValueValidator(7)],
)


class Migration(migrations.Migration):

    dependencies = [
        ('ema', '0014_row_changes'),
    ]

    operations = [
        migrations.AddField(
            model_name='study',
            name='urine_grace_days',
            field=models.PositiveSmallIntegerField(**DAYS),
        ),
        migrations.AlterField(
            model_name='study',
            name='urine_grace_days',
            field=models.PositiveSmallIntegerField(default=2, **DAYS),
        ),
        migrations.AddConstraint(
            model_name='study',
            constraint=models.CheckConstraint(condition=models.Q(('urine_grace_days__isnull', True), ('urine_grace_days__lte', 7), _connector='OR'), name='a_urine_test_is_missed_within_a_week', violation_error_message="Wait at most 7 days: a sample of a later day is another test's."),
        ),
    ]
