"""Allocate: concealed, in order, once; whoever presses at the same moment gets another slot."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import date, timedelta
from threading import Barrier, Event
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection, transaction
from django.utils import timezone

from ema import allocation, consents, withdrawal
from ema.allocation import AllocationRefused, Told
from ema.audit import COMMAND
from ema.consents import Agreed
from ema.models import (
    Allocation,
    AuditEvent,
    Eligibility,
    Participant,
    Site,
    Study,
)
from tests import trial

pytestmark = pytest.mark.django_db


@pytest.fixture
def study() -> Study:
    study = trial.make_study()
    trial.seal(study, sizes=[4], per_stratum=8)
    return study


def enrol(study: Study, number: int) -> Participant:
    return trial.enrol(study, f"S1-{number:03d}", "Europe/Brussels", timezone.now())


def spent(study: Study) -> list[tuple[int, str]]:
    slots = Allocation.objects.filter(study=study, participant__isnull=False).order_by("position")
    return list(slots.values_list("position", "participant__code"))


def test_slots_are_spent_in_their_order(study: Study) -> None:
    for number in (1, 2, 3):
        told = trial.allocate_from_list(enrol(study, number))
        assert (told.stratum, told.position) == ("S1", number)
    assert spent(study) == [(1, "S1-001"), (2, "S1-002"), (3, "S1-003")]


def test_asking_again_tells_the_same(study: Study) -> None:
    person = enrol(study, 1)
    first = trial.allocate_from_list(person)
    assert trial.allocate_from_list(person, consent_version="3.0") == first
    assert trial.allocate_from_list(person, is_eligible=False) == first
    assert spent(study) == [(1, "S1-001")]
    assert Eligibility.objects.get().consent_version == "2.0"
    assert AuditEvent.objects.filter(action="participant.allocated").count() == 1


@pytest.mark.parametrize("masking", ["open", "double_blind"])
def test_the_arm_is_told_in_an_open_study_only(study: Study, masking: str) -> None:
    Study.objects.update(masking=masking)
    told = trial.allocate_from_list(enrol(study, 1))
    slot = Allocation.objects.get(participant__code="S1-001")
    assert told.arm == (slot.arm.key if masking == "open" else None)
    assert told.kit_code == slot.kit_code != ""


def test_the_open_event_tells_the_slot_and_the_closed_one_the_arm(study: Study) -> None:
    trial.allocate_from_list(enrol(study, 1))
    slot = Allocation.objects.get(participant__code="S1-001")
    open_event = AuditEvent.objects.get(action="participant.allocated")
    assert open_event.after == {
        "stratum": "S1",
        "slot": 1,
        "kit": slot.kit_code,
        "consent_version": "2.0",
        "consented_on": "2026-01-01",
    }
    closed = AuditEvent.objects.get(is_closed=True)
    assert closed.after == {"slot": 1, "arm": slot.arm.key}
    assert {event.site for event in (open_event, closed)} == {study.sites.get()}
    for event in AuditEvent.objects.filter(is_closed=False):
        assert slot.arm.key not in f"{event.subject} {event.reason}" or "arm." in event.action


def test_strata_are_by_site_and_factors() -> None:
    study = trial.make_study()
    second = Site.objects.create(study=study, code="S2", title="Second site")
    trial.seal(study, factors={"sex": ["female", "male"]})
    told = [
        trial.allocate_from_list(trial.enrol_at(site, code), factors={"sex": sex})
        for site, code, sex in (
            (study.sites.get(code="S1"), "a", "male"),
            (second, "b", "female"),
            (second, "c", "female"),
        )
    ]
    assert [(one.stratum, one.position) for one in told] == [
        ("S1/sex=male", 1),
        ("S2/sex=female", 1),
        ("S2/sex=female", 2),
    ]
    assert Eligibility.objects.get(participant__code="a").factors == {"sex": "male"}
    person = trial.enrol_at(second, "d")
    for factors, sentence in (
        ({}, "Say of sex whether it is female or male."),
        ({"sex": "F"}, "Say of sex whether it is female or male."),
        ({"sex": "male", "age": "old"}, "not stratified by age; by: sex."),
    ):
        with pytest.raises(AllocationRefused, match=sentence):
            trial.allocate_from_list(person, factors=factors)


def tomorrow() -> Any:
    return timezone.now().date() + timedelta(days=2)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"is_eligible": False}, "Confirm first that S1-001 meets every criterion"),
        ({"consent_version": "  "}, "Name the version of the consent form"),
        ({"consent_version": "x" * 41}, "in at most 40 characters"),
        ({"consented_on": tomorrow()}, "Consent was given by today"),
    ],
)
def test_without_eligibility_and_consent_no_slot_is_opened(
    study: Study, changed: dict[str, Any], sentence: str
) -> None:
    with pytest.raises(AllocationRefused, match=sentence):
        trial.allocate_from_list(enrol(study, 1), **changed)
    assert spent(study) == []
    assert not Eligibility.objects.exists()


def test_whoever_has_withdrawn_is_not_allocated(study: Study) -> None:
    person = enrol(study, 1)
    withdrawal.withdraw(participant=person, reason="moved", now=timezone.now(), actor=COMMAND)
    with pytest.raises(AllocationRefused, match="S1-001 has withdrawn"):
        trial.allocate_from_list(person)


@pytest.mark.parametrize(
    ("state", "sentence"),
    [({"started_at": None}, "has not started"), ({"locked_at": timezone.now()}, "is locked")],
)
def test_a_study_that_does_not_run_allocates_nobody(
    study: Study, state: dict[str, Any], sentence: str
) -> None:
    person = enrol(study, 1)
    Study.objects.update(**state)
    with pytest.raises(AllocationRefused, match=sentence):
        trial.allocate_from_list(person)


def test_without_slots_the_sentence_says_who_helps(study: Study) -> None:
    other = trial.make_study("other")
    with pytest.raises(AllocationRefused, match="Study other has no allocation list yet"):
        trial.allocate_from_list(trial.enrol(other, "O1", "UTC", timezone.now()))
    second = Site.objects.create(study=study, code="S2", title="Second site")
    with pytest.raises(AllocationRefused, match="S2 has no slots: nobody is allocated there"):
        trial.allocate_from_list(trial.enrol_at(second, "S2-001"))
    first = study.sites.get(code="S1")
    for number in range(8):
        trial.allocate_from_list(trial.enrol_at(first, f"S1-{number}"))
    last = trial.enrol_at(first, "S1-last")
    with pytest.raises(AllocationRefused, match="All 8 slots of S1 are spent"):
        trial.allocate_from_list(last)
    trial.seal(study, sites=["S1"], goes_on=True)
    assert trial.allocate_from_list(last).position == 9


def mark(person: Participant, reason: str = "Did not meet criterion 4") -> Told:
    return allocation.mark_randomised_in_error(
        participant=person, reason=reason, now=timezone.now(), actor=COMMAND
    )


def test_randomised_in_error_spends_the_slot_and_keeps_the_arm(study: Study) -> None:
    one, other = enrol(study, 1), enrol(study, 2)
    with pytest.raises(AllocationRefused, match="is not allocated"):
        mark(one)
    first = trial.allocate_from_list(one)
    with pytest.raises(AllocationRefused, match="Say in words why"):
        mark(one, " ")
    told = mark(one)
    assert told.in_error_reason == "Did not meet criterion 4"
    assert told._replace(in_error_at=None, in_error_reason="") == first
    with pytest.raises(AllocationRefused, match="in error already"):
        mark(one)
    assert trial.allocate_from_list(other).position == 2
    assert spent(study) == [(1, "S1-001"), (2, "S1-002")]
    event = AuditEvent.objects.get(action="participant.randomised_in_error")
    assert (event.reason, event.is_closed) == ("Did not meet criterion 4", False)


def test_the_command_allocates_and_tells_what_may_be_told(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    enrol(study, 1)
    words = ("demo", "S1-001", "--consent-version", "2.0", "--consented-on", "2026-01-01")
    with pytest.raises(CommandError, match="Confirm first") as refused:
        call_command("allocate", *words)
    assert refused.value.returncode == 1
    for _ in range(2):
        call_command("allocate", *words, "--eligible")
        slot = Allocation.objects.get(participant__code="S1-001")
        said = capsys.readouterr().out
        assert said == f"S1-001 is allocated: slot 1 of S1, kit {slot.kit_code}.\n"
    call_command("allocate", "demo", "S1-001", "--in-error", "criterion 4")
    assert "randomised in error: criterion 4" in capsys.readouterr().out
    Study.objects.update(masking="open")
    call_command("allocate", *words, "--eligible")
    assert f"arm {slot.arm.key}" in capsys.readouterr().out
    with pytest.raises(CommandError, match="There is no participant 'S9'"):
        call_command("allocate", "demo", "S9", "--eligible")


def test_the_command_takes_the_consent_that_is_recorded(study: Study) -> None:
    agreed = Agreed("3.1", date(2026, 2, 3))
    person = enrol(study, 1)
    with pytest.raises(CommandError, match="Name the version of the consent form"):
        call_command("allocate", "demo", "S1-001", "--eligible")
    consents.record_consent(participant=person, agreed=agreed, now=timezone.now(), actor=COMMAND)
    call_command("allocate", "demo", "S1-001", "--eligible")
    kept = Eligibility.objects.get()
    assert (kept.consent_version, kept.consented_on) == agreed


class AtOnce:
    """Steps on connections of their own, started together."""

    def __init__(self, count: int) -> None:
        self.pool, self.barrier = ThreadPoolExecutor(count), Barrier(count)

    def allocate(self, person: Participant) -> Told:
        try:
            self.barrier.wait(timeout=30)
            return trial.allocate_from_list(person)
        finally:
            connection.close()


@pytest.fixture
def two() -> Iterator[AtOnce]:
    at_once = AtOnce(2)
    with at_once.pool:
        yield at_once


@pytest.mark.django_db(transaction=True)
def test_two_coordinators_at_the_same_moment_get_two_different_slots(
    study: Study, two: AtOnce
) -> None:
    people = [enrol(study, number) for number in range(8)]
    for pair in range(0, 8, 2):
        told = list(two.pool.map(two.allocate, people[pair : pair + 2]))
        assert {one.position for one in told} == {pair + 1, pair + 2}
    assert [position for position, _ in spent(study)] == list(range(1, 9))


@pytest.mark.django_db(transaction=True)
def test_two_presses_for_one_participant_spend_one_slot(study: Study, two: AtOnce) -> None:
    person = enrol(study, 1)
    one, other = two.pool.map(two.allocate, [person, person])
    assert one == other
    assert spent(study) == [(1, "S1-001")]


@pytest.mark.django_db(transaction=True)
def test_a_slot_whose_allocation_failed_goes_to_whoever_waited(study: Study) -> None:
    """No slot is passed over: the order of a list is the order of its allocations."""
    failing, waiting = enrol(study, 1), enrol(study, 2)
    holds, pool = Event(), ThreadPoolExecutor(1)

    def wait_for_the_slot() -> Told:
        try:
            holds.wait(timeout=30)
            return trial.allocate_from_list(waiting)
        finally:
            connection.close()

    with pool:
        result = pool.submit(wait_for_the_slot)
        with transaction.atomic():
            assert trial.allocate_from_list(failing).position == 1
            holds.set()
            with pytest.raises(TimeoutError):
                result.result(timeout=1)
            transaction.set_rollback(True)
        assert result.result(timeout=30).position == 1
    assert spent(study) == [(1, "S1-002")]


@pytest.mark.django_db(transaction=True)
def test_the_last_slot_goes_to_one_of_two(study: Study, two: AtOnce) -> None:
    for number in range(7):
        trial.allocate_from_list(enrol(study, number))
    people = [enrol(study, 8), enrol(study, 9)]

    def outcome(person: Participant) -> str:
        try:
            return str(two.allocate(person).position)
        except AllocationRefused as error:
            return str(error)

    said = sorted(two.pool.map(outcome, people))
    assert said[0] == "8"
    assert said[1].startswith("All 8 slots of S1 are spent")
    assert Eligibility.objects.count() == 8
