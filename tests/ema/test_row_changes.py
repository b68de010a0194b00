"""Every change of a decision leaves its proof, by whatever way it is made."""

import sys
from collections.abc import Callable
from datetime import date
from typing import Any

import psycopg
import pytest
from django.apps import apps
from django.contrib.auth.models import User
from django.db import ProgrammingError, connection, transaction
from django.utils import timezone

from ema import acting, audit, setting_values, urine, withdrawal
from ema.models import (
    Allocation,
    AuditEvent,
    Device,
    EnrolmentCode,
    Membership,
    Participant,
    Pause,
    RowChange,
    Site,
    Study,
    UrineTest,
)
from scheduler.planning import plan_prompts
from tests import trial
from tests.ema.test_admin import sign_in
from tests.ema.uploading import item, statuses, submit

pytestmark = pytest.mark.django_db

NOT_WATCHED = {
    "ema_prompt": "the ledger of prompts has its own verification",
    "ema_response": "kept as sent, exactly once, with its hash",
    "ema_phoneevent": "what phones report, kept as sent",
    "ema_refreshtoken": "secrets that change by use",
    "ema_item": "a published version and its items never change",
    "ema_heartbeat": "says that a process lives",
    "ema_alertmessage": "an outbox: what is sent of an alert, with its own state",
    "ema_pushregistration": "addresses of phones, by the phones themselves",
    "ema_auditevent": "the trail itself only grows",
    "ema_rowchange": "the trail itself only grows",
    "ema_auditcheckpoint": "the trail itself only grows",
}


@pytest.fixture
def participant() -> Participant:
    return trial.enrol(trial.make_study(), "S1-001", "Europe/Brussels", timezone.now())


def run(statement: str, *values: int) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, values)


def newest(table: str) -> RowChange:
    found = RowChange.objects.filter(table_name=table).first()
    assert found
    return found


def test_a_raw_update_leaves_what_changed_and_nothing_else(participant: Participant) -> None:
    run("UPDATE ema_participant SET zone = 'Asia/Tokyo', language = 'en'")
    kept = newest("ema_participant")
    assert (kept.operation, kept.row_id) == ("update", str(participant.pk))
    assert kept.before == {"zone": "Europe/Brussels"}
    assert kept.after == {"zone": "Asia/Tokyo"}
    assert (kept.study, kept.site) == (participant.study, participant.site)
    assert not kept.is_closed
    with connection.cursor() as cursor:
        cursor.execute("SELECT session_user")
        assert kept.database_user == cursor.fetchone()[0]


def test_what_changes_nothing_leaves_nothing(participant: Participant) -> None:
    before = RowChange.objects.count()
    run("UPDATE ema_participant SET zone = zone")
    assert RowChange.objects.count() == before


def by_hand(participant: Participant) -> None:
    run(
        "INSERT INTO ema_pause (participant_id, kind, begins_at, reason) "
        "VALUES (%s, 'pause', now(), '')",
        participant.pk,
    )


def in_bulk(participant: Participant) -> None:
    Pause.objects.bulk_create([Pause(participant=participant, begins_at=timezone.now())])


def by_copy(participant: Participant) -> None:
    with connection.cursor() as cursor:
        copy = "COPY ema_pause (participant_id, kind, begins_at, reason) FROM STDIN"
        raw: psycopg.Cursor = cursor.cursor
        with raw.copy(copy) as rows:
            rows.write_row((participant.pk, "pause", timezone.now(), ""))


@pytest.mark.parametrize("way", [by_hand, in_bulk, by_copy])
def test_no_way_of_adding_a_row_passes_by(
    participant: Participant, way: Callable[[Participant], None]
) -> None:
    way(participant)
    kept = newest("ema_pause")
    assert kept.operation == "insert"
    assert kept.before is None
    assert (kept.after or {})["participant_id"] == participant.pk
    assert (kept.study, kept.site) == (participant.study, participant.site)


def test_a_row_that_a_cascade_deletes_leaves_what_it_was(participant: Participant) -> None:
    trial.redeem(participant)
    Device.objects.all().delete()
    kept = newest("ema_device")
    assert (kept.operation, kept.after) == ("delete", None)
    assert kept.before
    assert kept.site == participant.site


def test_a_watched_table_is_not_emptied_at_once(participant: Participant) -> None:
    with pytest.raises(ProgrammingError, match="keeps a trace"), transaction.atomic():
        run("TRUNCATE ema_pause")


def test_an_event_and_its_rows_name_the_same_transaction(participant: Participant) -> None:
    withdrawal.withdraw(
        participant=participant, reason="moved", now=timezone.now(), actor=audit.COMMAND
    )
    event = AuditEvent.objects.get(action="participant.withdrawn")
    rows = RowChange.objects.filter(transaction=event.transaction, table_name="ema_participant")
    assert "withdrawal_reason" in (rows[0].after or {})


@pytest.mark.django_db(transaction=True)
def test_transactions_have_names_of_their_own() -> None:
    study = trial.make_study()
    names = set()
    for number in range(3):
        Study.objects.filter(pk=study.pk).update(title=f"Title {number}")
        names.add(newest("ema_study").transaction)
    assert len(names) == 3


