"""Formats beside CSV: the same cells, read back by the programs that will read them."""

import csv
import json
import re
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pyreadstat
import pytest
from django.utils import timezone
from pytest_django import Settings

from analytics.coupling import estimate_couplings
from analytics.datasets.building import build_snapshot
from analytics.datasets.columns import (
    DAY,
    INSTANT,
    LOCAL,
    NUMBER,
    TEXT,
    WHOLE,
    Column,
    Scope,
)
from analytics.datasets.formats import FORMATS
from analytics.datasets.reading import unguarded
from analytics.datasets.snapshots import SnapshotRefused, directory_of, request_snapshot
from analytics.datasets.tables import TABLES
from analytics.models import Snapshot
from ema import studies
from ema.audit import COMMAND
from ema.models import (
    AdverseEvent,
    Item,
    Prompt,
    Questionnaire,
    QuestionnaireVersion,
    Response,
    Study,
    UrineTest,
)
from tests.analytics.answers import add_participant, add_prompt, make_study, respond

pytestmark = pytest.mark.django_db(transaction=True)
NAMES = [table.name for table in TABLES]
HAVEN = (
    shutil.which("Rscript")
    and not subprocess.run(
        ["Rscript", "-e", "library(haven)"], capture_output=True, check=False
    ).returncode
)


@pytest.fixture(autouse=True)
def _snapshot_dir(settings: Settings, tmp_path: Path) -> None:
    settings.SNAPSHOT_DIR = tmp_path / "snapshots"


def add_questionnaire(study: Study, minimum: int) -> None:
    """Long labels, labelled choices, and a lowest value of craving."""
    hard = Questionnaire.objects.create(study=study, key="hard", title="Hard")
    version = QuestionnaireVersion.objects.create(questionnaire=hard)
    choices = [{"value": n, "label": {"en": f"level {n} {'ü' * 90}"}} for n in range(30)]
    for position, (role, kind) in enumerate((("craving", "number"), ("", "single")), start=1):
        Item.objects.create(
            version=version,
            key=f"item-{position}",
            position=position,
            kind=kind,
            role=role,
            label={"en": "ü" * 300},
            recall={"en": "x" * 500},
            minimum=minimum,
            decimals=1 if role else 0,
            options=choices if kind == "single" else [],
        )
    studies.publish(version=version, now=timezone.now(), actor=COMMAND)


def a_hard_study(minimum: int = 0) -> Study:
    """Guarded, long and foreign texts, negative numbers, answers without a value, late ones."""
    study = make_study(decimals=1)
    add_questionnaire(study, minimum)
    for number, code in enumerate(["=1+1", "'=2", "'plain", 'say "x", y', "été\nß", "P1"]):
        participant = add_participant(study, code)
        prompts = [add_prompt(participant, place) for place in range(6)]
        respond(prompts[0], 304 + number, 120 + 5 * minimum * number)
        respond(prompts[1], None, 7, after=timedelta(microseconds=1234567))
        respond(prompts[2], 10, None, after=timedelta(minutes=45), flags=["after_expiry"])
        Prompt.objects.filter(pk=prompts[3].pk).update(inclusion_probability=4 / 840, sent_at=None)
        UrineTest.objects.create(participant=participant, due_on=date(2026, 3, 2 + number))
        AdverseEvent.objects.create(
            participant=participant,
            term=f"{code} felt",
            severity="mild",
            relatedness="possible",
            started_on=date(2026, 3, 2 + number),
            reported_at=timezone.now(),
        )
    Response.objects.update(answers=[{"item": "stress", "value": 30.4, "rt_ms": 1.5}])
    estimate_couplings(timezone.now())
    return study


@pytest.fixture
def package() -> Path:
    return build_snapshot(request(a_hard_study())).directory


def request(study: Study) -> Snapshot:
    return request_snapshot(study, COMMAND, "masked", timezone.now(), formats=list(FORMATS))


def columns_of(name: str) -> list[Column]:
    scope = Scope(Study.objects.get(), "masked", timezone.now())
    return list(next(table for table in TABLES if table.name == name).columns(scope))


def expected(package: Path, name: str) -> Iterator[dict[str, Any]]:
    """The cells of the CSV as values, as Python's own reader sees them."""
    kinds = {column.name: column.kind for column in columns_of(name)}
    with (package / f"data/{name}.csv").open(newline="") as file:
        for row in csv.DictReader(file):
            yield {key: value_of(cell, kinds[key]) for key, cell in row.items()}


