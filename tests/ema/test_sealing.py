"""Allocation lists are sealed: all or nothing, committed to, never changed."""

import csv
import io
import json
import re
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.db import DatabaseError, connection, transaction
from django.utils import timezone

from ema import arms, sealing
from ema.allocation_lists import ListRefused, Slot
from ema.audit import COMMAND
from ema.models import Allocation, AllocationList, Arm, AuditEvent, Site, Study
from tests import trial

pytestmark = pytest.mark.django_db


@pytest.fixture
def study() -> Study:
    study = trial.make_study()
    Site.objects.create(study=study, code="S2", title="Second site")
    return study


def generate(study: Study, **changed: object) -> AllocationList:
    return trial.seal(study, **changed)


def upload(study: Study, text: str) -> AllocationList:
    return sealing.upload(
        study=study, text=text, file_name="list.csv", now=timezone.now(), actor=COMMAND
    )


def run(capsys: pytest.CaptureFixture[str], *words: str) -> str:
    call_command("allocation_list", "demo", *words)
    return capsys.readouterr().out


GENERATE = ("generate", "--ratio", "placebo=1,clonidine=1", "--per-stratum", "20")


def test_a_list_is_generated_and_the_open_trail_has_only_its_commitment(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    said = run(capsys, *GENERATE, "--factor", "sex=female,male", "--yes")
    sealed = AllocationList.objects.get()
    assert re.search(r"\d\d slots in 4 strata, sealed under [0-9a-f]{64}\.", said)
    assert re.search(r"certain of [0-4]% of the next, and guess 6\d%\.", said)
    event = AuditEvent.objects.get(action="allocation_list.sealed")
    assert (event.is_closed, event.after) == (False, {"commitment": sealed.commitment})
    assert sealed.metadata == {
        "method": "permuted blocks of random size",
        "generator": "1",
        "ratio": {"placebo": 1, "clonidine": 1},
        "block_sizes": [4, 6, 8],
        "sites": ["S1", "S2"],
        "factors": {"sex": ["female", "male"]},
        "per_stratum": 20,
    }
    kits = list(sealed.slots.values_list("kit_code", flat=True))
    assert len(set(kits)) == len(kits) >= 80
    assert "as sealed" in run(capsys, "verify")


def test_nothing_is_sealed_before_it_is_confirmed(
    study: Study, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for typed, is_sealed in (("demi\n", False), ("", False), ("demo\n", True)):
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        if is_sealed:
            call_command("allocation_list", "demo", *GENERATE)
        else:
            with pytest.raises(CommandError, match="Nothing was sealed"):
                call_command("allocation_list", "demo", *GENERATE)
        assert AllocationList.objects.exists() is is_sealed


def test_status_counts_slots_and_never_tells_arms(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "no allocation list yet" in run(capsys, "status")
    assert "no allocation list yet" in run(capsys, "verify")
    generate(study, sizes=[4], per_stratum=8)
    trial.allocate_from_list(trial.enrol_at(study.sites.get(code="S1"), "S1-001"))
    said = run(capsys, "status")
    assert [line.split()[:5] for line in said.splitlines()[1:]] == [
        ["S1", "8", "1", "0", "7"],
        ["S2", "8", "0", "0", "8"],
    ]
    assert said.count("few are left") == 2
    assert "placebo" not in said


def test_a_crossover_list_holds_sequences() -> None:
    study = trial.make_study(arms=("AB", "BA"))
    phase = study.phases.get()
    for key, (one, two) in {"AB": ("A", "B"), "BA": ("B", "A")}.items():
        Arm.objects.filter(key=key).update(treatments={phase.key: one, "second": two})
    sealed = generate(study, ratio={"AB": 1, "BA": 1})
    assert set(sealed.slots.values_list("arm__key", flat=True)) == {"AB", "BA"}


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"ratio": {"placebo": 1, "water": 1}}, "no arm 'water'. It has: clonidine, placebo."),
        ({"sites": ["S9"]}, "no site 'S9'. It has: S1, S2."),
        ({"sizes": [3]}, "multiples of 2"),
    ],
)
def test_what_the_study_has_not_is_refused(
    study: Study, changed: dict[str, object], sentence: str
) -> None:
    with pytest.raises(ListRefused, match=sentence):
        generate(study, **changed)
    assert not Allocation.objects.exists()


