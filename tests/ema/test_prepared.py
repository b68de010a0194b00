"""The statements of the hot path survive what happens to connections."""

import pytest
from django.db import OperationalError, connection

from ema import prepared

WHO = "SELECT pg_backend_pid() WHERE %s = 1"


@pytest.fixture
def own_connection(transactional_db: None) -> None:
    """Outside of a transaction, as a request begins."""


def end_backend() -> None:
    """The server ends this connection, as a restart does; nobody here has noticed yet."""
    [(backend,)] = prepared.rows(WHO, [1])
    other = connection.copy()
    with other.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [backend])
    other.close()


def test_a_statement_is_prepared_once_and_planned_once(own_connection: None) -> None:
    for _ in range(3):
        prepared.rows(WHO, [1])
    kept = "SELECT generic_plans, custom_plans FROM pg_prepared_statements WHERE statement = $1"
    [plans] = prepared.rows(kept.replace("$1", "%s"), [WHO.replace("%s", "$1")])
    assert plans == (3, 0)


def test_the_first_statement_of_a_request_replaces_a_dead_connection(own_connection: None) -> None:
    end_backend()
    [(backend,)] = prepared.first_rows(WHO, [1])
    assert prepared.rows(WHO, [1]) == [(backend,)]


def test_any_later_statement_says_that_the_connection_is_gone(own_connection: None) -> None:
    end_backend()
    with pytest.raises(OperationalError):
        prepared.rows(WHO, [1])
    connection.close()
