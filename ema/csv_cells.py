"""CSV as spreadsheets may open it: no cell is run as a formula."""

import csv
from collections.abc import Iterable, Sequence
from typing import Any

from django.http import HttpResponse

FORMULA = tuple("=+-@\t\r\n＝＋－＠")


def guarded(cell: Any) -> Any:
    """A text that a spreadsheet would take for a formula gets an apostrophe in front.

    So does one that has apostrophes there already: taking one off is then always right.
    """
    is_formula = isinstance(cell, str) and cell.lstrip("'").startswith(FORMULA)
    return f"'{cell}" if is_formula else cell


def csv_file(name: str, head: Sequence[str], rows: Iterable[Sequence[Any]]) -> HttpResponse:
    """A download of `name`.csv; None is an empty cell."""
    answer = HttpResponse(
        content_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": f'attachment; filename="{name}.csv"'},
    )
    writer = csv.writer(answer, lineterminator="\n")
    writer.writerow(head)
    writer.writerows([guarded(cell) for cell in row] for row in rows)
    return answer
