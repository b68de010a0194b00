"""A locked study takes nothing more by hand, whichever door; what phones hold still comes in."""

import io
import json
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Event
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.test import Client
from django.utils import timezone

from ema import (
    adverse_events,
    allocation,
    audit,
    double_entry,
    enrolment,
    pauses,
    quarantine,
    screenings,
    studies,
    unblinding,
    urine,
    urine_batch,
    visits,
    withdrawal,
)
from ema.audit import Actor
from ema.models import (
    AuditEvent,
    DoubleEntry,
    Participant,
    Phase,
    Quarantine,
    Response,
    RowChange,
    Study,
    UrineTest,
)
from ema.screenings import Screened
from ema.tokens import Admission
from ema.urine import Entry
from tests import trial
from tests.console.test_adverse_events import HEADACHE, reported
from tests.ema.test_admin import page, sign_in
from tests.ema.uploading import item, make_prompt, submit

pytestmark = pytest.mark.django_db

LOCKED = "Study demo is locked: since "
NOTE = "nothing is entered or corrected by hand"
Step = Callable[["World"], object]


class World:
    """A study with something in every place where people enter things."""

    def __init__(self) -> None:
        self.study = trial.make_study()
        Phase.objects.update(starts="visit", visit="discharge")
        trial.seal(self.study)
        self.person, self.other = self._enrol("S1-001"), self._enrol("S1-002")
        self.phone: Admission = trial.redeem(self.person)
        self.today = timezone.now().date()
        self.user = User.objects.create_user("cleo")
        self.carl = User.objects.create_user("carl")
        self.by: dict[str, Any] = {"now": timezone.now(), "actor": Actor(self.user, "page")}
        self.test, self.known, self.begun = (self._test(days) for days in (1, 2, 3))
        self.entry = Entry(self.test.pk, "negative", self.test.due_on)
        urine.record_result(test=self.known, result="missed", collected_on=None, **self.by)
        self.event = reported(self.person)
        self.visit = visits.record_visit(
            participant=self.person, key="discharge", on_date=self.today, **self.by
        )
        trial.allocate_from_list(self.person)
        broken = {
            **item(make_prompt(self.person)),
            "questionnaire": {"key": "hourly", "version": 7},
        }
        submit(self.phone, [broken])
        self.quarantined = Quarantine.objects.get()
        Study.objects.update(double_entry=True)
        entry = Entry(self.begun.pk, "negative", self.begun.due_on)
        urine_batch.record_results(entries=[entry], **self.by)
        Study.objects.update(double_entry=False)
        self.pair = DoubleEntry.objects.select_related("participant__study").get()
        self.by["now"] = timezone.now()

    def lock(self) -> None:
        now = timezone.now()
        studies.lock(study=self.study, now=now, actor=audit.COMMAND, reason="last visit done")

    def corrected(self) -> str:
        raw = self.quarantined.raw
        return json.dumps({**raw, "questionnaire": {"key": "hourly", "version": 1}})

    def _enrol(self, code: str) -> Participant:
        return trial.enrol(self.study, code, "UTC", timezone.now() - timedelta(days=20))

    def _test(self, days_ago: int) -> UrineTest:
        due_on = timezone.now().date() - timedelta(days=days_ago)
        return UrineTest.objects.create(participant=self.person, due_on=due_on)


@pytest.fixture
def world() -> World:
    return World()


