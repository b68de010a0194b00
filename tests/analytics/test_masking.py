"""Permute who is in which arm: nothing that a masked role can fetch changes by a byte."""

import logging
import re
import uuid
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any
from urllib.parse import urljoin, urlsplit
from uuid import uuid4

import pytest
from django.contrib import admin
from django.contrib.auth.models import User
from django.core.cache import cache
from django.db import transaction
from django.db.models import Case, Value, When
from django.test import Client, override_settings
from django.utils import timezone
from pytest_django.plugin import DjangoDbBlocker

from analytics.coupling import estimate_couplings
from analytics.datasets.snapshots import request_snapshot
from analytics.freezing import freeze
from analytics.plan import Plan
from analytics.plans import save
from ema import adverse_events, double_entry, studies, unblinding
from ema.alerts import acknowledge, find_alerts
from ema.allocation import mark_randomised_in_error
from ema.audit import COMMAND, Actor
from ema.models import Alert, Allocation, DoubleEntry, Prompt, Response, Study
from ema.urine import today_of
from tests import trial
from tests.analytics.answers import (
    START,
    add_participant,
    add_prompt,
    make_trial,
    make_user,
    respond,
)
from tests.analytics.urine import SIGNS, a_test
from tests.authorisation import world
from tests.authorisation.world import IN_MEMORY
from tests.ema.alert_rules import add_rule, an_answer

pytestmark = [pytest.mark.django_db, pytest.mark.long]

ALIKE, OK = 4, 200
Fetched = dict[str, tuple[int, str, bytes]]
LOOKUPS = (
    "allocation={}",
    "allocation__gt={}",
    "allocation__arm__key=placebo",
    "participant__allocation={}",
    "participant__allocation__lt={}",
    "prompt__participant__allocation={}",
    "device__participant__allocation={}",
    "study__allocations={}",
    "study__allocations__participant={}",
    "arms__allocations={}",
    "memberships__study__allocations={}",
    "_popup=1&_to_field=allocation",
    "_popup=1&_to_field=study",
)


@pytest.fixture(autouse=True)
def _accounts_in_memory() -> Iterator[None]:
    with override_settings(**IN_MEMORY):
        yield


@pytest.fixture(scope="module")
def made(django_db_setup: None, django_db_blocker: DjangoDbBlocker) -> Iterator[int]:
    """The trial, made once and undone at the end; what each test does to it is undone by itself."""
    logging.disable(logging.ERROR)  # each refused lookup is logged with its whole traceback
    with django_db_blocker.unblock(), transaction.atomic():
        yield make_masked_trial().pk
        transaction.set_rollback(True)
    logging.disable(logging.NOTSET)


@pytest.fixture
def study(made: int, db: None) -> Study:
    return Study.objects.get(pk=made)


def make_masked_trial() -> Study:
    study = make_trial(masking="double_blind", n=4, prompts=4)
    estimate_couplings(timezone.now())
    request_snapshot(study, COMMAND, "masked", timezone.now())
    doses = {"placebo": 0.0, "clonidine": 1.0}
    save(study=study, key="primary", plan=Plan(doses=doses), actor=COMMAND, now=timezone.now())
    make_phones_quiet(study)
    make_urine_tests(study)
    make_alerts(study)
    make_entries(study)
    make_allocations(study)
    make_adverse_events(study)
    unblinding.unblind(
        participant=study.participants.get(code="P00"),
        by=User.objects.create_user("petra"),
        reason="anaphylaxis",
        now=timezone.now(),
        actor=COMMAND,
    )
    return study


def make_allocations(study: Study) -> None:
    """A sealed list; three have a slot of it, one of them in error, and one waits."""
    trial.seal(study, sizes=[4], per_stratum=8)
    for code in ("L-1", "L-2", "L-3", "L-4"):
        person = add_participant(study, code)
        if code != "L-4":
            trial.allocate_from_list(person)
    mark_randomised_in_error(
        participant=person.study.participants.get(code="L-3"),
        reason="criterion 4",
        now=timezone.now(),
        actor=COMMAND,
    )


def make_alerts(study: Study) -> None:
    """Everybody answered what a rule looks for; the first alert is acknowledged."""
    add_rule(study, since=START)
    for number, participant in enumerate(study.participants.order_by("code")):
        an_answer(participant, craving=90 + number, received_at=START)
    find_alerts(timezone.now())
    cora = User.objects.create_user("cora")
    first = Alert.objects.earliest("pk")
    acknowledge(
        alert=first, action="called", text="Called.", now=timezone.now(), actor=Actor(cora, "page")
    )