def value_of(cell: str, kind: str) -> Any:
    if cell == "":
        return None
    if kind in (INSTANT, LOCAL):
        return datetime.fromisoformat(cell)
    if kind == DAY:
        return date.fromisoformat(cell)
    if kind == TEXT:
        return unguarded(cell)
    return {WHOLE: int, NUMBER: float}.get(kind, str)(cell)


def test_parquet_holds_the_cells_of_the_csv(package: Path) -> None:
    for name in NAMES:
        read = pyarrow.parquet.read_table(package / f"data/{name}.parquet")
        assert read.to_pylist() == list(expected(package, name))
        meanings = [field.metadata[b"meaning"].decode() for field in read.schema]
        assert meanings == [column.meaning for column in columns_of(name)]


def test_ndjson_holds_the_cells_of_the_csv(package: Path) -> None:
    for name in NAMES:
        assert rows_of_ndjson(package, name) == list(expected(package, name))


def rows_of_ndjson(package: Path, name: str) -> list[dict[str, Any]]:
    kinds = {column.name: column.kind for column in columns_of(name)}
    rows = []
    for line in (package / f"data/{name}.ndjson").read_text().splitlines():
        row = json.loads(line)
        times = {key for key in row if kinds[key] in (INSTANT, LOCAL, DAY) and row[key] is not None}
        rows.append({k: value_of(v, kinds[k]) if k in times else v for k, v in row.items()})
    return rows


def test_spss_and_stata_hold_the_cells_of_the_csv(package: Path) -> None:
    for name in NAMES:
        for kind in ("sav", "dta"):
            has_the_cells(package, name, kind)


def has_the_cells(package: Path, name: str, kind: str) -> None:
    read: Any = {"sav": pyreadstat.read_sav, "dta": pyreadstat.read_dta}[kind]
    frame, meta = read(package / f"data/{name}.{kind}", output_format="dict")
    rows = list(expected(package, name))
    assert list(frame) == [column.name for column in columns_of(name)]
    assert meta.number_rows == len(rows)
    for column in columns_of(name):
        for got, row in zip(frame[column.name], rows, strict=True):
            assert alike(got, row[column.name], kind), (column.name, got, row[column.name])


def alike(got: Any, wanted: Any, kind: str) -> bool:
    """Empty is empty. Instants are doubles: good to two microseconds in SPSS, to one in Stata."""
    if wanted is None:
        return bool(got is None or got == "" or got != got)
    if isinstance(wanted, datetime):
        off = abs(got.replace(tzinfo=wanted.tzinfo) - wanted)
        return bool(off <= timedelta(microseconds=2 if kind == "sav" else 1))
    return bool(got == wanted)


def test_why_a_value_is_missing_is_kept(package: Path) -> None:
    spss, meta = pyreadstat.read_sav(
        package / "data/prompts.sav", user_missing=True, output_format="dict"
    )
    assert [*spss["stress"][:4]] == [30.5, -9, 1, -8]
    assert meta.variable_value_labels["stress"] == {
        -9: "the prompt was answered, the item was not",
        -8: "the prompt was not answered",
    }
    stata, meta = pyreadstat.read_dta(
        package / "data/prompts.dta", user_missing=True, output_format="dict"
    )
    assert [*stata["stress"][:4]] == [30.5, "b", 1, "a"]
    labels = meta.variable_value_labels["stress"]
    assert sorted(labels.values()) == sorted(
        ["the prompt was answered, the item was not", "the prompt was not answered"]
    )


def test_an_item_that_may_be_that_low_keeps_its_numbers() -> None:
    study = a_hard_study(minimum=-10)
    directory = build_snapshot(request(study)).directory
    spss, meta = pyreadstat.read_sav(
        directory / "data/prompts.sav", user_missing=True, output_format="dict"
    )
    assert -8.0 in [*spss["craving"]]  # 120 - 50 * 4, with one decimal
    assert meta.missing_ranges.keys() == {"stress", "pain"}


def test_labels_of_values_are_kept(package: Path) -> None:
    for read, kind in ((pyreadstat.read_sav, "sav"), (pyreadstat.read_dta, "dta")):
        _, meta = read(package / f"data/urine.{kind}")
        assert meta.variable_value_labels["lapse"] == {0: "negative", 1: "positive or missed"}
        assert "1 positive or missed" in str(meta.column_names_to_labels["lapse"])