STEPS: dict[str, Step] = {
    "a urine result": lambda w: urine.record_result(
        test=w.test, result="negative", collected_on=w.test.due_on, **w.by
    ),
    "another result, with a reason": lambda w: urine.record_result(
        test=w.known, result="negative", collected_on=w.known.due_on, reason="late", **w.by
    ),
    "results of a week": lambda w: urine_batch.record_results(entries=[w.entry], **w.by),
    "a second entry": lambda w: urine_batch.record_results(
        entries=[Entry(w.begun.pk, "negative", w.begun.due_on)],
        **(w.by | {"actor": Actor(w.carl, "page")}),
    ),
    "withdrawing an entry": lambda w: double_entry.withdraw(pair=w.pair, reason="wrong", **w.by),
    "an adverse event": lambda w: double_entry.report_event(
        participant=w.person, key=uuid.uuid4(), said=HEADACHE, **w.by
    ),
    "a corrected event": lambda w: adverse_events.correct(
        event=w.event, said={"severity": "severe"}, reason="misread", **w.by
    ),
    "an event struck out": lambda w: adverse_events.strike(event=w.event, reason="x", **w.by),
    "a visit": lambda w: visits.record_visit(
        participant=w.other, key="discharge", on_date=w.today, **w.by
    ),
    "another date of a visit": lambda w: visits.correct_visit(
        visit=w.visit, on_date=w.today - timedelta(days=1), reason="misread", **w.by
    ),
    "a screening": lambda w: screenings.enter(
        study=w.study,
        entries=[Screened("7", w.study.sites.get(), w.today, "eligible")],
        **w.by,
    ),
    "an enrolment": lambda w: enrolment.enrol(
        site=w.study.sites.get(), code="S1-003", zone="UTC", **w.by
    ),
    "an enrolment in the past": lambda w: w._enrol("S1-003"),
    "an allocation": lambda w: trial.allocate_from_list(w.other),
    "an allocation in error": lambda w: allocation.mark_randomised_in_error(
        participant=w.person, reason="too young", **w.by
    ),
    "a stay in hospital": lambda w: pauses.pause(
        participant=w.person, begins_at=timezone.now() - timedelta(days=2), **w.by
    ),
    "an item of the quarantine": lambda w: quarantine.release(
        entry=w.quarantined, reason="the app was too new", text=w.corrected(), **w.by
    ),
}


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_nothing_is_entered_or_corrected_in_a_locked_study(world: World, step: Step) -> None:
    world.lock()
    before = AuditEvent.objects.count(), RowChange.objects.count()
    with pytest.raises(ValueError, match=r"locked|Nothing was recorded") as refused:
        step(world)
    problems = getattr(refused.value, "problems", None) or {"": str(refused.value)}
    assert LOCKED in str(list(problems.values()))
    assert (AuditEvent.objects.count(), RowChange.objects.count()) == before


@pytest.mark.parametrize("step", STEPS.values(), ids=STEPS)
def test_the_same_is_taken_while_the_study_runs(world: World, step: Step) -> None:
    before = AuditEvent.objects.count()
    step(world)
    assert AuditEvent.objects.count() > before


def test_what_a_phone_still_holds_is_stored(world: World) -> None:
    prompt = make_prompt(world.person, ordinal=2)
    world.lock()
    answer = submit(world.phone, [item(prompt)])
    assert answer.json()["items"][0]["status"] == "created"
    assert Response.objects.get().prompt == prompt


def test_a_broken_item_stays_in_quarantine_and_may_be_discarded(world: World) -> None:
    world.lock()
    cora = sign_in("cora", world.study, "coordinator")
    address = f"/admin/ema/quarantine/{world.quarantined.pk}/change/"
    form = {"item": world.corrected(), "decision": "release", "why": "too new"}
    assert LOCKED in page(cora.post(address, form))
    quarantine.discard(entry=world.quarantined, reason="too late", **world.by)
    assert not Response.objects.exists()


def test_withdrawing_unblinding_and_notes_stay_possible(world: World) -> None:
    world.lock()
    told = unblinding.unblind(
        participant=world.person, by=world.user, reason="an overdose", **world.by
    )
    assert told.arm in ("placebo", "clonidine")
    left = withdrawal.withdraw(participant=world.other, reason="asked", keep_data=False, **world.by)
    assert left.withdrawn_at
    cora = sign_in("cora", world.study, "coordinator")
    address = "/studies/demo/participants/of/S1-001/"
    said = page(cora.post(address, {"note": "The letter came."}, follow=True))
    assert "The letter came." in said
    assert "participant.unblinded" in page(cora.get("/studies/demo/audit/"))


# --- the doors ----------------------------------------------------------------------------

PAGES = ("urine", "adverse-events", "adverse-events/report", "entries", "screening", "enrol")


