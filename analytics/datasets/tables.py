"""The tables of a snapshot: every column with its SQL, its type and what it means.

A table is one SELECT, so that PostgreSQL writes the CSV itself. Formats are fixed (UTC, ISO 8601,
byte order of codes), so the same rows are the same bytes. Arms appear in one place only: the last
columns of `participants`, where a snapshot tells of arms.
"""

from collections.abc import Sequence

from analytics.datasets import items
from analytics.datasets.adverse_events import ADVERSE_EVENTS
from analytics.datasets.columns import (
    CODE,
    PARTICIPANT,
    Column,
    Scope,
    Source,
    Table,
    days,
    instant,
    number,
    text,
    whole,
    word,
)
from analytics.datasets.people import HAPPENED, PARTICIPANTS
from analytics.datasets.prompts import PROMPTS, answered, judged
from analytics.software import software

LAPSE = "CASE result WHEN 'negative' THEN 0 WHEN '' THEN NULL ELSE 1 END"


def _urine_columns(scope: Scope) -> Sequence[Column]:
    return (
        PARTICIPANT,
        *days(scope, "due_on", "urine.due_on", "Date the test was scheduled for."),
        whole("study_day", "urine.due_on - participant.enrolled_on + 1", "When it was due."),
        whole(
            "collected",
            "CASE WHEN urine.result = '' THEN NULL ELSE (urine.collected_on IS NOT NULL)::int END",
            "1 there was a sample, 0 there was none; empty while open.",
            {"0": "no sample", "1": "a sample"},
        ),
        *days(scope, "collected_on", "urine.collected_on", "Of the sample; empty without one."),
        word("result", "urine.result", "negative, positive or missed; empty while open."),
        whole(
            "lapse",
            "urine.lapse",
            "1 positive or missed, 0 negative, empty while open.",
            {"0": "negative", "1": "positive or missed"},
        ),
        whole(
            "run_length",
            "CASE WHEN urine.lapse IS NOT NULL THEN row_number() OVER "
            "(PARTITION BY urine.participant_id, urine.lapse, urine.run ORDER BY urine.due_on) END",
            "How many tests in a row, this one included, had the same lapse.",
        ),
    )


def _urine_source(scope: Scope) -> Source:
    sql = f"""(SELECT *, row_number() OVER (PARTITION BY participant_id ORDER BY due_on)
    - row_number() OVER (PARTITION BY participant_id, {LAPSE} ORDER BY due_on) AS run,
    {LAPSE} AS lapse FROM ema_urinetest) urine
JOIN {scope.people} ON participant.id = urine.participant_id"""  # noqa: S608
    return Source(sql, [], f"{CODE}, urine.due_on")


def _coupling_columns(_: Scope) -> Sequence[Column]:
    return (
        PARTICIPANT,
        word("method", "'own_slope'", "own_slope: least squares within the participant."),
        whole("n_pairs", "coupling.n_pairs", "Answered random prompts with stress and craving."),
        whole("n_days", "coalesce(tally.days, 0)", "Study days that these prompts are of."),
        number("slope", "coupling.slope", "Within-person slope: craving points per stress point."),
        number("standard_error", "coupling.standard_error", "Of slope."),
        number("interval_low", "coupling.interval_low", "Lower end of slope's 95 % t interval."),
        number("interval_high", "coupling.interval_high", "Upper end of slope's 95 % t interval."),
        number(
            "shrunken_slope",
            "coupling.shrunken_slope",
            "Predicted slope from one mixed model of the whole study, without arms.",
        ),
        number("reliability", "coupling.reliability", "Share of slope that is signal, 0 to 1."),
        word(
            "not_estimable",
            "coupling.not_estimable",
            "Why there is no slope: too_few_pairs, constant_stress, constant_craving, exact_line.",
        ),
        word("software", f"'{software()}'", "What estimated it."),
        word("plan", "'standard'", "The analysis it is of: standard is the one without a plan."),
    )


def _coupling_source(scope: Scope) -> Source:
    first = answered(scope.study, with_answers=False)
    sql = f"""analytics_coupling coupling
JOIN {scope.people} ON participant.id = coupling.participant_id
LEFT JOIN (SELECT prompt.participant_id, count(DISTINCT prompt.study_day) AS days
    FROM ({first}) response JOIN ema_prompt prompt ON prompt.id = response.prompt_id
    WHERE prompt.answered_at <= prompt.expires_at
    AND response.stress IS NOT NULL AND response.craving IS NOT NULL
    AND strpos(response.flags, 'after_lock') = 0
    GROUP BY prompt.participant_id) tally ON tally.participant_id = participant.id"""  # noqa: S608
    return Source(sql, [], CODE)