def test_a_stratum_gets_more_slots_only_when_asked(study: Study) -> None:
    generate(study, sites=["S1"], sizes=[4], per_stratum=4)
    with pytest.raises(ListRefused, match="These strata have a list already: S1"):
        generate(study)
    generate(study, sizes=[4], per_stratum=4, goes_on=True)
    assert sealing.last_positions(study) == {"S1": 8, "S2": 4}
    with pytest.raises(ListRefused, match="stratified already: repeat no factor"):
        generate(study, goes_on=True, factors={"sex": ["female", "male"]})


def test_a_locked_study_gets_no_list(study: Study) -> None:
    Study.objects.update(locked_at=timezone.now())
    with pytest.raises(ListRefused, match="is locked"):
        generate(study)


def rows(*lines: str, header: str = "stratum,position,arm") -> str:
    return "\n".join([header, *lines]) + "\n"


GOOD = ("S1,1,placebo", "S1,2,clonidine", "S2,1,clonidine")


def test_a_file_is_sealed_as_it_is(study: Study) -> None:
    sealed = upload(study, rows(*GOOD))
    assert list(sealed.slots.order_by("pk").values_list("stratum", "position", "arm__key")) == [
        ("S1", 1, "placebo"),
        ("S1", 2, "clonidine"),
        ("S2", 1, "clonidine"),
    ]
    assert all(sealed.slots.values_list("kit_code", flat=True))
    assert sealed.metadata["file"] == "list.csv"
    assert sealing.faults_of(sealed) == []


def test_a_file_from_a_spreadsheet_with_kits_is_read(study: Study) -> None:
    lines = ("Kit;Arm;Position;Stratum", "K7;placebo;1;S1/sex=female", "K3;clonidine;1;S1/sex=male")
    text = "\ufeff" + "\r\n".join(lines)
    sealed = upload(study, text)
    assert set(sealed.slots.values_list("kit_code", flat=True)) == {"K7", "K3"}
    assert sealing.factors_of(study) == {"sex": ["female", "male"]}


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", ["Line 1: the columns are stratum, position, arm"]),
        (
            "a,b\n1,2\n",
            ["Line 1: the columns are stratum, position, arm and perhaps kit; here are: a, b."],
        ),
        (rows(), ["Line 2: no slots below the header."]),
        (rows("S1,1"), ["Line 2: there are as many cells as columns, 3."]),
        (rows("S1,1,placebo,x"), ["Line 2: there are as many cells as columns, 3."]),
        (rows('S1,1,"placebo'), ["this is no CSV"]),
        (
            rows("S9,1,placebo", "S1,one,placebo", "S1,0,water", "S1/sex,1,placebo"),
            [
                "Line 2: there is no site 'S9'. There are: S1, S2.",
                "Line 3: 'one' is no position: write 1, 2, 3 …",
                "Line 4: '0' is no position",
                "Line 4: there is no arm 'water'. There are: clonidine, placebo.",
                "Line 5: 'S1/sex' is no stratum",
            ],
        ),
        (rows("S1,1,placebo", "S1,1,placebo"), ["Line 3: slot 1 of S1 is on line 2 already."]),
        (rows("S1,1,placebo", "S1,3,placebo"), ["Line 3: in S1 position 2 comes next, not 3."]),
        (rows("S1,1,placebo", "S2/sex=f,1,placebo"), ["Line 3: S2/sex=f names other factors than"]),
        (
            rows(
                "S1,1,placebo,k-1",
                "S1,2,clonidine,k-1",
                "S2,1,placebo,",
                "S2,2,placebo,Placebo-7",
                header="stratum,position,arm,kit",
            ),
            [
                "Line 4: '' is no kit code",
                "Line 5: kit Placebo-7 names arm placebo: a code must tell nothing.",
            ],
        ),
        (
            rows("S1,1,placebo,k-1", "S1,2,clonidine,k-1", header="stratum,position,arm,kit"),
            ["Line 3: kit k-1 is on line 2 already."],
        ),
    ],
)
def test_every_wrong_row_is_named_and_nothing_is_half_loaded(
    study: Study, text: str, sentences: list[str]
) -> None:
    with pytest.raises(ListRefused) as refused:
        upload(study, text)
    assert len(refused.value.faults) == len(sentences)
    for fault, sentence in zip(refused.value.faults, sentences, strict=True):
        assert sentence in fault
    assert not Allocation.objects.exists()
    assert not AllocationList.objects.exists()
    assert not AuditEvent.objects.filter(action="allocation_list.sealed").exists()


