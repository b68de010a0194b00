"""The pages of allocation, through HTTP."""

import re
from datetime import date
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from ema import consents
from ema.audit import COMMAND
from ema.consents import Agreed
from ema.models import Allocation, AllocationList, AuditEvent, Eligibility, Site, Study
from tests import trial
from tests.ema.test_admin import page, sign_in

pytestmark = pytest.mark.django_db

FORM = {
    "is_eligible": "on",
    "consent_version": "2.0",
    "consented_on": "2026-03-01",
    "confirm": "on",
}
OF_ONE = "/studies/demo/allocation/of/S1-001/"


@pytest.fixture
def study() -> Study:
    study = trial.make_study()
    trial.enrol(study, "S1-001", "Europe/Brussels", timezone.now())
    trial.seal(study)
    return study


@pytest.fixture
def client(study: Study) -> Client:
    return sign_in("cora", study, "coordinator", site=study.sites.get(code="S1"))


def text_of(answer: Any) -> str:
    """The words of a page, without its tags."""
    return " ".join(re.sub(r"<[^>]+>", " ", str(answer.content.decode())).split())


def test_a_coordinator_allocates_and_is_told_slot_and_kit(client: Client, study: Study) -> None:
    assert "Allocate S1-001" in page(client.get("/studies/demo/allocation/"))
    said = text_of(client.post(OF_ONE, FORM, follow=True))
    slot = Allocation.objects.get(participant__code="S1-001")
    assert f"Allocated, slot 1 of S1. Kit code {slot.kit_code} ." in said
    assert "The study is masked" in said
    assert slot.arm.key not in said
    assert AuditEvent.objects.get(action="participant.allocated").door == "page"
    assert str(Eligibility.objects.get().confirmed_by) == "cora"
    listed = text_of(client.get("/studies/demo/allocation/"))
    assert f"1 of S1 {slot.kit_code}" in listed
    assert "Nobody waits" in listed
    again = client.post(OF_ONE, FORM | {"consent_version": "3.0"}, follow=True)
    assert "Allocated, slot 1 of S1" in text_of(again)
    assert Allocation.objects.exclude(participant=None).count() == 1


def test_in_an_open_study_the_page_tells_the_arm(client: Client, study: Study) -> None:
    Study.objects.update(masking="open")
    said = text_of(client.post(OF_ONE, FORM, follow=True))
    arm = Allocation.objects.get(participant__code="S1-001").arm.key
    assert f"Arm: {arm}" in said
    assert text_of(client.get("/studies/demo/allocation/")).endswith(f" {arm}")


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"is_eligible": ""}, "nobody is allocated who is not eligible"),
        ({"confirm": ""}, "Nobody was allocated: tick the box to confirm."),
        ({"consent_version": ""}, "This field is required."),
        ({"consented_on": "soon"}, "Enter a valid date."),
        ({"consented_on": "2199-01-01"}, "Consent was given by today"),
    ],
)
def test_what_is_not_confirmed_opens_no_slot(
    client: Client, study: Study, changed: dict[str, str], sentence: str
) -> None:
    answer = client.post(OF_ONE, {k: v for k, v in (FORM | changed).items() if v})
    assert answer.status_code == 400
    assert sentence in text_of(answer)
    assert not Allocation.objects.exclude(participant=None).exists()


def test_consent_that_is_recorded_is_filled_in(client: Client, study: Study) -> None:
    consents.record_consent(
        participant=study.participants.get(),
        agreed=Agreed("3.1", date(2026, 2, 3)),
        now=timezone.now(),
        actor=COMMAND,
    )
    shown = page(client.get(OF_ONE))
    assert 'value="3.1"' in shown
    assert 'value="2026-02-03"' in shown


def test_factors_of_the_list_are_asked_for() -> None:
    study = trial.make_study()
    trial.enrol(study, "S1-001", "Europe/Brussels", timezone.now())
    trial.seal(study, factors={"sex": ["female", "male"]})
    client = sign_in("cora", study, "coordinator")
    assert 'name="factor-sex"' in page(client.get(OF_ONE))
    for value, status in (("", 400), ("other", 400), ("male", 302)):
        assert client.post(OF_ONE, FORM | {"factor-sex": value}).status_code == status
    assert Allocation.objects.exclude(participant=None).get().stratum == "S1/sex=male"