def make_entries(study: Study) -> None:
    """Everybody's adverse event is entered once; the first one twice, and differently."""
    Study.objects.filter(pk=study.pk).update(double_entry=True)
    study.refresh_from_db()
    said = {"term": "fall", "severity": "mild", "relatedness": "possible"}
    first, second = (Actor(User.objects.create_user(name), "page") for name in ("ann", "ben"))
    for participant in study.participants.order_by("code"):
        by: dict[str, Any] = {"now": timezone.now(), "said": said | {"started_on": START.date()}}
        double_entry.report_event(participant=participant, key=uuid4(), actor=first, **by)
    by["said"]["severity"] = "severe"
    double_entry.enter_event(pair=DoubleEntry.objects.earliest("pk"), actor=second, **by)


def make_adverse_events(study: Study) -> None:
    """Everybody had one, and how severe it was differs by person."""
    for number, participant in enumerate(study.participants.order_by("code")):
        said = {
            "term": "headache",
            "severity": ("mild", "moderate", "severe")[number % 3],
            "relatedness": "possible",
            "started_on": today_of(participant, timezone.now()),
        }
        adverse_events.report(
            participant=participant, key=uuid.uuid4(), said=said, now=timezone.now(), actor=COMMAND
        )


def make_urine_tests(study: Study) -> None:
    """Due in the weeks after now, when everybody is allocated anew; results differ by person."""
    for number, participant in enumerate(study.participants.order_by("code")):
        signs = ("-+--", "----", "++--", "---+", "-o-o", "--++")[number % 6]
        for week, sign in enumerate(signs, start=1):
            due_on = (timezone.now() + timedelta(weeks=week)).date()
            a_test(participant, due_on, SIGNS[sign]).save()


def make_phones_quiet(study: Study) -> None:
    """Everybody has a prompt to come and a phone that nobody heard of since they enrolled."""
    due_at = timezone.now() + timedelta(days=1)
    Study.objects.filter(pk=study.pk).update(started_at=START)
    Response.objects.update(received_at=START)
    for participant in study.participants.all():
        prompt = add_prompt(participant, 40)
        Prompt.objects.filter(pk=prompt.pk).update(
            due_at=due_at, expires_at=due_at + timedelta(minutes=30), sent_at=None
        )


@contextmanager
def a_world(study: Study, *, permuted: bool) -> Iterator[None]:
    """The trial as it is, or with everybody in another slot or arm; a comparison is frozen."""
    cache.key_prefix = uuid.uuid4().hex  # nothing that was kept of the other world
    with transaction.atomic():
        if permuted:
            permute(study)
        freeze(study, COMMAND, timezone.now())
        yield
        transaction.set_rollback(True)


def permute(study: Study) -> None:
    """Everybody in somebody else's slot, and slots of lists, spent or free, in the other arm."""
    unlisted = Allocation.objects.filter(study=study, allocation_list=None)
    slots = list(unlisted.order_by("position"))
    people = [(slot.participant_id, slot.allocated_at) for slot in reversed(slots)]
    unlisted.update(participant=None, allocated_at=None)
    for slot, (person, at) in zip(slots, people, strict=True):
        Allocation.objects.filter(pk=slot.pk).update(participant_id=person, allocated_at=at)
    one, other = study.arms.order_by("key")
    turned = Case(When(arm=one, then=Value(other.pk)), default=Value(one.pk))
    with trial.triggers_off():
        assert Allocation.objects.filter(study=study).sealed().update(arm=turned) == 8