DELIVERED = "('answered', 'answered_late', 'missed', 'opened', 'shown', 'sent', 'armed')"
LATENCY = "extract(epoch FROM prompt.answered_at - prompt.due_at)"


def _compliance_columns(_: Scope) -> Sequence[Column]:
    return (
        PARTICIPANT,
        word("period", "tally.period", "day or week: what the row is of."),
        whole("number", "tally.number", "Study day or study week."),
        whole("planned", "tally.planned", "Prompts planned, without those that were cancelled."),
        whole("delivered", "tally.delivered", "Of these, reached a phone."),
        whole("answered", "tally.answered", "Of these, answered, late ones included."),
        whole("in_window", "tally.in_window", "Of these, answered before they expired."),
        whole("cancelled", "tally.cancelled", "Prompts that were cancelled."),
        number(
            "median_latency_s",
            "round(tally.latency::numeric, 3)",
            "Median seconds from due to complete, of those answered.",
        ),
    )


def _compliance_source(scope: Scope) -> Source:
    inner, parameters = judged(scope)
    counts = f"""count(*) FILTER (WHERE prompt.state <> 'cancelled') AS planned,
    count(*) FILTER (WHERE prompt.state IN {DELIVERED}) AS delivered,
    count(*) FILTER (WHERE prompt.state IN ('answered', 'answered_late')) AS answered,
    count(*) FILTER (WHERE prompt.state = 'answered') AS in_window,
    count(*) FILTER (WHERE prompt.state = 'cancelled') AS cancelled,
    percentile_cont(0.5) WITHIN GROUP (ORDER BY {LATENCY}) AS latency"""
    sql = f"""(SELECT prompt.participant_id, span.period, CASE span.period WHEN 'day'
    THEN prompt.study_day ELSE (prompt.study_day - 1) / 7 + 1 END AS number, {counts}
FROM ({inner}) AS prompt CROSS JOIN (VALUES ('day'), ('week')) AS span (period)
GROUP BY 1, 2, 3) tally
JOIN {scope.people} ON participant.id = tally.participant_id"""  # noqa: S608
    return Source(sql, parameters, f'{CODE}, tally.period COLLATE "C", tally.number')


def _audit_columns(scope: Scope) -> Sequence[Column]:
    return (
        whole("event_no", "event.id", "Number of the event; a gap is another study's."),
        instant(scope, "at", "event.at", "When it was written down."),
        text("door", "event.door", "Where it came from: admin, command, api, phone, task."),
        text("action", "event.action", "What was done."),
        text("subject", "event.subject", "To what."),
        whole(
            "is_closed",
            "event.is_closed::int",
            "1 where it depends on arms.",
            {"0": "open", "1": "closed"},
        ),
    )


def _audit_source(scope: Scope) -> Source:
    where = "event.study_id = %s AND event.at <= %s"
    return Source(f"ema_auditevent event WHERE {where}", [scope.study.pk, scope.moment], "event.id")


AUDIT = Table("audit", "audit event", _audit_columns, _audit_source, lambda _: ("event_no",))
TABLES = (
    PROMPTS,
    PARTICIPANTS,
    Table(
        "urine",
        "scheduled urine test",
        _urine_columns,
        _urine_source,
        lambda scope: ("participant_id", "due_on" if scope.has_dates else "study_day"),
    ),
    Table(
        "coupling",
        "participant with answers",
        _coupling_columns,
        _coupling_source,
        lambda _: ("participant_id",),
    ),
    *items.TABLES,
    Table(
        "compliance",
        "participant and study day, and participant and study week",
        _compliance_columns,
        _compliance_source,
        lambda _: ("participant_id", "period", "number"),
    ),
    HAPPENED,
    ADVERSE_EVENTS,
)


def tables_of(scope: Scope) -> Sequence[Table]:
    """All tables; the audit trail where arms are shown, and to nobody outside the trial."""
    return (*TABLES, AUDIT) if scope.with_arms and not scope.deidentify else TABLES
