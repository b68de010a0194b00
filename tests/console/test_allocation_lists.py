"""Drawing and uploading allocation lists on their page: sealed, audited, never shown."""

import re
from typing import Any

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.test import Client

from ema import sealing
from ema.models import Allocation, AllocationList, AuditEvent, Study
from tests import trial
from tests.ema.test_admin import page, sign_in

pytestmark = pytest.mark.django_db
LISTS = "/studies/demo/allocation/lists/"
DRAW: dict[str, Any] = {
    "ratio-placebo": "1",
    "ratio-clonidine": "1",
    "per_stratum": "24",
    "confirm": "on",
}
ROWS = "stratum,position,arm,kit\nS1,1,clonidine,K7Q2M9\nS1,2,placebo,X4TR3D\n"


@pytest.fixture
def study() -> Study:
    study = trial.make_study()
    Study.objects.update(masking="double_blind")
    return study


@pytest.fixture
def root(study: Study) -> Client:
    return sign_in("root")


def sent(text: str = ROWS, **form: str) -> dict[str, Any]:
    file = SimpleUploadedFile("list.csv", text.encode())
    return {"file": file, "confirm": "on"} | form


def test_a_list_is_drawn_sealed_and_never_shown(study: Study, root: Client) -> None:
    assert "Nobody can be allocated" in page(root.get(LISTS))
    shown = page(root.post(f"{LISTS}draw/", DRAW, follow=True))
    sealed = AllocationList.objects.get()
    assert (sealed.source, sealed.made_by and sealed.made_by.username) == ("generated", "root")
    assert f"under {sealed.commitment}" in shown
    assert sealed.slots.count() >= 24
    assert sealing.faults_of(sealed) == []
    event = AuditEvent.objects.get(action="allocation_list.sealed")
    assert (event.door, event.after) == ("page", {"commitment": sealed.commitment})
    assert bytes(sealed.nonce).hex() not in shown
    assert [kit for kit in sealed.slots.values_list("kit_code", flat=True) if kit in shown] == []
    assert re.findall(r">(placebo|clonidine)<", shown) == []
    sizes = ", ".join(map(str, sealed.metadata["block_sizes"]))
    assert sizes not in shown


def test_the_page_is_the_same_whatever_the_list_holds(study: Study, root: Client) -> None:
    root.post(f"{LISTS}draw/", DRAW, follow=True)
    before = steady(page(root.get(LISTS)))
    one, other = study.arms.order_by("key")
    with trial.triggers_off():
        Allocation.objects.filter(arm=one).update(arm=other)
    assert steady(page(root.get(LISTS))) == before


def steady(shown: str) -> str:
    return re.sub(r'name="csrfmiddlewaretoken" value="[^"]+"', "", shown)


def test_strata_by_factors_and_more_slots(study: Study, root: Client) -> None:
    root.post(f"{LISTS}draw/", DRAW | {"factor_1": "sex=female, male"})
    assert set(sealing.last_positions(study)) == {"S1/sex=female", "S1/sex=male"}
    assert 'value="sex=female,male"' in page(root.get(LISTS))
    again = DRAW | {"factor_1": "sex=female,male"}
    assert "have a list already" in refused(root, "draw", again)
    assert "is stratified already" in refused(root, "draw", DRAW | {"goes_on": "on"})
    before = Allocation.objects.count()
    root.post(f"{LISTS}draw/", again | {"goes_on": "on"})
    assert Allocation.objects.count() >= 2 * before - 16


def refused(root: Client, step: str, form: dict[str, Any]) -> str:
    before = Allocation.objects.count()
    answer = root.post(f"{LISTS}{step}/", form)
    assert (answer.status_code, Allocation.objects.count()) == (400, before)
    return str(answer.content.decode())


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"confirm": ""}, "Nothing was sealed: tick the box"),
        ({"per_stratum": "0"}, "greater than or equal to 1"),
        ({"per_stratum": "100001"}, "less than or equal to 10000"),
        ({"ratio-placebo": ""}, "This field is required"),
        ({"factor_1": "sex"}, "Write a name of its own and values"),
        ({"factor_1": "sex=f,m", "factor_2": "sex=a,b"}, "Write a name of its own and values"),
        ({"factor_1": "sex=female"}, "sex"),
    ],
)
def test_a_wrong_wish_is_refused_in_words(
    root: Client, change: dict[str, str], sentence: str
) -> None:
    assert sentence in refused(root, "draw", DRAW | change)


def test_a_list_is_uploaded_and_sealed(study: Study, root: Client) -> None:
    shown = page(root.post(f"{LISTS}upload/", sent(), follow=True))
    sealed = AllocationList.objects.get()
    assert (sealed.source, sealed.slots.count()) == ("uploaded", 2)
    assert sealed.commitment in shown
    assert "K7Q2M9" not in shown


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (ROWS.replace("clonidine", "aspirin"), "aspirin"),
        (ROWS.replace("S1,2", "S1,3"), "S1"),
        ("stratum\n", "arm"),
        ("x" * 1_000_001, "larger than 1 MB"),
    ],
)
def test_a_wrong_file_seals_nothing(root: Client, text: str, sentence: str) -> None:
    assert sentence in refused(root, "upload", sent(text))


def test_a_file_in_another_encoding_and_one_unconfirmed_are_refused(root: Client) -> None:
    wrong = SimpleUploadedFile("list.csv", "stratum,position,arm\nGenève".encode("latin-1"))
    assert "Save the file as UTF-8." in refused(root, "upload", sent() | {"file": wrong})
    assert "tick the box" in refused(root, "upload", sent(confirm=""))


def test_nobody_but_an_administrator_makes_lists(study: Study) -> None:
    for role in ("coordinator", "statistician", "pharmacist"):
        client = sign_in(role, study, role)
        assert client.get(LISTS).status_code == 404
        assert client.post(f"{LISTS}draw/", DRAW).status_code == 404
        assert client.post(f"{LISTS}upload/", sent()).status_code == 404
    assert not AllocationList.objects.exists()


def test_a_locked_study_offers_no_form(study: Study, root: Client) -> None:
    Study.objects.update(locked_at=study.started_at)
    assert "Draw a list" not in page(root.get(LISTS))
    assert "is locked" in refused_words(root)


def refused_words(root: Client) -> str:
    return " ".join(
        str(e) for e in root.post(f"{LISTS}draw/", DRAW).context["draw_form"].non_field_errors()
    )