def test_a_further_file_fits_the_lists_that_are_there(study: Study) -> None:
    header = "stratum,position,arm,kit"
    upload(study, rows("S1/sex=f,1,placebo,k1", "S1/sex=m,1,placebo,k2", header=header))
    with pytest.raises(ListRefused) as refused:
        upload(study, rows("S1,2,placebo,k1", "S1/sex=x,1,placebo,k3", header=header))
    assert refused.value.faults == (
        "Line 2: the study is stratified already: write S1/sex=…, not S1.",
        "Line 2: kit k1 is on an earlier list: a code is handed out once.",
        "Line 3: sex is f or m, not 'x'.",
    )
    with pytest.raises(ListRefused, match="Line 2: in S1/sex=f position 2 comes next, not 1"):
        upload(study, rows("S1/sex=f,1,placebo"))
    upload(study, rows("S1/sex=f,2,placebo", "S2/sex=m,1,clonidine"))


def test_a_file_comes_by_the_command(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "list.csv"
    file.write_text(rows("S1,1,water", "S7,1,placebo"))
    with pytest.raises(CommandError) as refused:
        call_command("allocation_list", "demo", "upload", str(file), "--yes")
    assert [line[:6] for line in str(refused.value).splitlines()] == ["Line 2", "Line 3"]
    assert refused.value.returncode == 1
    file.write_text(rows(*GOOD))
    assert "3 slots in 2 strata" in run(capsys, "upload", str(file), "--yes")
    for wrong, content in ((tmp_path / "none.csv", None), (tmp_path / "bin.csv", b"\xff\xfe\x00")):
        if content:
            wrong.write_bytes(content)
        with pytest.raises(CommandError, match=r"No such file|not UTF-8"):
            call_command("allocation_list", "demo", "upload", str(wrong), "--yes")


def test_what_was_sealed_cannot_be_altered(study: Study) -> None:
    sealed = generate(study)
    slot = sealed.slots.order_by("pk")[0]
    other = Arm.objects.filter(study=study).exclude(pk=slot.arm_id).get()
    mine = Allocation.objects.filter(pk=slot.pk)
    for change in (
        lambda: mine.update(arm=other),
        lambda: mine.update(position=900),
        lambda: mine.update(kit_code="X"),
        lambda: mine.update(allocation_list=None),
        mine.delete,
        lambda: AllocationList.objects.update(commitment="0" * 64),
    ):
        with pytest.raises(DatabaseError, match="never changes"), transaction.atomic():
            change()
    trial.allocate_from_list(trial.enrol_at(study.sites.get(code="S1"), "S1-001"))
    spent = Allocation.objects.filter(participant__code="S1-001")
    with pytest.raises(DatabaseError, match="stays spent"), transaction.atomic():
        spent.update(participant=None, allocated_at=None)


def test_what_was_altered_behind_the_database_is_found(
    study: Study, capsys: pytest.CaptureFixture[str]
) -> None:
    sealed = generate(study)
    slot = sealed.slots.order_by("pk")[0]
    other = Arm.objects.filter(study=study).exclude(pk=slot.arm_id).get()
    with trial.triggers_off():
        Allocation.objects.filter(pk=slot.pk).update(arm=other)
    with pytest.raises(CommandError, match="do not give its commitment") as refused:
        call_command("allocation_list", "demo", "verify")
    assert refused.value.returncode == 1
    slots = [
        Slot(*row)
        for row in sealed.slots.values_list("stratum", "position", "arm__key", "kit_code")
    ]
    forged = sealing.commitment_of(bytes(sealed.nonce), sealed.metadata, slots)
    with trial.triggers_off():
        AllocationList.objects.update(commitment=forged)
    with pytest.raises(CommandError, match="audit trail has another commitment"):
        call_command("allocation_list", "demo", "verify")


def test_a_slot_that_was_passed_over_is_found(study: Study) -> None:
    generate(study)
    person = trial.enrol_at(study.sites.get(code="S1"), "S1-001")
    third = Allocation.objects.get(study=study, stratum="S1", position=3)
    Allocation.objects.filter(pk=third.pk).update(participant=person, allocated_at=timezone.now())
    assert sealing.skipped_slots(study) == ["Stratum S1: a free slot lies before a spent one."]


def test_the_commitment_covers_everything_that_matters(study: Study) -> None:
    slot = Slot("S1", 1, "placebo", "K7")
    commitments = {
        sealing.commitment_of(nonce, metadata, [each])
        for nonce in (b"1" * 32, b"2" * 32)
        for metadata in ({"a": 1}, {"a": 2})
        for each in (
            slot,
            slot._replace(arm="clonidine"),
            slot._replace(kit="K8"),
            slot._replace(stratum="S2"),
            slot._replace(position=2),
        )
    }
    assert len(commitments) == 20


def test_kits_are_listed_for_the_packer_and_that_is_written_down(
    study: Study, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(CommandError, match="no allocation list yet"):
        call_command("allocation_list", "demo", "kits")
    sealed = generate(study)
    found = list(csv.reader(io.StringIO(run(capsys, "kits"))))
    assert found[0] == ["kit", "arm"]
    assert found[1:] == sorted(map(list, sealed.slots.values_list("kit_code", "arm__key")))
    file = tmp_path / "kits.csv"
    run(capsys, "kits", "--out", str(file))
    assert list(csv.reader(file.open())) == found
    with pytest.raises(CommandError, match="is there already"):
        call_command("allocation_list", "demo", "kits", "--out", str(file))
    events = AuditEvent.objects.filter(action="allocation_list.kits_exported")
    assert events.count() == 2
    assert "placebo" not in json.dumps(list(events.values_list("after", flat=True)))


@pytest.mark.parametrize(
    "words",
    [
        ("--ratio", "placebo", "--per-stratum", "9"),
        ("--ratio", "placebo=1,placebo=1", "--per-stratum", "9"),
        ("--ratio", "placebo=1,clonidine=1", "--per-stratum", "0"),
        ("--ratio", "placebo=1,clonidine=1", "--per-stratum", "9", "--blocks", "4;6"),
        ("--ratio", "placebo=1,clonidine=1", "--per-stratum", "9", "--factor", "sex"),
    ],
)
def test_wrong_options_are_refused(study: Study, words: tuple[str, ...]) -> None:
    with pytest.raises(CommandError):
        call_command("allocation_list", "demo", "generate", *words, "--yes")
    assert not AllocationList.objects.exists()


def test_an_arm_of_a_list_keeps_its_key() -> None:
    study = trial.make_study(has_started=False)
    generate(study)
    arm = Arm.objects.get(study=study, key="clonidine")
    arm.key = "other"
    assert arms.problems(arm) == ["Arm clonidine is on an allocation list: it keeps its key."]
    arm.key, arm.title = "clonidine", "Clonidine 0.3 mg"
    assert arms.problems(arm) == []


def test_the_trigger_holds_rows_written_as_sql(study: Study) -> None:
    generate(study)
    with (
        pytest.raises(DatabaseError, match="never changes"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("DELETE FROM ema_allocation")
    with (
        pytest.raises(DatabaseError, match="never changes"),
        transaction.atomic(),
        connection.cursor() as cursor,
    ):
        cursor.execute("DELETE FROM ema_allocationlist")
