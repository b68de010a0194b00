"""What was published before an upgrade is the same bytes after it."""

import pytest
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from ema import audit, studies
from ema.models import QuestionnaireVersion, Study

pytestmark = pytest.mark.django_db

PUBLISHED = (
    '{"items":[{"decimals":0,"key":"stress","kind":"slider","label":{"en":"Stress?"},'
    '"maximum":100,"minimum":0,"options":[],"recall":"in the past hour","required":true,'
    '"show_if":{}}],"key":"old","version":1}'
)
SHA256 = "bcb93565adab192e80eee93833759d78bcfb5b6b50479aaf4f2fbe02efea0f22"


def at(target: list[tuple[str, str]]) -> None:
    MigrationExecutor(connection).migrate(target)


def test_a_version_published_before_keeps_its_bytes_and_hash() -> None:
    study = Study.objects.create(slug="old", title="Old")
    graph = MigrationExecutor(connection).loader.graph
    [change] = [node for node in graph.nodes if node[1].endswith("_questionnaire_content")]
    before = [node for node in graph.node_map[change].parents if node[0] == "ema"]
    assert before
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
        at([(node.key[0], node.key[1]) for node in before])
        cursor.execute(
            "INSERT INTO ema_questionnaire (study_id, key, title) VALUES (%s, 'old', 'Old') "
            "RETURNING id",
            [study.pk],
        )
        (form,) = cursor.fetchone()
        cursor.execute(
            "INSERT INTO ema_questionnaireversion (questionnaire_id, version, sha256) "
            "VALUES (%s, 1, '') RETURNING id",
            [form],
        )
        (version,) = cursor.fetchone()
        cursor.execute(
            "INSERT INTO ema_item (version_id, key, position, kind, role, label, minimum, maximum, "
            "decimals, options, show_if, recall, required) VALUES (%s, 'stress', 1, 'slider', "
            """'stress', '{"en": "Stress?"}', 0, 100, 0, '[]', '{}', 'in the past hour', true)""",
            [version],
        )
        cursor.execute(
            "UPDATE ema_questionnaireversion SET published_at = %s, sha256 = %s WHERE id = %s",
            [timezone.now(), SHA256, version],
        )
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    at(graph.leaf_nodes())
    kept = QuestionnaireVersion.objects.get(pk=version)
    assert kept.published_content == PUBLISHED
    assert kept.content_hash() == kept.sha256 == SHA256
    assert kept.items.get().recall == {"en": "in the past hour"}
    assert kept.languages == ["en"]
    draft = QuestionnaireVersion.objects.create(questionnaire=kept.questionnaire, version=2)
    with pytest.raises(studies.NotReady):
        studies.publish(version=draft, now=timezone.now(), actor=audit.COMMAND)
