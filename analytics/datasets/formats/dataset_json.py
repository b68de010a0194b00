"""CDISC Dataset-JSON 1.1: every table, and once more the answers and the adverse events as the
domains QS and AE of SDTM.

A dataset is one JSON object: metadata, columns, rows as arrays; it is written row by row.
"""

import heapq
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from analytics.datasets.about import About
from analytics.datasets.columns import DAY, INSTANT, LOCAL, NUMBER, WHOLE, Column
from analytics.datasets.draft import Draft
from analytics.datasets.formats import ae
from analytics.datasets.formats.ndjson import value
from analytics.datasets.reading import Cells, Written, cells, named_cells

VERSION = "1.1.0"
TYPES = {INSTANT: "datetime", LOCAL: "datetime", DAY: "date", WHOLE: "integer", NUMBER: "double"}


def write(draft: Draft, tables: Sequence[Written], about: About) -> None:
    for table in tables:
        columns = [_column(table.name, column, table.key) for column in table.columns]
        described = _dataset(about, table.name, table.row, columns, table.rows)
        plain = [column.kind in (WHOLE, NUMBER) for column in table.columns]
        rows = (_row(row, plain) for row in cells(table))
        draft.write(f"data/{table.name}.json", _whole(described, rows))
    by_name = {table.name: table for table in tables}
    draft.write("data/qs.json", _qs(about, by_name))
    draft.write("data/ae.json", _ae(about, by_name["adverse_events"]))


def _column(table: str, column: Column, key: Sequence[str]) -> dict[str, Any]:
    described: dict[str, Any] = {
        "itemOID": f"IT.{table}.{column.name}",
        "name": column.name,
        "label": column.meaning,
        "dataType": TYPES.get(column.kind, "string"),
    }
    if column.name in key:
        described["keySequence"] = key.index(column.name) + 1
    return described


def _dataset(
    about: About, name: str, label: str, columns: list[dict[str, Any]], rows: int
) -> dict[str, Any]:
    return {
        "datasetJSONCreationDateTime": f"{about.moment:%Y-%m-%dT%H:%M:%S}",
        "datasetJSONVersion": VERSION,
        "fileOID": f"fourbeat.{about.study}.{about.identity}.{name}",
        "dbLastModifiedDateTime": f"{about.moment:%Y-%m-%dT%H:%M:%S}",
        "originator": about.software.partition(" ")[0],
        "sourceSystem": dict(zip(("name", "version"), about.software.split(" ", 1), strict=True)),
        "studyOID": f"fourbeat.{about.study}",
        "metaDataVersionOID": f"fourbeat.{about.study}.{about.identity}",
        "itemGroupOID": f"IG.{name}",
        "records": rows,
        "name": name,
        "label": label,
        "columns": columns,
    }


def _row(row: Cells, plain: Sequence[bool]) -> bytes:
    return b"[" + b",".join(value(c, bare) for c, bare in zip(row, plain, strict=True)) + b"]"


def _whole(described: Mapping[str, Any], rows: Iterable[bytes]) -> Iterator[bytes]:
    yield msgspec.json.encode(described)[:-1] + b',"rows":['
    comma = b"\n"
    for row in rows:
        yield comma + row
        comma = b",\n"
    yield b"\n]}\n"


QS = {  # name: label, type
    "STUDYID": ("Study Identifier", "string"),
    "DOMAIN": ("Domain Abbreviation", "string"),
    "USUBJID": ("Unique Subject Identifier", "string"),
    "QSSEQ": ("Sequence Number", "integer"),
    "QSSPID": ("Sponsor-Defined Identifier", "string"),
    "QSTESTCD": ("Question Short Name", "string"),
    "QSTEST": ("Question Name", "string"),
    "QSCAT": ("Category of Question", "string"),
    "QSORRES": ("Finding in Original Units", "string"),
    "QSSTRESC": ("Character Result/Finding in Std Format", "string"),
    "QSSTRESN": ("Numeric Finding in Standard Units", "double"),
    "QSSTAT": ("Completion Status", "string"),
    "QSREASND": ("Reason Not Performed", "string"),
    "QSDTC": ("Date/Time of Finding", "string"),
}
QS_KEY = ("STUDYID", "USUBJID", "QSSEQ")
ALL = "QSALL"  # stands for all questions of a prompt that nobody answered
ANSWERED = ("answered", "answered_late")
NUMERIC = re.compile(r"-?\d+(\.\d+)?")