def starts(study: Study) -> list[str]:
    """Pages to start from, and every list of the admin."""
    found = ["/admin/", "/studies/", "/studies/relief/comparison/", "/studies/relief/snapshots/"]
    found += [f"/studies/relief/comparison/figures/{n}" for n in ("slopes.svg", "levels.csv")]
    found += ["/studies/relief/ledger/", "/studies/relief/plans/", "/studies/relief/plans/write/"]
    found += [f"/studies/relief/{name}/" for name in ("today", "participants", "compliance")]
    found += ["/studies/relief/phones/", "/studies/relief/outcomes/", "/studies/relief/enrol/"]
    found += ["/studies/new/", "/studies/relief/setup/", "/studies/relief/screening/"]
    found += [f"/studies/relief/flow/{n}" for n in ("", "flow.svg", "flow.csv")]
    found += [f"/studies/relief/enrol/P00/{page}/" for page in ("code", "hours")]
    found += ["/studies/relief/outcomes/lapse.svg", "/studies/relief/outcomes/relapse.csv"]
    found += ["/studies/relief/outcomes/participants.csv", "/api/v1/studies/relief/cremas"]
    cremas = ("", "report.md", "report.csv", "compliance.svg", "compliance.csv")
    found += [f"/studies/relief/cremas/{name}" for name in cremas]
    found += ["/api/v1/studies/relief/alerts?state=all"]
    found += ["/api/v1/studies/relief/outcomes", "/api/v1/studies/relief/safety"]
    found += ["/studies/relief/adverse-events/", "/studies/relief/adverse-events/events.csv"]
    found += ["/studies/relief/entries/", "/studies/relief/adverse-events/report/"]
    found += ["/studies/relief/alerts/?state=all", "/studies/relief/alerts/rules/"]
    found += ["/studies/relief/comparison/figure.svg", "/api/v1/studies/relief/comparison"]
    found += ["/api/v1/studies/relief/snapshots/", "/admin/ema/allocation/"]
    found += ["/studies/relief/allocation/", "/studies/relief/allocation/lists/"]
    found += [f"/studies/relief/allocation/of/{code}/" for code in ("L-1", "L-3", "L-4")]
    found += ["/studies/relief/audit/", "/studies/relief/audit/changes/"]
    found += ["/studies/relief/unblinding/", "/studies/relief/unblinding/study/", "/account/"]
    found += [f"/studies/relief/audit/files/{of}.csv" for of in ("events", "changes")]
    week = (timezone.now() + timedelta(weeks=1)).date()
    found += [f"/studies/relief/urine/?on={week}", f"/studies/relief/urine/calendar.csv?on={week}"]
    return found + lists()


def lists() -> list[str]:
    names = (model._meta for model in admin.site._registry)
    return [f"/admin/{name.app_label}/{name.model_name}/" for name in names]


def lookups(study: Study, listed: str) -> list[str]:
    """What would tell of a slot, asked of a list."""
    slot = Allocation.objects.filter(study=study).order_by("pk")[2].pk
    return [f"{listed}?{lookup.format(slot)}" for lookup in LOOKUPS]


def everything(client: Client, study: Study) -> Fetched:
    """Every page that links lead to, each list also as its own filters and columns show it.

    A few records of every kind stand for all: their pages are made alike. Lists of the admin that
    open are looked up in; those that are refused are refused before a lookup is read.
    """
    waiting, fetched, alike, listed = starts(study), Fetched(), Counter[str](), lists()
    while waiting:
        address = waiting.pop()
        kind = re.sub(r"/[0-9a-f_-]+/(change|history)/.*", "/one/", address)
        if address in fetched or (kind != address and alike[kind] >= ALIKE):
            continue
        alike[kind] += 1
        fetched[address] = status, _, content = opened(client, address)
        found = links(address, content.decode())
        waiting += sorted(link for link in found if follows(address, link))
        if address in listed and status == OK:
            waiting += lookups(study, address)
    return fetched


def opened(client: Client, address: str) -> tuple[int, str, bytes]:
    """What an address answers: status, where it sends to, and what can be read."""
    answer = client.get(address)
    is_trail = "/audit/files/" in address and answer.status_code == OK
    content = b"" if answer.streaming else steady(answer.content)
    content = b"".join(answer) if is_trail else content
    return answer.status_code, answer.headers.get("Location", ""), content


def steady(page: bytes) -> bytes:
    """Without tokens that differ in every answer, and clocks of alerts and of counts."""
    page = re.sub(rb'Counted at [-0-9: ]+ UTC|"at":"[-0-9:.TZ]+"', b"", page)
    page = re.sub(rb'<span class="age">[^<]+</span>', b"", page)
    return re.sub(rb'name="(?:csrfmiddlewaretoken|key)" value="[-0-9A-Za-z]+"', b"", page)


def links(address: str, page: str) -> Iterator[str]:
    for link in re.findall(r'href="([^"#]+)"', page):
        yield urljoin(address, link.replace("&amp;", "&"))


