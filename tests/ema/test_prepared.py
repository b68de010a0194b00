"""The statements of the hot path survive what happens to connections."""

import psycopg
import pytest
from django.db import DataError, OperationalError, connection, transaction

from ema import prepared

WHO = "SELECT pg_backend_pid() WHERE $1::int = 1"
ACTOR = "SELECT current_setting('fourbeat.actor')"


@pytest.fixture
def own_connection(transactional_db: None) -> None:
    """Outside of a transaction, as a request begins."""


def end_backend() -> None:
    """The server ends this connection, as a restart does; nobody here has noticed yet."""
    backend = prepared.value(WHO, 1)
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [int(backend or 0)])
    other.close()


def test_a_statement_is_prepared_once_and_planned_once(own_connection: None) -> None:
    for _ in range(3):
        prepared.value(WHO, 1)
    plans = "SELECT ARRAY[generic_plans, custom_plans] FROM pg_prepared_statements"
    assert prepared.value(f"{plans} WHERE statement = $1", WHO) == b"{3,0}"


def test_without_a_row_there_is_no_value(own_connection: None) -> None:
    assert prepared.value(WHO, 2) is None


def test_a_statement_that_is_refused_says_why_as_any_other(own_connection: None) -> None:
    with pytest.raises(DataError, match="invalid input syntax") as refused:
        prepared.value(WHO, "one")
    assert isinstance(refused.value.__cause__, psycopg.errors.InvalidTextRepresentation)
    assert prepared.value(WHO, 1)


def test_the_first_statement_of_a_block_is_undone_with_it(own_connection: None) -> None:
    with transaction.atomic():
        prepared.value("SELECT set_config('fourbeat.actor', $1, true)", "of this block")
        assert prepared.value(ACTOR) == b"of this block"
    assert prepared.value(ACTOR) != b"of this block"


def test_a_statement_is_still_prepared_after_a_rollback(own_connection: None) -> None:
    """Also where rows were read before, as the comparison does in the same process."""
    prepared.value(WHO, 1)
    for _ in range(2):
        with transaction.atomic():
            prepared.rows("SELECT 1 WHERE %(one)s = 1", {"one": 1})
            transaction.set_rollback(True)
    assert prepared.value(WHO, 1)
    assert connection.connection.prepare_threshold is None


def test_the_first_statement_of_a_request_replaces_a_dead_connection(own_connection: None) -> None:
    end_backend()
    backend = prepared.first_value(WHO, 1)
    assert prepared.value(WHO, 1) == backend


def test_a_connection_that_knows_nothing_prepared_is_replaced_as_well(own_connection: None) -> None:
    backend = prepared.value(WHO, 1)
    with connection.cursor() as cursor:
        cursor.execute("DEALLOCATE ALL")
    assert prepared.first_value(WHO, 1) != backend


def test_any_later_statement_says_that_the_connection_is_gone(own_connection: None) -> None:
    end_backend()
    with pytest.raises(OperationalError):
        prepared.value(WHO, 1)
    connection.close()