READ_BY_HAVEN = """
library(haven)
options(digits.secs = 6)
shown <- function(x) {
  if (inherits(x, "POSIXct")) return(ifelse(is.na(x), "", sprintf("%.6f", as.numeric(x))))
  if (inherits(x, "Date")) return(ifelse(is.na(x), "", as.character(x)))
  if (is.numeric(x)) return(ifelse(is.na(x), "", sprintf("%.17g", as.numeric(x))))
  ifelse(is.na(x), "", as.character(x))
}
for (name in commandArgs(TRUE)) for (kind in c("sav", "dta")) {
  read <- list(sav = read_sav, dta = read_dta)[[kind]]
  d <- as.data.frame(lapply(read(sprintf("data/%s.%s", name, kind)), shown))
  write.csv(d, sprintf("%s.%s.csv", name, kind), row.names = FALSE, fileEncoding = "UTF-8")
}
zone <- attr(read_sav("data/prompts.sav")$scheduled_at_utc, "tzone")
stress <- read_sav("data/prompts.sav", user_na = TRUE)$stress
tag <- na_tag(read_dta("data/prompts.dta")$stress[4])
cat(zone, tag, stress[4], names(attr(stress, "labels")), sep = "\\n")
"""


@pytest.mark.skipif(not HAVEN, reason="R with haven is not here: apt-get install r-cran-haven")
def test_r_reads_the_cells_of_the_csv_with_haven(package: Path) -> None:
    script = package.parent / "read.R"
    script.write_text(READ_BY_HAVEN)
    done = subprocess.run(
        ["Rscript", str(script), *NAMES], cwd=package, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [
        *["UTC", "a", "-8", "the prompt was answered, the item was not"],
        "the prompt was not answered",
    ]
    for name in NAMES:
        for kind in ("sav", "dta"):
            with (package / f"{name}.{kind}.csv").open(newline="") as file:
                got = list(csv.DictReader(file))
            for cells, row in zip(got, expected(package, name), strict=True):
                assert cells.keys() == row.keys()
                for column, value in row.items():
                    assert r_shows(cells[column], value, kind), (column, cells[column], value)


def r_shows(cell: str, wanted: Any, kind: str) -> bool:
    if wanted is None:
        return cell == ""
    if isinstance(wanted, datetime):
        return alike(datetime.fromtimestamp(float(cell), UTC), wanted.replace(tzinfo=UTC), kind)
    return bool(as_number(cell) == as_number(str(wanted)))


def as_number(cell: str) -> Any:
    return float(cell) if re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", cell) else cell


def test_the_same_snapshot_has_the_same_bytes_in_another_process(tmp_path: Path) -> None:
    snapshot = request(a_hard_study())
    first = build_snapshot(snapshot)
    kept = {name: (first.directory / name).read_bytes() for name in first.files}
    shutil.rmtree(first.directory)
    again = in_another_process(snapshot, tmp_path / "snapshots")
    assert again == 0
    built = directory_of(snapshot)
    assert {name: (built / name).read_bytes() for name in kept} == kept
    assert (built / "data/prompts.sav").read_bytes()[92:109] == b"01 Jan 7000:00:00"
    assert (
        b"<timestamp>\x1101 Jan 1970 00:00</timestamp>" in (built / "data/prompts.dta").read_bytes()
    )


BUILD = """
import sys, django
django.setup()
from django.conf import settings
from django.db import connection
settings.SNAPSHOT_DIR = sys.argv[2]
connection.settings_dict["NAME"] = sys.argv[3]
from analytics.datasets.building import build_snapshot
from analytics.models import Snapshot
build_snapshot(Snapshot.objects.select_related("study").get(pk=sys.argv[1]))
"""


def in_another_process(snapshot: Snapshot, place: Path) -> int:
    from django.db import connection

    name = connection.settings_dict["NAME"]
    command = [sys.executable, "-c", BUILD, str(snapshot.pk), str(place), name]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.returncode


COLUMN_OF_DATASET_JSON = {"itemOID", "name", "label", "dataType"}
DATASET_JSON = {
    *["datasetJSONCreationDateTime", "datasetJSONVersion", "fileOID", "dbLastModifiedDateTime"],
    *["originator", "sourceSystem", "studyOID", "metaDataVersionOID", "itemGroupOID", "records"],
    *["name", "label", "columns", "rows"],
}


def test_dataset_json_has_the_structure_of_1_1(package: Path) -> None:
    """CDISC's JSON Schema is in no package that can be installed: these are its rules in words."""
    for name in (*NAMES, "qs", "ae"):
        has_the_structure(package, name)


def has_the_structure(package: Path, name: str) -> None:
    read = json.loads((package / f"data/{name}.json").read_text())
    assert set(read) == DATASET_JSON
    assert read["datasetJSONVersion"] == "1.1.0"
    assert datetime.fromisoformat(read["datasetJSONCreationDateTime"])
    assert read["records"] == len(read["rows"])
    assert set(read["sourceSystem"]) == {"name", "version"}
    known: dict[str, Any] = {
        "string": str,
        "integer": int,
        "double": (int, float),
        "datetime": str,
        "date": str,
    }
    for place, column in enumerate(read["columns"]):
        assert COLUMN_OF_DATASET_JSON <= set(column) <= COLUMN_OF_DATASET_JSON | {"keySequence"}
        cells = [row[place] for row in read["rows"] if row[place] is not None]
        assert all(isinstance(cell, known[column["dataType"]]) for cell in cells), column["name"]
    assert all(len(row) == len(read["columns"]) for row in read["rows"])
    keys = sorted(one["keySequence"] for one in read["columns"] if "keySequence" in one)
    assert keys == list(range(1, len(keys) + 1))
    places = [p for p, column in enumerate(read["columns"]) if "keySequence" in column]
    assert len({tuple(row[place] for place in places) for row in read["rows"]}) == read["records"]
    if name in NAMES:
        assert len(read["rows"]) == len(list(expected(package, name)))


def test_the_domain_qs_has_every_answer_and_every_prompt_without_one(package: Path) -> None:
    read = json.loads((package / "data/qs.json").read_text())
    names = [column["name"] for column in read["columns"]]
    rows = [dict(zip(names, row, strict=True)) for row in read["rows"]]
    answers = list(expected(package, "responses"))
    missed = [
        row for row in expected(package, "prompts") if not row["status"].startswith("answered")
    ]
    assert len(rows) == len(answers) + len(missed) == 18 + 18
    assert {row["QSTESTCD"] for row in rows} == {"STRESS", "QSALL"}
    for row in rows:
        assert re.fullmatch(r"[A-Z][A-Z0-9]{0,7}", row["QSTESTCD"])
        assert len(row["QSTEST"]) <= 40
        assert (row["QSSTAT"] == "NOT DONE") == (row["QSORRES"] is None)
        assert row["QSSTRESN"] == (None if row["QSORRES"] is None else float(row["QSORRES"]))
    first = [row for row in rows if row["USUBJID"] == rows[0]["USUBJID"]]
    assert [row["QSSEQ"] for row in first] == [1, 2, 3, 4, 5, 6]
    assert [row["QSDTC"] for row in first] == sorted(row["QSDTC"] for row in first)


def test_odm_refers_only_to_what_it_defines(package: Path) -> None:
    """The XML schema of ODM is in no package that can be installed: these are its references."""
    space = "{http://www.cdisc.org/ns/odm/v1.3}"
    root = ET.fromstring((package / "data/study.odm.xml").read_bytes())  # noqa: S314 - our own
    assert (root.tag, root.get("ODMVersion"), root.get("FileType")) == (
        *[f"{space}ODM", "1.3.2", "Snapshot"],
    )
    for kind in ("StudyEvent", "Form", "ItemGroup", "Item"):
        defined = {one.get("OID") for one in root.iter(f"{space}{kind}Def")}
        for use in (f"{kind}Ref", f"{kind}Data"):
            used = {one.get(f"{kind}OID") for one in root.iter(f"{space}{use}")}
            assert used == defined if use == f"{kind}Ref" else used <= defined
    answers = [one for one in root.iter(f"{space}ItemData") if ".adverse_" not in oid(one)]
    assert [one.get("Value") for one in answers] == ["30.4"] * 18
    told = {oid(one): one.get("Value") for one in root.iter(f"{space}ItemData")}
    assert told["I.adverse_event.severity"] == "mild"
    lists = {one.get("OID") for one in root.iter(f"{space}CodeList")}
    assert {one.get("CodeListOID") for one in root.iter(f"{space}CodeListRef")} == lists
    people = [one.get("SubjectKey") for one in root.iter(f"{space}SubjectData")]
    assert people == sorted({row["participant_id"] for row in expected(package, "responses")})


def oid(item: ET.Element) -> str:
    return item.get("ItemOID") or ""


def test_an_unknown_format_is_refused_in_words() -> None:
    study = a_hard_study()
    with pytest.raises(SnapshotRefused, match=r"There is no format xlsx\. There are: csv, parquet"):
        request_snapshot(study, COMMAND, "masked", timezone.now(), formats=["csv", "xlsx"])
    assert not Snapshot.objects.exists()


def test_the_formats_asked_for_are_built_and_no_others() -> None:
    study = a_hard_study()
    now = timezone.now()
    first = request_snapshot(study, COMMAND, "masked", now, formats=["ndjson", "CSV"])
    other = request_snapshot(study, COMMAND, "masked", now, formats=["odm"])
    assert first.pk != other.pk
    kinds = {name.rpartition(".")[2] for name in build_snapshot(first).files if "data/" in name}
    assert kinds == {"csv", "ndjson"}
