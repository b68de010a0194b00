"""The coordinator's pages of a large study, against one bare aggregate of its answers."""

import uuid
from collections.abc import Callable, Iterator

from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from benchmarks.comparison import PARTICIPANTS, aggregate, filled_study
from benchmarks.database import empty_database
from benchmarks.figures import Figure, Goal, seconds
from ema.models import Membership, Study
from ema.models.study import Role

FEW = 100
PAGES = ("today", "participants", "compliance")
AT_MOST_MS = 300.0


def measure(quick: bool) -> Iterator[Figure]:
    """Milliseconds and statements of Today, participants and the compliance map."""
    people, repeats = (FEW, 2) if quick else (PARTICIPANTS, 5)
    with empty_database():
        study = filled_study(people)
        for name in PAGES:
            look = page_of(study, f"console:{name}")
            look()  # the first one warms up
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
