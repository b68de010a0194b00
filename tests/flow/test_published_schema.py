"""Whatever the published schema allows, and much that it does not, gets a documented answer.

Schemathesis makes requests out of the schema and judges each answer of the real server: a server
error, an undocumented status, header, type or body, or a broken request taken for a good one fails.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import schemathesis
from django.conf import settings
from django.contrib.auth.models import User
from django.utils import timezone
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as searching
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import CHECKS
from schemathesis.core.failures import FailureGroup
from schemathesis.core.result import Ok

from ema import api_tokens, embedded, stack
from ema.audit import COMMAND
from ema.models import Membership
from tests import trial
from tests.flow.conftest import database_url

HTTPS = {"X-Forwarded-Proto": "https"}
CASES = 20
MORE_IS_TAKEN = {  # than the schema says
    "POST /api/v1/me/events:batch": "what a phone reports is kept, whatever it looks like",
    "POST /api/v1/me/submissions:batch": "what a person answered is kept, whatever it looks like",
    "GET /api/v1/me/schedule": "parameters that nobody knows are passed over",
}
MEANING_IS_JUDGED = {  # the right shape is not enough
    "POST /api/v1/enrolments/redeem": "a code is issued",
    "POST /api/v1/tokens/refresh": "a token is issued",
    "PUT /api/v1/me/push-registration": "an address belongs to a known push service",
    "GET /api/v1/me/schedule": "an instant lies in years that clocks show",
    "PATCH /api/v1/me/preferences": "windows do not overlap, a language is one of the study's",
}


@dataclass
class Doors:
    """A server, what lets a phone and a statistician in, and how often each door was tried."""

    url: str
    phone: str
    operator: str
    tried: Counter[str] = field(default_factory=Counter)

    def headers(self, path: str) -> dict[str, str]:
        """A phone's token, or the statistician's where operators read."""
        return HTTPS | {"Authorization": self.operator if "/studies/" in path else self.phone}


@pytest.fixture
def doors(transactional_db: None, tmp_path: Path) -> Iterator[Doors]:
    study = trial.make_study()
    participant = trial.enrol(study, "S1-001", "Europe/Brussels", timezone.now())
    user = User.objects.create_user("statistician")
    Membership.objects.create(user=user, study=study, role="statistician")
    token = api_tokens.make(user=user, name="doors", days=1, now=timezone.now(), actor=COMMAND)
    queue = embedded.ensure(tmp_path / "queue", postgres=False)
    environ = {
        "ALLOWED_HOSTS": "127.0.0.1",
        "DATABASE_URL": database_url(),
        "REDIS_URL": queue.redis_url,
        "REDEEM_RATE": "1000000/min",
        "SECRET_KEY": settings.SECRET_KEY,
    }
    try:
        with stack.web(environ=environ) as url:
            phone = f"Bearer {trial.redeem(participant).access_token}"
            yield Doors(url, phone, f"Bearer {token}")
    finally:
        embedded.stop_and_wait(tmp_path / "queue")


def test_every_answer_is_as_documented(doors: Doors) -> None:
    published = schemathesis.openapi.from_url(f"{doors.url}/api/v1/schema/", headers=HTTPS)
    operations: list[Any] = [
        each.ok() for each in published.get_all_operations() if isinstance(each, Ok)
    ]
    faults = [
        f"{operation.label}, {mode.value} requests: {error}"
        for operation in operations
        for mode in (GenerationMode.POSITIVE, GenerationMode.NEGATIVE)
        if (error := fault_of(operation, mode, doors))
    ]
    assert not faults, "\n\n".join(faults)
    assert doors.tried.keys() == {operation.label for operation in operations}
    print(f"{doors.tried.total()} requests to {len(doors.tried)} doors")  # noqa: T201


def fault_of(operation: Any, mode: GenerationMode, doors: Doors) -> str:
    """Try one door with requests it should take, or should not; what was wrong with an answer."""

    @searching(
        max_examples=CASES,
        derandomize=True,
        deadline=None,
        phases=[Phase.generate],
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def answers(case: Any) -> None:
        doors.tried[operation.label] += 1
        headers = doors.headers(case.path)
        case.call_and_validate(headers=headers, excluded_checks=unfit_checks(operation.label))

    try:
        answers()
    except Unsatisfiable:  # a door that takes nothing cannot be asked wrongly
        return ""
    except FailureGroup as group:
        return "\n".join(map(str, group.exceptions))
    return ""


def unfit_checks(door: str) -> list[Any]:
    """The checks that ask of a door what it does not promise."""
    names = [
        *["negative_data_rejection"] * (door in MORE_IS_TAKEN),
        *["positive_data_acceptance"] * (door in MEANING_IS_JUDGED),
    ]
    return [check for name in names for check in CHECKS.get_by_names([name])]