def follows(address: str, link: str) -> bool:
    """Own pages; from a list without a query also its filters, one at a time."""
    if not link.startswith(("/admin/", "/studies/")) or "logout" in link or "/files/" in link:
        return False
    return not urlsplit(link).query or not urlsplit(address).query


def in_both_worlds(client: Client, study: Study) -> list[Fetched]:
    fetched = []
    for permuted in (False, True):
        with a_world(study, permuted=permuted):
            fetched.append(everything(client, study))
    return fetched


def signed_in(study: Study, role: str) -> Client:
    if role == "administrator":
        return world.signed_in(User.objects.create_user("root", is_superuser=True))
    return world.signed_in(make_user(role, study, role))


@pytest.mark.parametrize(
    "role", ["coordinator", "investigator", "administrator", "pharmacist", "auditor"]
)
def test_a_masked_role_fetches_the_same_bytes_whoever_is_in_which_arm(
    study: Study, role: str
) -> None:
    before, after = in_both_worlds(signed_in(study, role), study)
    assert before.keys() == after.keys()
    assert [address for address in before if before[address] != after[address]] == []
    seen = sum(status == 200 for status, _, _ in before.values())
    cares = role in ("coordinator", "investigator")
    assert (b"4 to do" in before["/studies/relief/phones/"][2]) == cares
    assert (b"4  alerts" in before["/studies/relief/alerts/?state=all"][2]) == cares
    told = b"participant.unblinded" in before["/studies/relief/audit/"][2]
    assert told == (role not in ("administrator", "pharmacist"))
    assert seen > {"administrator": 15, "pharmacist": 3, "auditor": 15}.get(role, 60)


def test_answers_after_the_lock_tell_nothing_of_arms(study: Study) -> None:
    studies.lock(study=study, now=timezone.now(), actor=COMMAND, reason="last visit done")
    for participant in study.participants.filter(code__startswith="P"):
        respond(add_prompt(participant, 50), 90, 5)
    estimate_couplings(timezone.now() + timedelta(minutes=1))
    before, after = in_both_worlds(signed_in(study, "investigator"), study)
    assert before.keys() == after.keys()
    assert [address for address in before if before[address] != after[address]] == []
    assert sum(status == OK for status, _, _ in before.values()) > 60


def test_the_closed_role_sees_that_the_arms_were_permuted(study: Study) -> None:
    """So the pages above could have differed."""
    client, told, worlds = signed_in(study, "statistician"), tells_of_arms(), []
    assert set(told) <= set(starts(study))
    for permuted in (False, True):
        with a_world(study, permuted=permuted):
            worlds.append({address: opened(client, address) for address in told})
    before, after = worlds
    assert [address for address in told if before[address] == after[address]] == []


def tells_of_arms() -> list[str]:
    """Some of the pages and files in which the closed role reads of arms."""
    found = ["/studies/relief/comparison/", "/admin/ema/auditevent/", "/studies/relief/audit/"]
    found += ["/studies/relief/outcomes/", "/api/v1/studies/relief/outcomes"]
    found += ["/api/v1/studies/relief/safety"]
    found += [f"/studies/relief/audit/files/{of}.csv" for of in ("events", "changes")]
    files = ("lapse.svg", "relapse.csv", "participants.csv")
    return found + [f"/studies/relief/outcomes/{name}" for name in files]


def test_allocating_answers_the_same_bytes_whatever_the_next_arm_is(study: Study) -> None:
    client = signed_in(study, "coordinator")
    form = {
        "is_eligible": "on",
        "consent_version": "2.0",
        "consented_on": "2026-03-01",
        "confirm": "on",
    }
    address = "/studies/relief/allocation/of/L-4/"
    said, arms = [], set()
    for permuted in (False, True):
        with a_world(study, permuted=permuted):
            answer = client.post(address, form)
            assert answer.status_code == 302
            said.append((answer.headers["Location"], steady(client.get(address).content)))
            arms.add(study.allocations.get(participant__code="L-4").arm.key)
    assert arms == {"placebo", "clonidine"}
    assert re.sub(rb"On [-0-9: ]+ UTC", b"", said[0][1]) == re.sub(
        rb"On [-0-9: ]+ UTC", b"", said[1][1]
    )
    assert b"Allocated, slot 4 of S1" in said[0][1]