@pytest.mark.parametrize("name", [*PAGES, "allocation", "allocation/of/S1-002"])
def test_pages_say_it_and_offer_nothing(world: World, name: str) -> None:
    cora = sign_in("cora", world.study, "coordinator")
    assert NOTE not in page(cora.get(f"/studies/demo/{name}/"))
    world.lock()
    said = page(cora.get(f"/studies/demo/{name}/"))
    assert NOTE in said
    assert not said_forms(said)


def said_forms(said: str) -> list[str]:
    """Forms of the page itself that send something."""
    return [part for part in said.split("<form")[1:] if 'method="post" class="stacked"' in part]


def test_forms_that_were_open_are_refused_with_the_sentence(world: World) -> None:
    cora: Client = sign_in("cora", world.study, "coordinator")
    world.lock()
    today, test = world.today.isoformat(), world.test
    sent: dict[str, dict[str, Any]] = {
        "urine": {f"result-{test.pk}": "missed", f"collected-{test.pk}": ""},
        "adverse-events/report": HEADACHE | {"participant": world.person.pk, "key": uuid.uuid4()},
        f"adverse-events/{world.event.pk}": HEADACHE | {"term": "fall", "reason": "misread"},
        f"entries/{world.pair.pk}": {"result": "missed"},
        "screening": {
            "number": "7",
            "site": world.study.sites.get().pk,
            "screened_on": today,
            "outcome": "eligible",
        },
    }
    for name, form in sent.items():
        answer = cora.post(f"/studies/demo/{name}/", form)
        assert answer.status_code == 400, name
        assert LOCKED in answer.content.decode(), name
    struck = cora.post(
        f"/studies/demo/adverse-events/{world.event.pk}/strike/", {"reason": "x"}, follow=True
    )
    assert f"Nothing was struck out. {LOCKED}" in page(struck)


def test_the_admin_refuses_it_beside_the_fields(world: World) -> None:
    cora = sign_in("cora", world.study, "coordinator")
    world.lock()
    today = world.today.isoformat()
    result = {"result": "negative", "collected_on": world.test.due_on.isoformat()}
    sent: dict[str, dict[str, Any]] = {
        f"urinetest/{world.test.pk}/change": result,
        "visit/add": {"participant": world.other.pk, "key": "discharge", "on_date": today},
        "participant/add": {
            "site": world.study.sites.get().pk,
            "code": "S1-003",
            "zone": "UTC",
            "language": "en",
        },
        "pause/add": {
            "participant": world.person.pk,
            "kind": "hospital",
            "begins_at_0": today,
            "begins_at_1": "00:00",
        },
    }
    for name, form in sent.items():
        assert LOCKED in page(cora.post(f"/admin/ema/{name}/", form)), name


def test_commands_refuse_it(world: World, tmp_path: Any) -> None:
    world.lock()
    file = tmp_path / "results.csv"
    due_on = world.test.due_on
    file.write_text(f"participant,due_on,result,collected_on\nS1-001,{due_on},negative,{due_on}\n")
    said = "report S1-001 --term fall --severity mild --relatedness possible --started-on"
    for words in (
        ["urine", "demo", str(file)],
        ["adverse_event", "demo", *said.split(), "2026-06-01"],
        ["enrol", "demo", "S1"],
    ):
        err = io.StringIO()
        with pytest.raises(CommandError) as refused:
            call_command(*words, stdout=io.StringIO(), stderr=err)
        assert LOCKED in f"{refused.value} {err.getvalue()}", words


# --- at the same moment ---------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
def test_who_locks_waits_for_who_is_entering() -> None:
    world = World()
    is_entered, may_end = Event(), Event()

    def enter_slowly() -> None:
        with transaction.atomic():
            urine_batch.record_results(entries=[world.entry], **world.by)
            is_entered.set()
            may_end.wait(10)
        connection.close()

    def lock() -> None:
        world.lock()
        connection.close()

    with ThreadPoolExecutor(max_workers=2) as pool:
        entering = pool.submit(enter_slowly)
        assert is_entered.wait(10)
        locking = pool.submit(lock)
        with pytest.raises(TimeoutError):
            locking.result(2)
        may_end.set()
        entering.result(10)
        locking.result(10)
    assert Study.objects.get().locked_at
    assert UrineTest.objects.get(pk=world.test.pk).result == "negative"
