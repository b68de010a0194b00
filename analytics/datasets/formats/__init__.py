"""Formats beside CSV: each writes the tables again from their CSV, row by row or in batches."""

from collections.abc import Callable, Sequence
from importlib import import_module
from importlib.util import find_spec
from typing import NamedTuple

from analytics.datasets.about import About
from analytics.datasets.draft import Draft
from analytics.datasets.reading import Written

CSV = "csv"


class Format(NamedTuple):
    """What it is, the module that writes it, whether that needs pyarrow."""

    title: str
    module: str
    in_batches: bool


FORMATS = {
    "parquet": Format("Parquet, for R, Python and data bases", "parquet", True),
    "sav": Format("SPSS (.sav)", "sav", True),
    "dta": Format("Stata (.dta)", "dta", True),
    "ndjson": Format("NDJSON, a JSON object a line", "ndjson", False),
    "dataset-json": Format(
        "CDISC Dataset-JSON 1.1, with the domains QS and AE", "dataset_json", False
    ),
    "odm": Format("CDISC ODM 1.3.2", "odm", False),
}


class UnknownFormat(ValueError):
    """There is no such format, or it cannot be written here; the message says what to do."""


def chosen(names: Sequence[str]) -> list[str]:
    """The formats beside CSV, in a fixed order. Raises UnknownFormat."""
    wanted = {name.strip().lower() for name in names} - {CSV, ""}
    if unknown := sorted(wanted - set(FORMATS)):
        known = ", ".join((CSV, *FORMATS))
        raise UnknownFormat(f"There is no format {', '.join(unknown)}. There are: {known}.")
    found = [name for name in FORMATS if name in wanted]
    lacking = [name for name in found if FORMATS[name].in_batches]
    if lacking and find_spec("pyarrow") is None:
        raise UnknownFormat(
            f"Writing {', '.join(lacking)} needs pyarrow: install the extra `formats`."
        )
    return found


def write(name: str, draft: Draft, tables: Sequence[Written], about: About) -> None:
    """Write all tables in one format."""
    module = import_module(f"analytics.datasets.formats.{FORMATS[name].module}")
    writer: Callable[[Draft, Sequence[Written], About], None] = module.write
    writer(draft, tables, about)
