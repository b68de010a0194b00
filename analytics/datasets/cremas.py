"""`CREMAS.md`: the reporting numbers of a snapshot, counted from its own tables."""

from collections.abc import Mapping, Sequence
from typing import Any

from analytics.cremas import Cremas, Tally, markdown, report_of
from analytics.datasets.reading import Written, named_cells


def report(tables: Sequence[Written], schedule: Mapping[str, Any]) -> str:
    """The report as Markdown. `schedule` is what the seed gives, as in provenance.json."""
    found = numbers(tables)
    total, rows = sum(found.ledger.values()), _named(tables)["prompts"].rows
    balance = f"`data/prompts.csv` has {rows} rows: the ledger {_balances(total, rows)}."
    return markdown(found, ["", balance, "", _recomputed(schedule)])


def numbers(tables: Sequence[Written]) -> Cremas:
    by_name, tally = _named(tables), Tally()
    for row in named_cells(by_name["prompts"]):
        status = row["status"] or ""
        tally.add(status, row["missing_reason"], day=int(row["study_day"] or 0), hour=_hour(row))
        if row["latency_s"] and status == "answered":
            tally.latencies[int(float(row["latency_s"]))] += 1
    people = by_name["participants"]
    tally.enrolled = people.rows
    for row in named_cells(people):
        if row["withdrawn_study_day"]:
            tally.leave(int(row["withdrawn_study_day"]))
    return report_of(tally)


def _named(tables: Sequence[Written]) -> dict[str, Written]:
    return {table.name: table for table in tables}


def _balances(total: int, rows: int) -> str:
    return "balances" if total == rows else "does not balance"


def _recomputed(schedule: Mapping[str, Any]) -> str:
    if not schedule["recomputed"]:
        return f"The schedule was not recomputed from a seed: {schedule['because']}."
    return (
        f"Recomputed from the study's seed: {schedule['drawn']} drawn, {schedule['superseded']} "
        f"superseded by another schedule, {schedule['imported']} brought in: "
        f"{schedule['expected']} in all; {schedule['missing']} are missing in the table, "
        f"{schedule['extra']} are not of the seed, {schedule['otherwise']} differ otherwise."
    )


def _hour(row: Mapping[str, str | None]) -> int:
    """By the participant's clock."""
    if cell := row.get("scheduled_time"):
        return int(cell[:2])
    return int((row["scheduled_local"] or "0000-00-00T00")[11:13])
