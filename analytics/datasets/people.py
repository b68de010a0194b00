"""The table of participants, and of what happened to them beside prompts."""

from collections.abc import Sequence

from analytics.datasets import clocks
from analytics.datasets.columns import (
    CODE,
    OF_CLOCK,
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


def _columns(scope: Scope) -> Sequence[Column]:
    home = [
        text("tz", "participant.zone", "IANA zone the participant lives in."),
        text("windows", "participant.windows::text", "Own waking hours, as JSON, if any."),
    ]
    return (
        PARTICIPANT,
        text("site", "site.code", "The site that enrolled the participant."),
        word(
            "status",
            "CASE WHEN participant.withdrawn_at IS NULL THEN 'in_study' ELSE 'withdrawn' END",
            "in_study or withdrawn.",
            {"in_study": "did not withdraw", "withdrawn": "withdrew"},
        ),
        *days(scope, "enrolled_on", "participant.enrolled_on", "Study day 1, where they live."),
        whole(
            "withdrawn_study_day", _study_day("withdrawn_at"), "Study day of withdrawal, if any."
        ),
        text("language", "participant.language", "The language the app was asked to speak."),
        *(home if scope.has_zones else []),
        whole("planned_days", "coalesce(tally.planned, 0)", "Study days with a prompt planned."),
        whole("answered_days", "coalesce(tally.answered, 0)", "Study days with a prompt answered."),
        *_arm_columns(scope),
    )


def _study_day(instant: str) -> str:
    """The study day of an instant of the participant, by the clock where they live."""
    there = f"(participant.{instant} AT TIME ZONE 'UTC') + {OF_CLOCK}"
    return f"({there})::date - participant.enrolled_on + 1"


def _arm_columns(scope: Scope) -> list[Column]:
    """The arm's key, or its label; nothing that depends on arms in a masked snapshot."""
    if scope.with_arms:
        arm = text("arm", "arm.key", "The arm allocated; empty when none was.")
    elif scope.tells_of_arms:
        arm = word("arm", "armlabel.label", "A label of the arm; not which arm it is.")
    else:
        return []
    in_error = whole(
        "randomised_in_error",
        "CASE WHEN allocation.id IS NOT NULL THEN (allocation.in_error_at IS NOT NULL)::int END",
        "1 flagged as randomised in error, and analysed as allocated all the same; 0 not; empty "
        "when not allocated.",
        {"0": "as it should be", "1": "randomised in error"},
    )
    stratum = text("stratum", "allocation.stratum", "Stratum of the allocation, if any.")
    return [stratum, in_error, arm]


TALLY = """(SELECT participant_id, count(DISTINCT study_day) AS planned,
    count(DISTINCT study_day) FILTER (WHERE answered_at IS NOT NULL) AS answered
FROM ema_prompt WHERE cancelled_at IS NULL OR answered_at IS NOT NULL
GROUP BY participant_id) tally"""


def _source(scope: Scope) -> Source:
    left = clocks.at("participant.zone", "participant.withdrawn_at")
    sql = f"""{scope.people} JOIN ema_site site ON site.id = participant.site_id
LEFT JOIN {scope.clock} ON {left}
LEFT JOIN {TALLY} ON tally.participant_id = participant.id"""
    if scope.tells_of_arms:
        sql += """
LEFT JOIN ema_allocation allocation ON allocation.participant_id = participant.id
LEFT JOIN ema_arm arm ON arm.id = allocation.arm_id
LEFT JOIN ema_armlabel armlabel ON armlabel.arm_id = arm.id"""
    return Source(sql, [], CODE)


PARTICIPANTS = Table(
    "participants", "participant", _columns, _source, lambda _: ("participant_id",)
)

# What happened: participant_id, event, at (an instant) or on_date, ended_at, detail. Whoever keeps
# other events adds a SELECT; words that somebody wrote stay out.
CHANGED = (
    "SELECT participant_id, '{}', reported_at, NULL, NULL, {} FROM ema_schedulechange WHERE {}"
)
PHONE = "SELECT participant_id, '{}', {}, NULL, NULL, NULL FROM ema_device WHERE {} IS NOT NULL"
EVENTS = (
    "SELECT participant_id, kind, begins_at, NULL::date, ends_at, NULL::text FROM ema_pause",
    PHONE.format("phone_enrolled", "enrolled_at", "enrolled_at"),
    PHONE.format("phone_replaced", "replaced_at", "replaced_at"),
    PHONE.format("phone_revoked", "revoked_at", "revoked_at"),
    CHANGED.format("zone_changed", "zone", "zone <> zone_before"),
    CHANGED.format("hours_changed", "NULL", "windows IS DISTINCT FROM windows_before"),
    "SELECT participant_id, 'visit', NULL, on_date, NULL, key FROM ema_visit",
    """SELECT participant_id, 'phase_begins', NULL, begins_on, NULL, phase.key
    FROM ema_phasestart JOIN ema_phase phase ON phase.id = phase_id""",
    """SELECT id, 'withdrawn', withdrawn_at, NULL, NULL, NULL FROM ema_participant
    WHERE withdrawn_at IS NOT NULL""",
    """SELECT participant_id, 'adverse_event', NULL, started_on, NULL, severity
    FROM ema_adverseevent WHERE struck_at IS NULL""",
)


def _event_columns(scope: Scope) -> Sequence[Column]:
    detail = "event.detail"
    if not scope.has_zones:
        detail = "CASE WHEN event.event <> 'zone_changed' THEN event.detail END"
    return (
        PARTICIPANT,
        whole(
            "event_no",
            "row_number() OVER (PARTITION BY participant.id ORDER BY "
            "coalesce(event.at, event.on_date), event.event, event.detail, event.ended_at)",
            "1, 2, … of the participant's events, in their order.",
        ),
        word(
            "event",
            "event.event",
            "pause, hospital, phone_enrolled, phone_replaced, phone_revoked, zone_changed, "
            "hours_changed, visit, phase_begins, withdrawn, adverse_event (by the day it started).",
        ),
        whole(
            "study_day",
            f"coalesce(((event.at AT TIME ZONE 'UTC') + {OF_CLOCK})::date, event.on_date) "
            "- participant.enrolled_on + 1",
            "Of the event; 1 is the day of enrolment.",
        ),
        instant(scope, "happened", "event.at", "When; empty where only the day is known."),
        instant(scope, "ended", "event.ended_at", "When a pause ended, if it did."),
        text(
            "detail",
            detail,
            "Key of the visit or phase; the new zone; severity of an adverse event.",
        ),
    )


def _event_source(scope: Scope) -> Source:
    every = " UNION ALL ".join(EVENTS)
    sql = f"""({every}) AS event (participant_id, event, at, on_date, ended_at, detail)
JOIN {scope.people} ON participant.id = event.participant_id
LEFT JOIN {scope.clock} ON {clocks.at("participant.zone", "event.at")}"""
    return Source(sql, [], f"{CODE}, event_no")


HAPPENED = Table(
    "events",
    "pause, change of phone, zone or hours, visit, beginning of a phase, withdrawal, adverse event",
    _event_columns,
    _event_source,
    lambda _: ("participant_id", "event_no"),
)