class Finding(NamedTuple):
    """A row of QS but for its number."""

    participant: str
    at: str
    identity: str | None
    code: str
    test: str
    category: str | None
    result: str | None
    reason: str | None

    @property
    def order(self) -> tuple[str, str]:
        return self.participant, self.at


def _variables(
    domain: str, variables: Mapping[str, tuple[str, str]], key: Sequence[str]
) -> list[dict[str, Any]]:
    """The columns of a domain."""
    columns: list[dict[str, Any]] = []
    for name, (label, kind) in variables.items():
        column: dict[str, Any] = {"itemOID": f"IT.{domain}.{name}", "name": name, "label": label}
        column["dataType"] = kind
        if name in key:
            column["keySequence"] = key.index(name) + 1
        columns.append(column)
    return columns


def _ae(about: About, table: Written) -> Iterator[bytes]:
    columns = _variables("AE", ae.VARIABLES, ae.KEY)
    described = _dataset(about, "AE", ae.LABEL, columns, table.rows)
    return _whole(described, (msgspec.json.encode(row) for row in ae.rows(about.study, table)))


def _qs(about: About, tables: Mapping[str, Written]) -> Iterator[bytes]:
    columns = _variables("QS", QS, QS_KEY)
    records = tables["responses"].rows + sum(1 for _ in _unanswered(tables["prompts"]))
    described = _dataset(about, "QS", "Questionnaires", columns, records)
    return _whole(described, (msgspec.json.encode(row) for row in _findings(about, tables)))


def _findings(about: About, tables: Mapping[str, Written]) -> Iterator[list[Any]]:
    number, last = 0, ""
    both = heapq.merge(
        _answers(tables), _unanswered(tables["prompts"]), key=lambda finding: finding.order
    )
    for one in both:
        number = number + 1 if one.participant == last else 1
        last = one.participant
        numeric = float(one.result) if one.result and NUMERIC.fullmatch(one.result) else None
        yield [
            *[about.study, "QS", f"{about.study}-{one.participant}", number, one.identity],
            *[one.code, one.test, one.category, one.result, one.result, numeric],
            *["NOT DONE" if one.result is None else None, one.reason, one.at or None],
        ]


def _answers(tables: Mapping[str, Written]) -> Iterator[Finding]:
    table = tables["responses"]
    at, names = _instant(table), _tests(tables["items"])
    for row in named_cells(table):
        item = row["item"] or ""
        code, test = names.get((row["questionnaire"], item), (ALL, item))
        given = row["value"]
        skipped = row["skip_reason"] or ("not shown in tables" if row["answered"] == "1" else None)
        yield Finding(
            participant=row["participant_id"] or "",
            at=row[at] or "" if at else "",
            identity=row["response_id"],
            code=code,
            test=test,
            category=row["questionnaire"],
            result=given,
            reason=None if given is not None else skipped,
        )


def _unanswered(table: Written) -> Iterator[Finding]:
    at = _instant(table)
    for row in named_cells(table):
        if row["status"] not in ANSWERED:
            yield Finding(
                participant=row["participant_id"] or "",
                at=row[at] or "" if at else "",
                identity=row["prompt_id"],
                code=ALL,
                test="Questionnaire",
                category=None,
                result=None,
                reason=" ".join(filter(None, (row["status"], row["missing_reason"]))),
            )


def _instant(table: Written) -> str | None:
    """The table's first column of instants or local times."""
    return next((c.name for c in table.columns if c.kind in (INSTANT, LOCAL)), None)


def _tests(items: Written) -> dict[tuple[str | None, str], tuple[str, str]]:
    """Short and long name of every question: eight letters or digits, forty characters."""
    found: dict[tuple[str | None, str], tuple[str, str]] = {}
    codes: dict[str, str] = {}
    for row in named_cells(items):
        item = row["item"] or ""
        if item not in codes:
            codes[item] = _short(item, set(codes.values()))
        found[row["questionnaire"], item] = (codes[item], (row["label"] or item)[:40])
    return found


def _short(item: str, taken: set[str]) -> str:
    plain = re.sub(r"[^A-Z0-9]", "", item.upper()) or "Q"
    code = plain[:8] if plain[0].isalpha() else f"Q{plain}"[:8]
    number = 2
    while code in taken or code == ALL:
        code, number = f"{plain[: 8 - len(str(number))]}{number}", number + 1
    return code
