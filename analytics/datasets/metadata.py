"""What explains a package to people and programs: codebook, Frictionless, Psych-DS, openESM.

Everything here is made from the tables' own columns, so nothing can be described that is not there.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from analytics.datasets.about import About
from analytics.datasets.columns import DAY, INSTANT, LOCAL, NUMBER, WHOLE, Column
from analytics.datasets.draft import File
from analytics.datasets.reading import Written, named_cells

TYPES = {
    INSTANT: {"type": "datetime", "format": "%Y-%m-%dT%H:%M:%S.%fZ"},
    LOCAL: {"type": "datetime", "format": "%Y-%m-%dT%H:%M:%S.%f"},
    DAY: {"type": "date"},
    WHOLE: {"type": "integer"},
    NUMBER: {"type": "number"},
}
HOME = "participants"  # the table whose participants all others refer to


def codebook(tables: Sequence[Written]) -> str:
    """One line per column of every table, as CSV."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["table", "column", "type", "meaning", "labels"])
    for table in tables:
        for column in table.columns:
            meaning = [table.name, column.name, column.kind, column.meaning, _labels(column)]
            writer.writerow(meaning)
    return text.getvalue()


def _labels(column: Column) -> str:
    return "|".join(f"{value}={label}" for value, label in column.labels.items())


def codebook_page(tables: Sequence[Written], about: About) -> str:
    """The codebook to read: one page that needs nothing else."""
    parts = "".join(_section(table) for table in tables)
    contents = "".join(f'<li><a href="#{t.name}">{t.name}</a>: {t.row}</li>' for t in tables)
    title = escape(f"Codebook: {about.title}")
    return PAGE.format(title=title, name=escape(about.name), contents=contents, parts=parts)


PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1"><title>{title}</title><style>
body {{ font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem;
color: #1d2330; background: #fff; }}
table {{ border-collapse: collapse; width: 100%; }}
th, td {{ text-align: left; vertical-align: top; padding: .3rem .6rem;
border-bottom: 1px solid #d6dae3; }}
th[scope=row] {{ font-family: ui-monospace, monospace; font-weight: 600; }}
</style></head><body><h1>{title}</h1><p>Package <code>{name}</code>. An empty cell is a missing
value.</p><ul>{contents}</ul>
{parts}</body></html>
"""


def _section(table: Written) -> str:
    rows = "".join(
        f'<tr><th scope="row">{column.name}</th><td>{column.kind}</td>'
        f"<td>{escape(column.meaning)}{_listed(column)}</td></tr>\n"
        for column in table.columns
    )
    head = (
        '<tr><th scope="col">column</th><th scope="col">type</th><th scope="col">meaning</th></tr>'
    )
    return (
        f'<h2 id="{table.name}">{table.name}</h2><p>One row per {escape(table.row)}; '
        f"{table.rows} rows.</p>\n<table><thead>{head}</thead><tbody>\n{rows}</tbody></table>\n"
    )


def _listed(column: Column) -> str:
    items = "".join(
        f"<li><code>{escape(value)}</code> {escape(label)}</li>"
        for value, label in column.labels.items()
    )
    return f"<ul>{items}</ul>" if items else ""


def data_package(tables: Sequence[Written], files: Mapping[str, File], about: About) -> str:
    """`datapackage.json` of Frictionless Data: every table with its schema, size and hash."""
    described = {
        "profile": "tabular-data-package",
        "name": about.name.lower(),
        "id": about.identity,
        "title": about.title,
        "description": f"A snapshot of the study {about.study}.",
        "created": f"{about.moment:%Y-%m-%dT%H:%M:%SZ}",
        "resources": [_resource(table, files[f"data/{table.name}.csv"]) for table in tables],
    }
    return _json(described)


def _resource(table: Written, file: File) -> dict[str, Any]:
    schema: dict[str, Any] = {
        "fields": [_field(column) for column in table.columns],
        "missingValues": [""],
        "primaryKey": list(table.key),
    }
    if table.name != HOME and table.key[0] == "participant_id":
        reference = {"resource": HOME, "fields": "participant_id"}
        schema["foreignKeys"] = [{"fields": "participant_id", "reference": reference}]
    return {
        "profile": "tabular-data-resource",
        "name": table.name,
        "path": f"data/{table.name}.csv",
        "title": f"One row per {table.row}",
        "format": "csv",
        "mediatype": "text/csv",
        "encoding": "utf-8",
        "bytes": file.size,
        "hash": f"sha256:{file.sha256}",
        "schema": schema,
    }


def _field(column: Column) -> dict[str, Any]:
    described: dict[str, Any] = {"name": column.name, "description": column.meaning}
    described |= TYPES.get(column.kind, {"type": "string"})
    if column.labels and column.kind == WHOLE:
        described["constraints"] = {"enum": [int(value) for value in column.labels]}
    return described


def dataset_description(tables: Sequence[Written], about: About) -> str:
    """`dataset_description.json` as Psych-DS asks for it: schema.org's Dataset in JSON-LD."""
    columns = {column.name: column for table in tables for column in table.columns}
    described = {
        "@context": "https://schema.org/",
        "@type": "Dataset",
        "name": about.title,
        "description": f"A snapshot of the study {about.study}: ecological momentary assessment.",
        "identifier": about.identity,
        "dateCreated": f"{about.moment:%Y-%m-%d}",
        "variableMeasured": [
            {"@type": "PropertyValue", "name": name, "description": column.meaning}
            for name, column in columns.items()
        ],
        "distribution": [
            {
                "@type": "DataDownload",
                "contentUrl": f"data/{table.name}.csv",
                "encodingFormat": "text/csv",
            }
            for table in tables
        ],
    }
    return _json(described)


def open_esm(tables: Sequence[Written], about: About) -> str:
    """`openesm_metadata.json`: what was asked, item by item, and how much of it there is."""
    by_name = {table.name: table for table in tables}
    described = {
        "dataset_id": about.name,
        "title": about.title,
        "n_participants": by_name["participants"].rows,
        "n_time_points": by_name["prompts"].rows,
        "identifiers": {"participant": "id", "day": "day", "beep": "beep"},
        "features": [_feature(row) for row in named_cells(by_name["items"])],
    }
    return _json(described)


def _feature(row: Mapping[str, str | None]) -> dict[str, Any]:
    return {
        "name": row["item"],
        "questionnaire": row["questionnaire"],
        "version": int(row["version"] or 0),
        "variable_type": row["kind"],
        "construct": row["role"],
        "wording": row["label"],
        "language": row["language"],
        "recall_window": row["recall"],
        "range": [float(row[end] or 0) if row[end] else None for end in ("minimum", "maximum")],
        "labels": [row["low_label"], row["high_label"]],
        "coding": row["choices"],
        "unit": row["unit"],
    }


def _json(content: Any) -> str:
    return f"{json.dumps(content, indent=2, ensure_ascii=False)}\n"


def sums(files: Mapping[str, File]) -> Iterable[bytes]:
    """`SHA256SUMS`, as sha256sum reads it."""
    return (f"{file.sha256}  {name}\n".encode() for name, file in sorted(files.items()))
