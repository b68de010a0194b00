"""`CREMAS.md`: what the checklist for reporting EMA studies asks for, in numbers.

Prompts planned, delivered and answered, the ledger, why others were not, latency, compliance by
study day, week and time of day, and who left when. Never what was answered, and nothing about arms.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from analytics.datasets.reading import Written, named_cells
from ema.prompt_state import ENDS, STAGES

ANSWERED = ("answered", "answered_late")
REACHED = (*ANSWERED, "missed", "opened", "shown", "sent", "armed")
Counts = Counter[str]


class Tally:
    """Prompts counted by what they are asked for; seconds of latency as whole ones."""

    def __init__(self) -> None:
        self.all = Counts()
        self.by_day: defaultdict[int, Counts] = defaultdict(Counter)
        self.by_hour: defaultdict[int, Counts] = defaultdict(Counter)
        self.reasons, self.latencies = Counts(), Counter[int]()

    def add(self, row: Mapping[str, str | None]) -> None:
        status = row["status"] or ""
        for counts in (self.all, self.by_day[int(row["study_day"] or 0)], self.by_hour[_hour(row)]):
            counts[status] += 1
        if row["missing_reason"]:
            self.reasons[f"{status}: {row['missing_reason']}"] += 1
        if row["latency_s"] and status == "answered":
            self.latencies[int(float(row["latency_s"]))] += 1


def report(tables: Sequence[Written], schedule: Mapping[str, Any]) -> str:
    """The report as Markdown. `schedule` is what the seed gives, as in provenance.json."""
    by_name = {table.name: table for table in tables}
    tally = Tally()
    for row in named_cells(by_name["prompts"]):
        tally.add(row)
    weeks: defaultdict[int, Counts] = defaultdict(Counter)
    for day, counts in tally.by_day.items():
        weeks[(day - 1) // 7 + 1].update(counts)
    hours = {f"{hour:02}:00": counts for hour, counts in sorted(tally.by_hour.items())}
    return "\n".join(
        [
            *["# Reporting numbers (CREMAS)", "", "Planned are prompts without cancelled ones;"],
            *["compliance is answered before expiry ÷ planned of those that have ended.", ""],
            *_compliance("", {"all": tally.all}),
            *["", "## Ledger", "", *_ledger(tally, by_name["prompts"].rows)],
            *["", _recomputed(schedule)],
            *[
                "",
                "## Not answered or delivered, by reason",
                "",
                "| reason | prompts |",
                "|---|---|",
            ],
            *(f"| {reason} | {count} |" for reason, count in sorted(tally.reasons.items())),
            *["", "## Latency of answers in time", "", _quartiles(tally.latencies)],
            *["", "## By study week", "", *_compliance("week", _sorted(weeks))],
            *["", "## By time of day", "", *_compliance("from", hours)],
            *["", "## By study day", "", *_compliance("day", _sorted(tally.by_day))],
            *["", "## Attrition", "", *_attrition(by_name["participants"])],
            "",
        ]
    )


def _hour(row: Mapping[str, str | None]) -> int:
    """By the participant's clock."""
    if cell := row.get("scheduled_time"):
        return int(cell[:2])
    return int((row["scheduled_local"] or "0000-00-00T00")[11:13])


def _sorted(counted: Mapping[int, Counts]) -> dict[str, Counts]:
    return {str(key): counted[key] for key in sorted(counted)}


def _compliance(what: str, parts: Mapping[str, Counts]) -> Iterable[str]:
    yield f"| {what} | planned | delivered | answered | in time | cancelled | compliance |"
    yield "|---|---|---|---|---|---|---|"
    for name, counts in parts.items():
        planned = counts.total() - counts["cancelled"]
        delivered = sum(counts[status] for status in REACHED)
        answered = sum(counts[status] for status in ANSWERED)
        ended = answered + counts["missed"] + counts["not_delivered"]
        share = f"{100 * counts['answered'] / ended:.1f} %" if ended else "–"
        numbers = (planned, delivered, answered, counts["answered"], counts["cancelled"])
        yield f"| {name} | {' | '.join(map(str, numbers))} | {share} |"


def _ledger(tally: Tally, rows: int) -> Iterable[str]:
    """Every end, every stage of what is open, and their sum: the rows of the table."""
    yield "| what became of it | prompts |"
    yield "|---|---|"
    for status in (*ENDS, *STAGES):
        if count := tally.all[status]:
            yield f"| {status if status in ENDS else f'open: {status}'} | {count} |"
    total = tally.all.total()
    yield f"| scheduled, the sum of these | {total} |"
    yield ""
    yield f"`data/prompts.csv` has {rows} rows: the ledger {_balances(total, rows)}."


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


def _quartiles(latencies: Counter[int]) -> str:
    if not latencies:
        return "No prompt was answered in time."
    total, found, seen = latencies.total(), [], 0
    wanted = [0.25, 0.5, 0.75]
    for seconds in sorted(latencies):
        seen += latencies[seconds]
        while wanted and seen >= wanted[0] * total:
            found.append(seconds)
            wanted.pop(0)
    low, middle, high = found
    return f"Median {middle} s, quartiles {low} s and {high} s, of {total} answers; whole seconds."


def _attrition(people: Written) -> Iterable[str]:
    """How many had withdrawn by the end of each week in which somebody did."""
    left = Counter[int]()
    for row in named_cells(people):
        if row["withdrawn_study_day"]:
            left[(int(row["withdrawn_study_day"]) - 1) // 7 + 1] += 1
    yield f"{people.rows} enrolled, {left.total()} withdrew."
    so_far = 0
    for week in sorted(left):
        so_far += left[week]
        yield f"- by the end of week {week}: {so_far} had withdrawn, {people.rows - so_far} were in"
