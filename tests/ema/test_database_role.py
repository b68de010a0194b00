"""The application's database role does the trial's work and cannot touch the audit trail."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import ProgrammingError, connection, transaction
from django.utils import timezone

from analytics.coupling import estimate_couplings
from ema import audit, audit_checkpoints, pauses, withdrawal
from ema.audit_verification import verify
from ema.models import AuditEvent, Participant, RowChange
from scheduler.planning import plan_prompts
from tests import trial

pytestmark = pytest.mark.django_db

ROLE = f"fourbeat_app_{os.getpid()}"


@pytest.fixture
def role() -> Iterator[str]:
    """Made and, with the test's transaction, undone."""
    call_command("database_role", ROLE, "--apply", stdout=StringIO())
    yield ROLE
    with connection.cursor() as cursor:
        cursor.execute("RESET ROLE")


@contextmanager
def as_the_application(role: str) -> Iterator[None]:
    with connection.cursor() as cursor:
        cursor.execute(f'SET LOCAL ROLE "{role}"')
        yield
        cursor.execute("RESET ROLE")


def run(*options: str) -> tuple[int, str]:
    out = StringIO()
    try:
        call_command("database_role", *options, stdout=out)
    except CommandError as error:
        return error.returncode, f"{out.getvalue()}{error}"
    return 0, out.getvalue()


def do(statement: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement)


def test_the_application_does_its_work_in_that_role(role: str) -> None:
    """Set up, start, enrol, redeem, plan, allocate, pause, withdraw, couple, seal, verify."""
    with as_the_application(role):
        study = trial.make_study()
        now = timezone.now()
        person = trial.enrol(study, "S1-001", "Europe/Brussels", now)
        trial.redeem(person)
        plan_prompts(now)
        assert person.prompts.exists()
        by: Any = {"participant": person, "now": now, "actor": audit.COMMAND}
        trial.allocate(person, "clonidine")
        pauses.pause(**by)
        withdrawal.withdraw(reason="moved", **by)
        estimate_couplings(now)
        assert audit_checkpoints.seal()
        assert verify().findings == []
        kept = RowChange.objects.filter(table_name="ema_participant")
        assert {each.operation for each in kept} == {"insert", "update"}
        assert AuditEvent.objects.filter(action="participant.withdrawn").exists()


@pytest.mark.parametrize(
    "statement",
    [
        *(
            f"{change} {table}{rest}"
            for table in ("ema_auditevent", "ema_rowchange", "ema_auditcheckpoint")
            for change, rest in (
                ("UPDATE", " SET id = 0"),
                ("DELETE FROM", ""),
                ("TRUNCATE", ""),
                ("ALTER TABLE", " DISABLE TRIGGER USER"),
                ("DROP TABLE", ""),
            )
        ),
        "INSERT INTO ema_rowchange (at) VALUES (now())",
        "TRUNCATE ema_pause",
        "ALTER TABLE ema_participant DISABLE TRIGGER USER",
        "SET session_replication_role = replica",
        "DELETE FROM django_migrations",
        "CREATE TABLE mine (id int)",
        (
            "CREATE OR REPLACE FUNCTION keep_row_change() RETURNS trigger LANGUAGE plpgsql "
            "AS $$ BEGIN RETURN NULL; END $$"
        ),
    ],
)
def test_the_trail_is_out_of_its_reach(role: str, statement: str) -> None:
    trial.enrol(trial.make_study(), "S1-001", "UTC", timezone.now())
    with as_the_application(role):
        do("SET LOCAL fourbeat.may_truncate = on")
        with (
            pytest.raises(ProgrammingError, match=r"permission denied|must be owner"),
            transaction.atomic(),
        ):
            do(statement)


def test_it_cannot_have_the_owner_write_into_a_table_of_its_own(role: str) -> None:
    """The trigger function runs as its owner: whoever could attach it could run anything so."""
    with as_the_application(role):
        do("CREATE TEMPORARY TABLE mine (id int)")
        with (
            pytest.raises(ProgrammingError, match="permission denied for function"),
            transaction.atomic(),
        ):
            do(
                "CREATE TRIGGER mine AFTER INSERT ON mine FOR EACH ROW "
                "EXECUTE FUNCTION keep_row_change('', '', 'open')"
            )


def test_a_raw_change_in_that_role_is_kept_under_its_name(role: str) -> None:
    trial.enrol(trial.make_study(), "S1-001", "UTC", timezone.now())
    with as_the_application(role):
        Participant.objects.update(language="nl")
    kept = RowChange.objects.filter(table_name="ema_participant")[0]
    assert kept.after == {"language": "nl"}


def test_the_sql_that_is_printed_does_the_same() -> None:
    code, printed = run(ROLE)
    assert code == 0
    assert f'CREATE ROLE "{ROLE}" LOGIN NOSUPERUSER' in printed
    assert f'GRANT SELECT, INSERT ON "public"."ema_auditevent" TO "{ROLE}"' in printed
    do(printed)
    assert run(ROLE, "--apply")[0] == 0  # harmless again
    with as_the_application(ROLE):
        assert run("--check") == (
            0,
            "Through this connection the audit trail can only be read and added to.\n",
        )


def test_rights_given_before_are_taken_back(role: str) -> None:
    do(f'GRANT ALL ON ema_auditevent TO "{role}"')
    with as_the_application(role):
        code, said = run("--check")
    assert code == 1
    assert f"{role} has UPDATE on ema_auditevent" in said
    assert run(role, "--apply")[0] == 0
    with as_the_application(role):
        assert run("--check")[0] == 0


def test_the_owner_is_told_that_it_could_change_the_trail() -> None:
    code, said = run("--check")
    assert code == 1
    assert "owns the tables of the trail" in said


@pytest.mark.parametrize(
    ("options", "code", "sentence"),
    [
        ([], 2, "Say what to do"),
        (["--check", "somebody"], 2, "Say what to do"),
        (['x"; DROP TABLE ema_study; --'], 1, "is no name for a role"),
        ([ROLE, "--apply", "--password-env", "FOURBEAT_NOT_SET"], 2, "FOURBEAT_NOT_SET is not set"),
    ],
)
def test_what_cannot_be_is_refused(options: list[str], code: int, sentence: str) -> None:
    found, said = run(*options)
    assert (found, sentence in said) == (code, True)


def test_the_owner_cannot_be_the_application() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_user")
        (owner,) = cursor.fetchone()
    code, said = run(owner)
    assert code == 1
    assert "owns the tables" in said


def test_a_password_is_sent_as_a_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("APP_PASSWORD", "correct horse")
    assert run(ROLE, "--apply", "--password-env", "APP_PASSWORD")[0] == 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT rolpassword FROM pg_authid WHERE rolname = %s", [ROLE])
        (kept,) = cursor.fetchone()
    assert kept.startswith("SCRAM-SHA-256$")
