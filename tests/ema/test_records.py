"""What the database itself refuses, whoever asks."""

from datetime import timedelta

import pytest
from django.apps import apps
from django.db import IntegrityError, ProgrammingError, connection, transaction
from django.utils import timezone

from ema import audit
from ema.models import AuditEvent, Item, Participant, Prompt, QuestionnaireVersion, UrineTest
from tests import trial

pytestmark = pytest.mark.django_db

REFUSED = r"append-only|never changed or removed|keeps a trace of every change"


def refuses(sentence: str) -> pytest.RaisesExc[IntegrityError]:
    return pytest.raises(IntegrityError, match=sentence)


@pytest.fixture
def participant() -> Participant:
    return trial.enrol(trial.make_study(), "S1-001", "UTC", timezone.now())


def test_a_prompt_expires_after_it_is_due(participant: Participant) -> None:
    now = timezone.now()
    phase = participant.study.phases.get()
    with refuses("prompt_expires_after_it_is_due"):
        Prompt.objects.create(
            participant=participant,
            phase=phase,
            questionnaire=phase.questionnaire,
            study_on=now.date(),
            study_day=1,
            ordinal=1,
            due_at=now,
            expires_at=now,
            zone="UTC",
            tzdata="x",
            planned_at=now,
        )


def test_a_study_has_one_reference_arm(participant: Participant) -> None:
    with refuses("a_study_has_one_reference_arm"):
        participant.study.arms.update(is_reference=True)


def test_a_urine_result_has_its_collection_date(participant: Participant) -> None:
    with refuses("a_urine_result_has_its_collection_date"):
        UrineTest.objects.create(
            participant=participant,
            due_on=timezone.now().date(),
            result="negative",
            recorded_at=timezone.now(),
        )


def test_a_participant_withdraws_after_enrolling(participant: Participant) -> None:
    with refuses("participant_withdraws_after_enrolling"):
        Participant.objects.update(withdrawn_at=participant.enrolled_at - timedelta(days=1))


def test_a_slot_is_spent_once_per_participant(participant: Participant) -> None:
    trial.allocate(participant, "placebo")
    with refuses("participant_id"):
        trial.allocate(participant, "clonidine")


@pytest.mark.parametrize("table", ["ema_auditevent", "analytics_comparison"])
def test_a_table_that_only_grows_is_not_emptied(table: str) -> None:
    """Nor through a table it points at."""
    with connection.cursor() as cursor:
        for emptied in (table, "ema_study"):
            with (
                pytest.raises(ProgrammingError, match=REFUSED),
                transaction.atomic(),
            ):
                cursor.execute(f"TRUNCATE {emptied} CASCADE")


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE ema_questionnaireversion SET version = 7",
        "UPDATE ema_questionnaireversion SET published_at = NULL, sha256 = ''",
        "UPDATE ema_item SET maximum = 10 WHERE key = 'stress'",
        "DELETE FROM ema_item",
        """INSERT INTO ema_item (version_id, key, position, kind, role, label, decimals, options,
               show_if, recall, required)
           SELECT id, 'new', 9, 'text', '', '{}', 0, '[]', '{}', '{}', true
           FROM ema_questionnaireversion""",
    ],
)
def test_a_published_questionnaire_never_changes(participant: Participant, change: str) -> None:
    version = QuestionnaireVersion.objects.get()
    with (
        pytest.raises(ProgrammingError, match="a published questionnaire never changes"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute(change)
    assert version.content_hash() == QuestionnaireVersion.objects.get().sha256


def test_a_draft_of_a_questionnaire_may_change(participant: Participant) -> None:
    published = QuestionnaireVersion.objects.get()
    draft = QuestionnaireVersion.objects.create(questionnaire=published.questionnaire, version=2)
    item = Item.objects.create(version=draft, key="note", kind="text", position=1)
    Item.objects.filter(pk=item.pk).update(position=2)
    with (
        pytest.raises(ProgrammingError, match="never changes"),
        transaction.atomic(),
    ):
        Item.objects.filter(pk=item.pk).update(version=published, position=9)
    draft.items.all().delete()
    draft.delete()


def test_the_audit_trail_is_append_only() -> None:
    audit.record(actor=audit.COMMAND, action="test", subject="nothing")
    for change in ("UPDATE ema_auditevent SET reason = 'x'", "DELETE FROM ema_auditevent"):
        with (
            pytest.raises(ProgrammingError, match="append-only"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(change)
    assert AuditEvent.objects.filter(action="test").count() == 1


def test_constraint_names_are_sentences() -> None:
    """At least three words each, and none of Django's generated kind."""
    for model in apps.get_models():
        if model._meta.app_label in ("ema", "scheduler", "analytics"):
            for constraint in model._meta.constraints:
                assert constraint.name.count("_") >= 2, constraint.name
                assert "%" not in constraint.name
