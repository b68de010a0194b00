"""Large studies are summed in shards by whoever is free; PostgreSQL alone knows of them."""

from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db import connections
from django.utils import timezone

from analytics import shards, sums
from analytics.coupling import estimate_couplings, finish, work_off
from analytics.models import Coupling, CouplingShard, LeftOut, Moments
from analytics.plan import STANDARD
from analytics.plan_sums import Sources
from analytics.usable import Kept
from ema.models import Response, Study
from tests.analytics.answers import (
    add_participant,
    add_prompt,
    answer,
    make_study,
    make_trial,
    pairs_drawn,
    respond,
)

pytestmark = pytest.mark.django_db
FIELDS = (
    "participant__code",
    "n_pairs",
    "slope",
    "standard_error",
    "shrunken_slope",
    "reliability",
)


def couplings() -> list[tuple[object, ...]]:
    return list(Coupling.objects.order_by("participant__code").values_list(*FIELDS))


def let_time_pass() -> None:
    """Everything arrived longer ago than the overlap between two runs."""
    Response.objects.update(received_at=timezone.now() - timedelta(minutes=10))


def test_shards_give_the_couplings_of_one_run() -> None:
    make_trial()
    estimate_couplings(timezone.now())
    at_once = couplings()
    Coupling.objects.all().delete()
    Moments.objects.all().delete()
    shards.share_out(timezone.now(), size=5)
    assert [len(shard.participants) for shard in CouplingShard.objects.order_by("pk")] == [5, 5, 2]
    work_off()
    assert couplings() == at_once
    assert not CouplingShard.objects.exists()
    call_command("rebuild_moments", "relief", "--check")


def test_couplings_wait_until_every_shard_is_summed() -> None:
    study = make_trial()
    shards.share_out(timezone.now(), size=5)
    assert shards.sum_next()
    assert not finish(study)
    assert not Coupling.objects.exists()
    assert shards.waiting() == 2
    work_off()
    assert Coupling.objects.count() == 12


def test_further_shards_call_helpers() -> None:
    make_trial()
    let_time_pass()
    called: list[int] = []
    shards.share_out(timezone.now(), size=2)
    estimate_couplings(timezone.now(), call=lambda: called.append(1))
    assert len(called) == 5
    make_study("small")
    answer(add_participant(Study.objects.get(slug="small"), "P1"), pairs_drawn(0.5, 3, seed=1))
    estimate_couplings(timezone.now() + timedelta(minutes=5), call=lambda: called.append(1))
    assert len(called) == 5


def test_who_waits_in_a_shard_is_not_shared_out_again() -> None:
    make_trial(n=4)
    let_time_pass()
    now = timezone.now()
    assert sum(map(len, shards.share_out(now, size=2).values())) == 4
    assert not shards.share_out(now + timedelta(minutes=5))
    assert CouplingShard.objects.count() == 2


def test_who_answers_meanwhile_is_shared_out_again_and_loses_nothing() -> None:
    study = make_trial(n=4)
    let_time_pass()
    now = timezone.now()
    shards.share_out(now, size=2)
    someone = study.participants.get(code="P01")
    respond(add_prompt(someone, 30), 5, 6, received_at=now + timedelta(minutes=3))
    assert shards.share_out(now + timedelta(minutes=5), size=2) == {study.pk: [someone.pk]}
    work_off()
    own = Coupling.objects.get(participant=someone)
    assert own.n_pairs == 13
    assert own.estimated_at == now + timedelta(minutes=5)
    assert Coupling.objects.exclude(pk=own.pk).filter(estimated_at=now).count() == 3


def test_responses_in_shards_are_not_yet_estimated() -> None:
    study = make_trial(n=4)
    now = timezone.now()
    respond(add_prompt(study.participants.get(code="P02"), 30), None, 6)
    shards.share_out(now, size=2)
    assert sum(sums.waiting_responses(study).values()) == 4 * 12 + 1
    work_off()
    assert sums.waiting_responses(study) == {}
    kept = Kept(study, Sources(study, STANDARD)).counted
    assert sum(kept.usable.values()) == 48
    assert LeftOut.objects.get().reason == "missing_stress"


@pytest.mark.django_db(transaction=True)
def test_a_shard_is_claimed_by_one_worker_and_free_when_that_one_dies() -> None:
    study = make_trial(n=4)
    shards.share_out(timezone.now(), size=4)
    other = connections.create_connection("default")
    try:
        with other.cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute("SELECT id FROM analytics_couplingshard FOR UPDATE")
            assert not shards.sum_next()
    finally:
        other.close()  # without a commit
    work_off()
    assert Coupling.objects.filter(participant__study=study).count() == 4
