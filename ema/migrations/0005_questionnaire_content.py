"""Published content is kept as it was published; items gain languages, skip reasons and more."""

import hashlib
import json

import django.db.models.constraints
from django.db import migrations, models

import ema.models.questionnaire

TABLE = "ema_questionnaireversion"
TRIGGER = "a_published_questionnaire_never_changes"


def keep_published_content(apps, schema_editor):
    """Write down what phones were given so far, byte for byte as it was hashed."""
    versions = apps.get_model("ema", "QuestionnaireVersion").objects.filter(
        published_at__isnull=False
    )
    schema_editor.execute(f"ALTER TABLE {TABLE} DISABLE TRIGGER {TRIGGER}")
    for version in versions.select_related("questionnaire"):
        names = (
            "key kind label minimum maximum decimals options show_if recall required".split()
        )
        content = {
            "key": version.questionnaire.key,
            "version": version.version,
            "items": list(version.items.order_by("position").values(*names)),
        }
        text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        if hashlib.sha256(text.encode()).hexdigest() != version.sha256:
            raise RuntimeError(
                f"The items of questionnaire {version.questionnaire.key} version "
                f"{version.version} are not those that were published under {version.sha256}."
            )
        version.published_content = text
        version.save(update_fields=["published_content"])
    schema_editor.execute(f"ALTER TABLE {TABLE} ENABLE TRIGGER {TRIGGER}")


def refuse_to_lose_content(apps, schema_editor):
    """Back there, content is made of the items again, as it was before."""
    version = apps.get_model("ema", "QuestionnaireVersion").objects.filter(
        published_content__contains='"format":'
    )
    if version.exists():
        raise RuntimeError("Questionnaires were published since: their content would be lost.")


def name_languages(apps, schema_editor):
    """The languages of a version are those its labels are in."""
    schema_editor.execute(f"ALTER TABLE {TABLE} DISABLE TRIGGER {TRIGGER}")
    for version in apps.get_model("ema", "QuestionnaireVersion").objects.all():
        labels = version.items.order_by("position").values_list("label", flat=True)
        found = list(dict.fromkeys(language for label in labels for language in label))
        if found:
            version.languages = found
            version.save(update_fields=["languages"])
    schema_editor.execute(f"ALTER TABLE {TABLE} ENABLE TRIGGER {TRIGGER}")


LANGUAGE = """coalesce(
    CASE WHEN label ? 'en' THEN 'en' END,
    jsonb_path_query_first(label, '$.keyvalue().key', '{}', true) #>> '{}',
    'en'
)"""
RECALL_BY_LANGUAGE = f"""
ALTER TABLE ema_item ALTER COLUMN recall TYPE jsonb
USING CASE WHEN recall = '' THEN '{{}}'::jsonb ELSE jsonb_build_object({LANGUAGE}, recall) END
"""
RECALL_AS_TEXT = """
ALTER TABLE ema_item ALTER COLUMN recall TYPE varchar(100)
USING coalesce(jsonb_path_query_first(recall, '$.*') #>> '{}', '')
"""


class Migration(migrations.Migration):
    dependencies = [("ema", "0004_email_and_sms")]

    operations = [
        migrations.AddField(
            model_name="questionnaireversion",
            name="published_content",
            field=models.TextField(blank=True, default="", editable=False),
            preserve_default=False,
        ),
        migrations.RunPython(keep_published_content, refuse_to_lose_content),
        migrations.RunSQL("SET CONSTRAINTS ALL IMMEDIATE", migrations.RunSQL.noop),
        migrations.AddConstraint(
            model_name="questionnaireversion",
            constraint=models.CheckConstraint(
                condition=models.Q(("published_at__isnull", True))
                | ~models.Q(("published_content", "")),
                name="a_published_questionnaire_keeps_its_content",
            ),
        ),
        migrations.SeparateDatabaseAndState(
            database_operations=[migrations.RunSQL(RECALL_BY_LANGUAGE, RECALL_AS_TEXT)],
            state_operations=[
                migrations.AlterField(
                    model_name="item",
                    name="recall",
                    field=models.JSONField(
                        blank=True, default=dict, help_text="E.g. in the past hour."
                    ),
                ),
            ],
        ),
        migrations.RemoveConstraint(
            model_name='item',
            name='item_position_is_unique_in_version',
        ),
        migrations.AddField(
            model_name='item',
            name='help',
            field=models.JSONField(blank=True, default=dict),
        ),
        migrations.AddField(
            model_name='item',
            name='high_label',
            field=models.JSONField(blank=True, default=dict),
        ),
        migrations.AddField(
            model_name='item',
            name='low_label',
            field=models.JSONField(blank=True, default=dict),
        ),
        migrations.AddField(
            model_name='item',
            name='max_length',
            field=models.PositiveSmallIntegerField(blank=True, help_text='Characters of a short text.', null=True),
        ),
        migrations.AddField(
            model_name='item',
            name='skip_reasons',
            field=models.JSONField(blank=True, default=list),
        ),
        migrations.AddField(
            model_name='item',
            name='unit',
            field=models.JSONField(blank=True, default=dict),
        ),
        migrations.AddField(
            model_name='questionnaireversion',
            name='languages',
            field=models.JSONField(default=ema.models.questionnaire.first_language, help_text='The first is shown where a phone has none of them.'),
        ),
        migrations.AddField(
            model_name='questionnaireversion',
            name='skip_reasons',
            field=models.JSONField(blank=True, default=list, help_text='Reasons to skip an item, for items that allow them.'),
        ),
        migrations.AddField(
            model_name='questionnaireversion',
            name='title',
            field=models.JSONField(blank=True, default=dict, help_text='What participants read above the first item.'),
        ),
        migrations.AlterField(
            model_name='item',
            name='label',
            field=models.JSONField(default=dict),
        ),
        migrations.AlterField(
            model_name='item',
            name='options',
            field=models.JSONField(blank=True, default=list),
        ),
        migrations.AlterField(
            model_name='item',
            name='show_if',
            field=models.JSONField(blank=True, default=dict, help_text='{} is always. E.g. {"item": "event", "is": true}.'),
        ),
        migrations.AddConstraint(
            model_name='item',
            constraint=models.UniqueConstraint(deferrable=django.db.models.constraints.Deferrable['DEFERRED'], fields=('version', 'position'), name='item_position_is_unique_in_version'),
        ),
        migrations.AddConstraint(
            model_name='item',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ['slider', 'rating', 'single', 'multiple', 'yes_no', 'number', 'time', 'text'])), name='item_kind_is_known'),
        ),
        migrations.RunPython(name_languages, migrations.RunPython.noop),
    ]
