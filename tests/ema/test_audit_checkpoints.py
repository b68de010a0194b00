"""Whoever passes by triggers and steps, as a superuser can, is found by the checkpoints."""

import threading
from collections.abc import Callable
from io import StringIO

import pytest
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db import IntegrityError, ProgrammingError, connection, connections, transaction

from ema import audit, audit_checkpoints, tasks
from ema.audit_checkpoints import seal
from ema.audit_verification import verify
from ema.models import AuditCheckpoint, AuditEvent, RowChange, Site, Study
from tests import trial

pytestmark = pytest.mark.django_db


def tamper(statement: str, *values: int) -> None:
    """As nobody but a superuser can: no trigger fires."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL session_replication_role = replica")
        cursor.execute(statement, values)
        cursor.execute("SET LOCAL session_replication_role = origin")


def add_events(number: int) -> list[AuditEvent]:
    said = [f"thing {each}" for each in range(number)]
    return [audit.record(actor=audit.COMMAND, action="test.said", subject=one) for one in said]


def findings() -> list[tuple[str, str, int]]:
    return [(found.what, found.trail, found.row_id) for found in verify().findings]


def run(*options: str) -> tuple[int, str]:
    out, err = StringIO(), StringIO()
    try:
        call_command("verify_audit", *options, stdout=out, stderr=err)
    except CommandError as error:
        return error.returncode, f"{out.getvalue()}{error}"
    return 0, out.getvalue()


def test_what_is_sealed_and_untouched_fits(study: Study) -> None:
    [first] = seal()
    assert seal() == []
    add_events(3)
    [second] = seal()
    assert second.previous == first
    verified = verify()
    assert verified.findings == []
    assert (verified.checkpoints, verified.unsealed) == (2, 0)
    assert verified.rows == AuditEvent.objects.count() + RowChange.objects.count()
    assert verified.head == second.digest
    head = audit_checkpoints.head()
    assert head
    assert head.pk == second.pk


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE ema_auditevent SET reason = 'another' WHERE id = %s",
        "UPDATE ema_auditevent SET actor_id = NULL, door = 'admin' WHERE id = %s",
        "UPDATE ema_auditevent SET at = at + interval '1 microsecond' WHERE id = %s",
        "UPDATE ema_auditevent SET after = '{\"a\": 1}' WHERE id = %s",
        "UPDATE ema_auditevent SET is_closed = true WHERE id = %s",
    ],
)
def test_an_altered_event_is_named(study: Study, change: str) -> None:
    event = add_events(3)[1]
    seal()
    tamper(change, event.pk)
    assert findings() == [("altered", "event", event.pk)]


@pytest.mark.parametrize(
    "column", ["actor = 'x'", "after = '{}'", "database_user = 'x'", "table_name = 'x'"]
)
def test_an_altered_row_change_is_named(study: Study, column: str) -> None:
    seal()
    change = RowChange.objects.order_by("pk")[2]
    tamper(f"UPDATE ema_rowchange SET {column} WHERE id = %s", change.pk)  # noqa: S608
    assert findings() == [("altered", "row change", change.pk)]


def test_missing_and_added_rows_are_named(study: Study) -> None:
    events = add_events(4)
    tamper("DELETE FROM ema_auditevent WHERE id = %s", events[2].pk)  # a gap, as a rollback leaves
    seal()
    tamper("DELETE FROM ema_auditevent WHERE id = %s", events[1].pk)
    tamper(
        "INSERT INTO ema_auditevent (id, is_closed, door, action, subject, reason) "
        "VALUES (%s, false, 'admin', 'test.forged', 'x', '')",
        events[2].pk,
    )
    assert findings() == [("added", "event", events[2].pk), ("missing", "event", events[1].pk)]
    code, said = run()
    assert code == 1
    assert f"event {events[1].pk} missing: checkpoint" in said
    assert "test.forged x" in said
    assert "2 do not fit." in said


def test_a_row_before_the_first_one_is_named(study: Study) -> None:
    seal()
    tamper(
        "INSERT INTO ema_auditevent (id, is_closed, door, action, subject, reason) "
        "VALUES (-5, false, 'admin', 'test.forged', 'x', '')"
    )
    assert findings() == [("added", "event", -5)]


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ("UPDATE ema_auditcheckpoint SET digest = repeat('a', 64) WHERE id = %s", "broken"),
        ("UPDATE ema_auditcheckpoint SET events_manifest = '' WHERE id = %s", "broken"),
        ("UPDATE ema_auditcheckpoint SET events_through = 1 WHERE id = %s", "broken"),
        ("DELETE FROM ema_auditcheckpoint WHERE id = %s", "broken"),
    ],
)
def test_an_altered_or_missing_checkpoint_breaks_the_chain(
    study: Study, change: str, says: str
) -> None:
    [first] = seal()
    add_events(1)
    seal()
    tamper(change, first.pk)
    assert says in {what for what, trail, _ in findings() if trail == "checkpoint"}
    tamper("DELETE FROM ema_auditcheckpoint WHERE id >= %s", first.pk)  # nothing left to dangle


def test_a_chain_made_anew_is_found_by_a_head_that_was_published(study: Study) -> None:
    event = add_events(2)[0]
    seal()
    _, published = run("--head")
    published = published.strip()
    assert run("--expect", published)[0] == 0
    tamper("DELETE FROM ema_auditcheckpoint WHERE id > %s", 0)
    tamper("UPDATE ema_auditevent SET reason = 'another' WHERE id = %s", event.pk)
    seal()
    assert run()[0] == 0
    code, said = run("--expect", published)
    assert code == 1
    assert f"no checkpoint has the digest {published}" in said


def test_the_command_tells_what_fits_and_what_is_not_sealed(study: Study) -> None:
    code, said = run()
    assert code == 1
    assert "Nothing is sealed" in said
    assert run("--head")[0] == 1
    code, said = run("--seal")
    assert code == 0
    head = audit_checkpoints.head()
    assert head
    assert said.endswith(f"All fit. Head: {head.digest}\n")
    add_events(2)
    assert "2 rows not sealed yet" in run()[1]


def test_rows_of_a_study_are_named_apart(study: Study) -> None:
    other = trial.make_study("other")
    seal()
    for each in (study, other):
        event = AuditEvent.objects.filter(study=each)[0]
        tamper("UPDATE ema_auditevent SET reason = 'x' WHERE id = %s", event.pk)
    code, said = run("--study", "other")
    assert code == 1
    assert said.count("altered") == 1
    assert "Of other studies: 1." in said
    assert run("--study", "nothing")[0] == 2


def test_an_empty_trail_fits() -> None:
    assert seal() == []
    assert run() == (0, "0 rows under 0 checkpoints, 0 rows not sealed yet. All fit. Head: none\n")


def test_a_long_trail_is_sealed_in_pieces(study: Study, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audit_checkpoints, "MOST_ROWS", 3)
    add_events(7)
    made = seal()
    assert len(made) > 2
    assert verify().findings == []
    assert verify().unsealed == 0


def test_a_checkpoint_is_neither_changed_nor_removed(study: Study) -> None:
    seal()
    for change in ("UPDATE ema_auditcheckpoint SET form = 2", "DELETE FROM ema_auditcheckpoint"):
        with (
            pytest.raises(ProgrammingError, match="append-only"),
            transaction.atomic(),
            connection.cursor() as cursor,
        ):
            cursor.execute(change)


def test_checkpoints_form_one_chain(study: Study) -> None:
    [first] = seal()
    first.pk, first.digest = None, "b" * 64
    with pytest.raises(IntegrityError, match="checkpoints_form_one_chain"), transaction.atomic():
        AuditCheckpoint.objects.bulk_create([first])


def test_the_worker_seals_by_itself(study: Study) -> None:
    tasks.seal_audit()
    assert AuditCheckpoint.objects.count() == 1
    assert "ema.tasks.seal_audit" in settings.CELERY_BEAT_SCHEDULE


def in_a_thread(do: Callable[[], None]) -> None:
    def whole() -> None:
        try:
            do()
        finally:
            connections.close_all()

    thread = threading.Thread(target=whole)
    thread.start()
    thread.join()


@pytest.mark.django_db(transaction=True)
def test_a_row_that_is_not_committed_yet_waits_for_a_later_checkpoint(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its id is lower than that of a row committed before it: it must not look added later."""
    monkeypatch.setattr(audit_checkpoints, "PATIENCE_S", 0.1)
    sealed: list[list[AuditCheckpoint]] = []
    study = trial.make_study()
    with transaction.atomic():
        Site.objects.filter(study=study).update(title="Slow")
        audit.record(actor=audit.COMMAND, action="test.slow", subject="x")
        in_a_thread(
            lambda: (add_events(1), sealed.append(seal()))[1]  # type: ignore[func-returns-value]
        )
    assert sealed == [[]]
    seal()
    verified = verify()
    assert (verified.findings, verified.unsealed) == ([], 0)
