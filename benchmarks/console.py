"""The coordinator's pages of a large study, against one bare aggregate of its answers."""

import uuid
from collections.abc import Callable, Iterator

from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from benchmarks import console_rows
from benchmarks.comparison import PARTICIPANTS, aggregate, filled_study
from benchmarks.database import empty_database
from benchmarks.figures import Figure, Goal, seconds
from ema.models import Membership, Study
from ema.models.study import Role

FEW = 100
PAGES = (
    *("console:today", "console:participants", "console:compliance"),
    *("console:alerts", "console:urine", "analytics:cremas"),
)
AT_MOST_MS = 300.0


def measure(quick: bool) -> Iterator[Figure]:
    """Milliseconds and statements of the pages; of counts that are kept, also of the first view."""
    people, repeats = (FEW, 2) if quick else (PARTICIPANTS, 5)
    with empty_database():
        study = filled_study(people)
        console_rows.fill(study)
        for address in PAGES:
            look, name = page_of(study, address), address.partition(":")[2]
            look()  # the first one warms up
            if address == "analytics:cremas":
                yield _first_view(look, people, repeats)
            with CaptureQueriesContext(connection) as asked:
                look()
            statements = len(asked)
            pairs = [
                (seconds(look) * 1e3, seconds(lambda: aggregate(study)) * 1e3)
                for _ in range(repeats)
            ]
            values, bare = zip(*pairs, strict=True)
            what = f"console: {name}, {people:,} people"
            yield Figure(what, "ms", values, "one bare aggregate of answers", bare)
            yield Figure(f"{what}, time", "ms", values, "at most", [AT_MOST_MS], Goal("≤", 1))
            yield Figure(f"{what}, statements", "", [statements])


def _first_view(look: Callable[[], object], people: int, repeats: int) -> Figure:
    """Of a page that is kept for a while, when nothing of it is."""
    values = []
    for _ in range(repeats):
        cache.clear()
        values.append(seconds(look) * 1e3)
    return Figure(f"console: cremas, {people:,} people, first view", "ms", values)


def page_of(study: Study, name: str) -> Callable[[], object]:
    """A page of a study as its investigator gets it, without a network."""
    investigator = User.objects.create_user(f"investigator {uuid.uuid4()}")
    Membership.objects.create(user=investigator, study=study, role=Role.INVESTIGATOR)
    browser = Client(SERVER_NAME="127.0.0.1")
    browser.force_login(investigator)
    address = reverse(name, args=[study.slug])

    def look() -> None:
        answer = browser.get(address, secure=True)
        if answer.status_code != 200:
            raise RuntimeError(f"{address} answered {answer.status_code}.")

    return look
