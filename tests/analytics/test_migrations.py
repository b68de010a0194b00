"""What analysis keeps is the same after an upgrade."""

from io import StringIO

import pytest
from django.core.management import call_command
from django.db import connection
from django.db.migrations.executor import MigrationExecutor
from django.utils import timezone

from analytics.coupling import estimate_couplings
from analytics.models import Coupling, Moments
from tests.analytics.answers import make_trial

pytestmark = pytest.mark.django_db

LAST = [("analytics", "0006_rows_as_bytes")]
BEFORE = [("analytics", "0005_snapshots")]
GIVEN_BACK = """
INSERT INTO analytics_moments (participant_id, phase_id, n, sum_stress, sum_craving,
    sum_stress_stress, sum_stress_craving, sum_craving_craving,
    stress, craving, follows, computed_at)
VALUES (%s, %s, 3, 104, 22, 10016, 2010, 484, '{4,100,0}', '{2,20,0}', '{f,t,f}', %s)
"""


def at(target: list[tuple[str, str]]) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    MigrationExecutor(connection).migrate(target)


def test_rows_that_were_arrays_are_the_same_rows() -> None:
    study = make_trial(n=2)
    person, phase = study.participants.get(code="P01"), study.phases.get(position=1)
    at(BEFORE)
    with connection.cursor() as cursor:
        cursor.execute(GIVEN_BACK, [person.pk, phase.pk, timezone.now()])
    at(LAST)
    row = Moments.objects.get()
    assert bytes(row.stress) == b"\0\0\0\4\0\0\0\x64\0\0\0\0"
    assert bytes(row.craving) == b"\0\0\0\2\0\0\0\x14\0\0\0\0"
    assert bytes(row.follows) == b"\0\1\0"


def test_going_back_leaves_the_rows_to_the_next_estimate() -> None:
    make_trial(n=2)
    estimate_couplings(timezone.now())
    at(BEFORE)
    assert not Coupling.objects.exists()
    at(LAST)
    estimate_couplings(timezone.now())
    said = StringIO()
    call_command("rebuild_moments", "relief", "--check", stdout=said)
    assert "every sum is equal" in said.getvalue()
