"""Every address × method × person: who gets in is what `tests/authorisation/table.py` says."""

import logging
import re
import uuid
from collections.abc import Callable, Iterator
from unittest import mock

import pytest
from django.core.cache import cache
from django.db import transaction
from django.http import HttpResponseBase
from django.test import override_settings
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from pytest_django.plugin import DjangoDbBlocker

from tests.authorisation.rows import METHODS, Person, Row
from tests.authorisation.table import ROWS
from tests.authorisation.world import IN_MEMORY, World, make_world

pytestmark = pytest.mark.django_db
Try = Callable[[Person, str, str], bool]
REFUSED = (401, 403, 404, 405)
HARMLESS = ("HEAD", "OPTIONS")
PART = re.compile(r"<(?:\w+:)?(\w+)>|\(\?P<(\w+)>[^)]*\)")


def addresses(resolver: URLResolver, route: str = "", names: str = "") -> Iterator[tuple[str, str]]:
    """Every address as (name or, without one, route; route)."""
    for entry in resolver.url_patterns:
        whole = route + str(entry.pattern).lstrip("^")
        if isinstance(entry, URLResolver):
            namespace = f"{entry.namespace}:" if entry.namespace else ""
            yield from addresses(entry, whole, names + namespace)
        elif isinstance(entry, URLPattern):
            yield (names + entry.name if entry.name else whole), whole


ADDRESSES = dict(addresses(get_resolver()))


def filled(name: str, row: Row, things: dict[str, object]) -> str:
    """The address with what the world has put into its places."""
    model = re.match(r"admin[:/](\w+?)[_/](\w+?)(?:_|/|$)", name)
    object_id = things.get(f"{model[1]}_{model[2]}", things["object_id"]) if model else None

    def value(part: re.Match[str]) -> str:
        key = part[1] or part[2]
        own = {"object_id": object_id} if model else {}
        return str((things | own | row.by)[key])

    return "/" + PART.sub(value, ADDRESSES[name].rstrip("$"))


LOGIN, INDEX = reverse("admin:login"), reverse("admin:index")


def got_in(answer: HttpResponseBase, address: str) -> bool:
    """Not refused, not sent to the login, nor away from what one may not see."""
    if answer.status_code in REFUSED:
        return False
    sent_to = answer.headers.get("Location", "").partition("?")[0]
    return sent_to != LOGIN and (sent_to != INDEX or address == LOGIN)


@pytest.fixture(scope="module")
def world(
    django_db_setup: None,
    django_db_blocker: DjangoDbBlocker,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[World]:
    """Made once and undone at the end; each request is undone by itself."""
    files = tmp_path_factory.mktemp("snapshots")
    refusals = logging.getLogger("django.request")  # a hundred of each address
    with (
        django_db_blocker.unblock(),
        override_settings(SNAPSHOT_DIR=files, **IN_MEMORY),
        transaction.atomic(),
        mock.patch.object(refusals, "disabled", True),
    ):
        yield make_world()
        transaction.set_rollback(True)


@pytest.fixture
def gets_in(world: World, db: None) -> Try:
    """Whether a person gets in by a method at an address; afterwards all is as it was."""
    begin = transaction.savepoint()

    def tried(person: Person, method: str, address: str) -> bool:
        cache.key_prefix = uuid.uuid4().hex  # nobody is limited by those who tried before
        try:
            return got_in(world.ask(person, method, address), address)
        finally:
            transaction.set_rollback(False)
            transaction.savepoint_rollback(begin)

    return tried


def expected(row: Row, name: str, person: Person, method: str) -> bool | None:
    """Whether they get in; None where it does not matter: they read what GET gives them anyhow.

    Django's admin answers methods that it does not know like GET.
    """
    if method not in row.methods and (method in HARMLESS or name.startswith("admin")):
        return None if row.lets_in(person, "GET") else False
    return row.lets_in(person, method)


def test_every_address_has_a_line_and_every_line_an_address() -> None:
    assert sorted(ADDRESSES.keys() - ROWS.keys()) == [], "say in table.py who gets in"
    assert sorted(ROWS.keys() - ADDRESSES.keys()) == [], "take these out of table.py"
    assert len(ADDRESSES) > 100


@pytest.mark.parametrize("name", sorted(ROWS.keys() & ADDRESSES.keys()))
def test_those_get_in_who_are_named(world: World, gets_in: Try, name: str) -> None:
    row = ROWS[name]
    address = filled(name, row, world.things)
    wrong = []
    for person in world.people:
        for method in METHODS:
            should = expected(row, name, person, method)
            if should is not None and gets_in(person, method, address) != should:
                wrong.append(f"{person}: {method} {'refuses' if should else 'lets in'}")
    assert not wrong, f"{name} ({address})"


def test_somebody_gets_in_and_somebody_is_refused(world: World, gets_in: Try) -> None:
    """So the table above can be wrong."""
    row = ROWS["analytics:comparison"]
    address = filled("analytics:comparison", row, world.things)
    seen = {str(person) for person in world.people if gets_in(person, "GET", address)}
    assert seen == {"statistician of the study"}
    assert len(world.people) == 19
