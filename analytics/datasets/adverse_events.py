"""The table of adverse events: those that stand, in the words of their lists."""

from collections.abc import Sequence

from analytics.datasets import clocks
from analytics.datasets.columns import (
    CODE,
    PARTICIPANT,
    Column,
    Scope,
    Source,
    Table,
    days,
    instant,
    text,
    whole,
    word,
)
from ema.models.adverse_event import ActionTaken, EventOutcome, Relatedness, Severity


def _columns(scope: Scope) -> Sequence[Column]:
    term = text("term", "adverse.term", "What happened, in the words of whoever reported it.")
    return (
        PARTICIPANT,
        word("adverse_event_id", scope.identity("adverse.key"), "The event; unique in the table."),
        *([term] if scope.has_zones else []),
        word("severity", "adverse.severity", "How severe it was at its worst.", _said(Severity)),
        whole(
            "serious",
            "adverse.is_serious::int",
            "1 death, danger to life, hospital, lasting disability or a birth defect; else 0.",
            {"0": "not serious", "1": "serious"},
        ),
        word(
            "relatedness",
            "adverse.relatedness",
            "To the treatment, as the investigator judged.",
            _said(Relatedness),
        ),
        *days(scope, "started_on", "adverse.started_on", "Date it started."),
        whole("started_study_day", _study_day("started_on"), "1 is the day of enrolment."),
        *days(scope, "ended_on", "adverse.ended_on", "Date it ended; empty while it goes on."),
        whole("ended_study_day", _study_day("ended_on"), "Empty while it goes on."),
        word("outcome", "adverse.outcome", "What became of it.", _said(EventOutcome)),
        word(
            "action_taken",
            "adverse.action_taken",
            "What was done with the treatment.",
            _said(ActionTaken),
        ),
        instant(scope, "reported", "adverse.reported_at", "When it was written down here."),
    )


def _said(words: type[Severity | Relatedness | EventOutcome | ActionTaken]) -> dict[str, str]:
    return {str(value): str(label) for value, label in words.choices}


def _study_day(name: str) -> str:
    return f"adverse.{name} - participant.enrolled_on + 1"


def _source(scope: Scope) -> Source:
    sql = f"""ema_adverseevent adverse
JOIN {scope.people} ON participant.id = adverse.participant_id
LEFT JOIN {scope.clock} ON {clocks.at("participant.zone", "adverse.reported_at")}
WHERE adverse.struck_at IS NULL"""
    return Source(sql, [], f"{CODE}, adverse_event_id")


# Not in the order of time, so that an event whose date was corrected is the same row again.
ADVERSE_EVENTS = Table(
    "adverse_events",
    "adverse event, those that were struck out left out",
    _columns,
    _source,
    lambda _: ("participant_id", "adverse_event_id"),
)
