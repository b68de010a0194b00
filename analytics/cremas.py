"""What the checklist for reporting EMA studies (CREMAS) asks for, in numbers and in words.

Prompts planned, delivered and answered, the ledger, why others were not, latency, compliance by
study day, week and time of day, and who left when. Never what was answered, and nothing about arms.
"""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from ema.prompt_state import ENDS, STAGES

ANSWERED = ("answered", "answered_late")
REACHED = (*ANSWERED, "missed", "opened", "shown", "sent", "armed")
HEAD = ("section", "name", "measure", "value")
EXPLAINED = (
    "Planned are prompts without cancelled ones;",
    "compliance is answered before expiry ÷ planned of those that have ended.",
)
States = Counter[str]


class Part(NamedTuple):
    """Prompts of a stretch of the study; compliance in percent, None while none has ended."""

    planned: int
    delivered: int
    answered: int
    in_time: int
    cancelled: int
    compliance: float | None


class Latency(NamedTuple):
    """Quartiles of whole seconds from due to complete, of answers in time."""

    quartile_1: int
    median: int
    quartile_3: int
    answers: int


class Left(NamedTuple):
    week: int
    withdrawn: int
    were_in: int


@dataclass
class Tally:
    """Prompts counted by state, and what else the report is made of."""

    by_day: defaultdict[int, States] = field(default_factory=lambda: defaultdict(Counter))
    by_hour: defaultdict[int, States] = field(default_factory=lambda: defaultdict(Counter))
    reasons: Counter[str] = field(default_factory=Counter)
    latencies: Counter[int] = field(default_factory=Counter)
    enrolled: int = 0
    left_by_week: Counter[int] = field(default_factory=Counter)

    def add(self, state: str, reason: str | None, *, day: int, hour: int, n: int = 1) -> None:
        """Count prompts of a study day that were due in an hour of the participant's clock."""
        self.by_day[day][state] += n
        self.by_hour[hour][state] += n
        if reason:
            self.reasons[f"{state}: {reason}"] += n

    def leave(self, study_day: int) -> None:
        """Count a participant who withdrew on that study day."""
        self.left_by_week[(study_day - 1) // 7 + 1] += 1


class Cremas(NamedTuple):
    """The report; days and weeks count from 1, hours are those of the participant's clock.

    The ledger counts every prompt once, by its end or by how far an open one got.
    """

    whole: Part
    ledger: dict[str, int]
    reasons: dict[str, int]
    latency: Latency | None
    weeks: dict[str, Part]
    hours: dict[str, Part]
    days: dict[str, Part]
    enrolled: int
    withdrew: int
    left: list[Left]


def report_of(tally: Tally) -> Cremas:
    weeks: defaultdict[int, States] = defaultdict(Counter)
    for day, states in tally.by_day.items():
        weeks[(day - 1) // 7 + 1].update(states)
    whole = sum(tally.by_day.values(), Counter[str]())
    return Cremas(
        whole=_part(whole),
        ledger=dict(_ledger(whole)),
        reasons=dict(sorted(tally.reasons.items())),
        latency=_quartiles(tally.latencies),
        weeks={str(week): _part(weeks[week]) for week in sorted(weeks)},
        hours={f"{hour:02}:00": _part(tally.by_hour[hour]) for hour in sorted(tally.by_hour)},
        days={str(day): _part(tally.by_day[day]) for day in sorted(tally.by_day)},
        enrolled=tally.enrolled,
        withdrew=tally.left_by_week.total(),
        left=list(_left(tally)),
    )


def _ledger(states: States) -> Iterator[tuple[str, int]]:
    """Every end, then every stage of what is open."""
    for state in (*ENDS, *STAGES):
        if states[state]:
            yield state if state in ENDS else f"open: {state}", states[state]


def _part(states: States) -> Part:
    answered = sum(states[state] for state in ANSWERED)
    ended = answered + states["missed"] + states["not_delivered"]
    return Part(
        planned=states.total() - states["cancelled"],
        delivered=sum(states[state] for state in REACHED),
        answered=answered,
        in_time=states["answered"],
        cancelled=states["cancelled"],
        compliance=100 * states["answered"] / ended if ended else None,
    )


def _quartiles(latencies: Counter[int]) -> Latency | None:
    total, found, seen = latencies.total(), [], 0
    wanted = [0.25, 0.5, 0.75]
    for seconds in sorted(latencies):
        seen += latencies[seconds]
        while wanted and seen >= wanted[0] * total:
            found.append(seconds)
            wanted.pop(0)
    if not found:
        return None
    low, middle, high = found
    return Latency(low, middle, high, total)


def _left(tally: Tally) -> Iterator[Left]:
    """How many had withdrawn by the end of each week in which somebody did."""
    so_far = 0
    for week in sorted(tally.left_by_week):
        so_far += tally.left_by_week[week]
        yield Left(week, so_far, tally.enrolled - so_far)


def markdown(report: Cremas, beside_ledger: Sequence[str] = ()) -> str:
    """The report as text to paste: headings and tables of Markdown."""
    total = sum(report.ledger.values())
    ledger = (f"| {what} | {count} |" for what, count in report.ledger.items())
    reasons = (f"| {reason} | {count} |" for reason, count in report.reasons.items())
    return "\n".join(
        [
            *["# Reporting numbers (CREMAS)", "", *EXPLAINED, ""],
            *_table("", {"all": report.whole}),
            *["", "## Ledger", "", "| what became of it | prompts |", "|---|---|", *ledger],
            *[f"| scheduled, the sum of these | {total} |", *beside_ledger],
            *["", "## Not answered or delivered, by reason", ""],
            *["| reason | prompts |", "|---|---|", *reasons],
            *["", "## Latency of answers in time", "", latency_in_words(report.latency)],
            *["", "## By study week", "", *_table("week", report.weeks)],
            *["", "## By time of day", "", *_table("from", report.hours)],
            *["", "## By study day", "", *_table("day", report.days)],
            *["", "## Attrition", "", *attrition_in_words(report), ""],
        ]
    )


def cells(part: Part) -> list[str]:
    """The numbers of a part as texts, for a row of a table."""
    return [*map(str, part[:-1]), percent(part.compliance)]


def percent(compliance: float | None) -> str:
    return "–" if compliance is None else f"{compliance:.1f} %"


def _table(what: str, parts: Mapping[str, Part]) -> Iterable[str]:
    yield f"| {what} | planned | delivered | answered | in time | cancelled | compliance |"
    yield "|---|---|---|---|---|---|---|"
    for name, part in parts.items():
        yield f"| {name} | {' | '.join(cells(part))} |"


def latency_in_words(latency: Latency | None) -> str:
    if latency is None:
        return "No prompt was answered in time."
    low, middle, high, total = latency
    return f"Median {middle} s, quartiles {low} s and {high} s, of {total} answers; whole seconds."


def attrition_in_words(report: Cremas) -> Iterator[str]:
    yield f"{report.enrolled} enrolled, {report.withdrew} withdrew."
    for week, withdrawn, were_in in report.left:
        yield f"- by the end of week {week}: {withdrawn} had withdrawn, {were_in} were in"


def csv_rows(report: Cremas) -> Iterator[tuple[str, str, str, Any]]:
    """The report under `HEAD`, a row for every number; none where compliance is not known yet."""
    parts = {"whole study": {"all": report.whole}, "study week": report.weeks}
    parts |= {"time of day": report.hours, "study day": report.days}
    for section, named in parts.items():
        for name, part in named.items():
            for measure, value in part._asdict().items():
                is_share = measure == "compliance" and value is not None
                yield section, name, measure, round(value, 4) if is_share else value
    yield from (("ledger", name, "prompts", count) for name, count in report.ledger.items())
    yield from (("reason", name, "prompts", count) for name, count in report.reasons.items())
    if report.latency:
        for measure, value in report.latency._asdict().items():
            yield "latency", "in time", measure, value
    yield "attrition", "all", "enrolled", report.enrolled
    yield "attrition", "all", "withdrawn", report.withdrew
    for left in report.left:
        yield "attrition", f"by the end of week {left.week}", "withdrawn", left.withdrawn


def as_json(report: Cremas) -> dict[str, Any]:
    """The report as the API and the command tell it."""

    def parts(named: Mapping[str, Part]) -> dict[str, dict[str, Any]]:
        return {name: part._asdict() for name, part in named.items()}

    return {
        "whole": report.whole._asdict(),
        "ledger": report.ledger,
        "reasons": report.reasons,
        "latency_s": report.latency._asdict() if report.latency else None,
        "by_study_week": parts(report.weeks),
        "by_time_of_day": parts(report.hours),
        "by_study_day": parts(report.days),
        "attrition": {
            "enrolled": report.enrolled,
            "withdrawn": report.withdrew,
            "by_week": [left._asdict() for left in report.left],
        },
    }