def test_rows_of_allocation_are_closed(participant: Participant) -> None:
    slot = trial.allocate(participant, "clonidine")
    Allocation.objects.filter(pk=slot.pk).update(position=9)
    kept = RowChange.objects.filter(table_name="ema_allocation")
    assert [each.operation for each in kept] == ["update", "insert"]
    assert all(each.is_closed for each in kept)
    assert (kept[1].after or {})["arm_id"] == "(secret)"
    others = RowChange.objects.exclude(table_name__in=["ema_allocation", "ema_arm"])
    assert "clonidine" not in str(list(others.values_list("before", "after")))


def test_secrets_are_not_kept_but_that_they_changed_is(participant: Participant) -> None:
    admission = trial.redeem(participant)
    study = participant.study
    seed = bytes(study.seed).hex()
    Study.objects.update(seed=b"x" * 32)
    assert newest("ema_study").after == {"seed": "(secret)"}
    sign_in("cora", study, "coordinator")
    kept = str(list(RowChange.objects.values_list("before", "after")))
    codes = EnrolmentCode.objects.values_list("code_hash", flat=True)
    phones = Device.objects.values_list("access_hash", flat=True)
    for secret in (seed, *codes, *phones, admission.access_token, "argon2"):
        assert secret not in kept, secret


def test_a_phone_that_lives_on_leaves_nothing_and_one_that_is_revoked_does(
    participant: Participant,
) -> None:
    phone = trial.redeem(participant).device
    before = RowChange.objects.count()
    Device.objects.update(schedule_at=timezone.now(), access_hash="new")
    assert RowChange.objects.count() == before
    Device.objects.update(revoked_at=timezone.now())
    assert newest("ema_device").row_id == str(phone.pk)
    assert set(newest("ema_device").after or {}) == {"revoked_at"}


def test_a_test_that_is_due_leaves_nothing_and_its_result_does(participant: Participant) -> None:
    test = UrineTest.objects.create(participant=participant, due_on=date(2026, 6, 1))
    assert not RowChange.objects.filter(table_name="ema_urinetest").exists()
    urine.record_result(
        test=test, result="missed", collected_on=None, now=timezone.now(), actor=audit.COMMAND
    )
    assert (newest("ema_urinetest").after or {})["result"] == "missed"


def test_an_upload_writes_nothing_here(participant: Participant) -> None:
    """So that ingest costs what it did: its tables have no such trigger."""
    phone = trial.redeem(participant)
    plan_prompts(timezone.now())
    prompt = participant.prompts.order_by("due_at")[0]
    before = (RowChange.objects.count(), AuditEvent.objects.count())
    assert statuses(submit(phone, [item(prompt), item(prompt)])) == ["created", "created"]
    assert (RowChange.objects.count(), AuditEvent.objects.count()) == before


def test_a_role_granted_by_hand_is_kept_without_an_event(participant: Participant) -> None:
    sign_in("eve", participant.study, "investigator")
    run("UPDATE ema_membership SET role = 'statistician'")
    kept = newest("ema_membership")
    assert (kept.before, kept.after) == ({"role": "investigator"}, {"role": "statistician"})
    assert Membership.objects.get().role == "statistician"


def test_rows_say_which_operator_sent_the_form(participant: Participant) -> None:
    site = Site.objects.get()
    client = sign_in("cora", participant.study, "coordinator")
    form: dict[str, Any] = {"site": site.pk, "code": "S1-009", "zone": "UTC", "language": "en"}
    client.post("/admin/ema/participant/add/", form)
    added = RowChange.objects.get(table_name="ema_participant", after__code="S1-009")
    user = Membership.objects.get().user
    assert added.actor == f"cora (user {user.pk})"
    run("UPDATE ema_participant SET language = 'nl'")
    assert newest("ema_participant").actor == setting_values.process_name(sys.argv)


def test_whoever_names_nobody_is_the_database(participant: Participant) -> None:
    run("SET LOCAL fourbeat.actor = ''")
    run("UPDATE ema_participant SET language = 'nl'")
    assert newest("ema_participant").actor == "database"


def test_a_failed_transaction_forgets_who_acted(participant: Participant) -> None:
    user = User.objects.create_user("eve")
    with pytest.raises(ProgrammingError), transaction.atomic(), acting.acting(user):
        run("SELECT nothing")
    run("UPDATE ema_participant SET language = 'nl'")
    assert "eve" not in newest("ema_participant").actor


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (["/srv/manage.py", "lock", "demo", "--reason", "secret"], "manage.py_lock"),
        (["manage.py"], "manage.py"),
        (["/usr/bin/py test"], "py-test"),
        ([""], "python"),
        ([], "python"),
    ],
)
def test_a_process_is_named_by_what_runs(arguments: list[str], name: str) -> None:
    assert setting_values.process_name(arguments) == name


def test_every_table_of_the_trial_is_watched_or_says_why_not() -> None:
    """A new table has its changes kept (`row_change_trigger.watch` in its migration)."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT DISTINCT tgrelid::regclass::text FROM pg_trigger "
            "WHERE tgname = 'what_is_changed_is_kept' AND tgenabled = 'O'"
        )
        watched = {name for (name,) in cursor.fetchall()}
    tables = {model._meta.db_table for model in apps.get_app_config("ema").get_models()}
    assert tables - watched == set(NOT_WATCHED)
    assert "auth_user" in watched
