"""Tell the database who acts, so that the changes of rows say so (`ema/row_change_trigger.py`).

Every process names itself when it connects. While an operator sends a form, the name is theirs.
"""

from collections.abc import Iterator
from contextlib import contextmanager

from django.contrib.auth.models import AbstractBaseUser
from django.db import InterfaceError, OperationalError, connection
from psycopg.pq import TransactionStatus


@contextmanager
def acting(user: AbstractBaseUser) -> Iterator[None]:
    """For the length of a block, changes of rows say that this user made them."""
    name = f"{user.get_username()} (user {user.pk})"
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('fourbeat.actor', %s, false)", [name])
    try:
        yield
    finally:
        _be_the_process_again()


def _be_the_process_again() -> None:
    """A connection that is lost forgets by itself, and so does a transaction that failed."""
    link = connection.connection
    if link is None or link.info.transaction_status == TransactionStatus.INERROR:
        return
    try:
        with connection.cursor() as cursor:
            cursor.execute("RESET fourbeat.actor")
    except (OperationalError, InterfaceError):
        connection.close()