def test_refusals_of_the_step_are_told_on_the_page(client: Client, study: Study) -> None:
    second = Site.objects.create(study=study, code="S2", title="Second site")
    trial.enrol_at(second, "S2-001")
    whole = sign_in("cosima", study, "coordinator")
    answer = whole.post("/studies/demo/allocation/of/S2-001/", FORM)
    assert answer.status_code == 400
    assert "S2 has no slots: nobody is allocated there" in text_of(answer)
    Study.objects.update(locked_at=timezone.now())
    assert "Study demo is locked" in text_of(client.post(OF_ONE, FORM))


def test_an_empty_study_says_what_comes_first() -> None:
    study = trial.make_study()
    said = text_of(sign_in("cora", study, "coordinator").get("/studies/demo/allocation/"))
    assert "no allocation list yet: an administrator makes one" in said
    assert "Nobody waits to be allocated." in said
    assert "No allocation list yet." in text_of(
        sign_in("root").get("/studies/demo/allocation/lists/")
    )


def test_randomised_in_error_is_marked_with_a_reason(client: Client, study: Study) -> None:
    client.post(OF_ONE, FORM)
    for form, sentence in (
        ({"reason": "criterion 4"}, "Nothing was marked. Tick the box to confirm."),
        ({"reason": " ", "confirm": "on"}, "Nothing was marked. Say in words why"),
        ({"reason": "criterion 4", "confirm": "on"}, "S1-001 is marked as randomised in error."),
        ({"reason": "again", "confirm": "on"}, "randomised in error already"),
    ):
        said = text_of(client.post(f"{OF_ONE}in-error/", form, follow=True))
        assert sentence in said
    assert "criterion 4" in said
    assert "in error" in text_of(client.get("/studies/demo/allocation/"))
    assert Allocation.objects.get(participant__code="S1-001").in_error_reason == "criterion 4"


def test_a_coordinator_of_another_site_reaches_nobody_here(study: Study) -> None:
    second = Site.objects.create(study=study, code="S2", title="Second site")
    client = sign_in("sia", study, "coordinator", site=second)
    assert "S1-001" not in page(client.get("/studies/demo/allocation/"))
    for answer in (
        client.get(OF_ONE),
        client.post(OF_ONE, FORM),
        client.post(f"{OF_ONE}in-error/", {"reason": "x", "confirm": "on"}),
    ):
        assert answer.status_code == 404
    assert not Allocation.objects.exclude(participant=None).exists()


def test_the_administrator_sees_counts_and_the_commitment_and_no_list(study: Study) -> None:
    person = study.participants.get()
    trial.allocate_from_list(person)
    said = page(sign_in("root").get("/studies/demo/allocation/lists/"))
    assert AllocationList.objects.get().commitment in said
    total = study.allocations.count()
    assert f"S1 {total} 1 0 {total - 1}" in " ".join(re.sub(r"<[^>]+>", " ", said).split())
    kits = set(study.allocations.values_list("kit_code", flat=True))
    tables = said.partition("<main")[2].partition("Draw a list")[0]  # the form names arms
    for secret in ("placebo", "clonidine", "block", *kits):
        assert secret not in re.sub(r'href="[^"]+"', "", tables)
        assert secret not in kits or secret not in said


def test_pages_ask_as_much_of_the_database_for_many_as_for_few(
    client: Client, study: Study, django_assert_max_num_queries: Any
) -> None:
    trial.seal(study, goes_on=True)
    for number in range(2, 32):
        person = trial.enrol_at(study.sites.get(), f"S1-{number:03d}")
        if number % 2:
            trial.allocate_from_list(person)
    for masking in ("double_blind", "open"):
        Study.objects.update(masking=masking)
        with django_assert_max_num_queries(25):
            page(client.get("/studies/demo/allocation/"))
