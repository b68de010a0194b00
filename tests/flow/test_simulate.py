"""Simulated phones with more troubles than phones have; an account that tells when one is lost."""

import httpx
import pytest
from django.utils import timezone

from analytics.demo import study as demo_study
from analytics.demo.study import Wanted
from analytics.simulate import life, proof
from analytics.simulate.life import Lived
from analytics.simulate.troubles import BadNetwork, Troubles
from ema.models import Response, Study
from scheduler.ledger import ledger
from scheduler.planning import plan_prompts
from tests.flow.conftest import Servers

pytestmark = pytest.mark.flow
MUCH = Troubles(0.3, offline=0.4, wrong_clocks=0.5, replaced=0.5, moves=0.5)
WANTED = Wanted(participants=12, days=4)


def test_no_answer_is_lost_whatever_happens_to_phones(servers: Servers) -> None:
    study, lived, network = live_through(servers.url)

    account = proof.account(study, lived)

    assert account.faults == []
    assert account.given == account.stored > 50
    assert network.lost > 0
    assert account.told["duplicate"] > 0
    assert account.flags.keys() >= {"clock_skew", "from_replaced_device"}
    assert ledger(study, timezone.now()).balances


def test_the_account_tells_what_is_lost_changed_or_made_up(servers: Servers) -> None:
    study, lived, _ = live_through(servers.url)
    gone, changed, made_up = Response.objects.order_by("pk")[:3]
    gone.delete()
    Response.objects.filter(pk=changed.pk).update(stress=101)
    owner = next(each for each in lived if made_up.pk in each.given)
    del owner.given[made_up.pk]

    faults = proof.account(study, lived).faults

    assert set(faults) == {
        "Responses lost: 1.",
        "Responses with other values than given: 1.",
        "Responses stored although nobody gave them: 1.",
    }


def live_through(url: str) -> tuple[Study, list[Lived], BadNetwork]:
    """A small drill on the running servers."""
    now = timezone.now()
    study = demo_study.create_study(WANTED, "drill", now)
    cast = demo_study.enrol_everybody(WANTED, study, now)
    plan_prompts(now)
    network = BadNetwork(httpx.HTTPTransport(), MUCH, seed=1)
    headers = {"X-Forwarded-Proto": "https"}
    with httpx.Client(base_url=url, transport=network, timeout=60, headers=headers) as http:
        lives = list(life.lives_of(cast, WANTED, MUCH, http, now))
        return study, list(life.live_all(lives, cast, WANTED, threads=4)), network
