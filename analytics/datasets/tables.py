"""The tables of a snapshot: every column with its SQL, its type and what it means.

A table is one SELECT, so that PostgreSQL writes the CSV itself. Formats are fixed (UTC, ISO 8601,
byte order of codes), so the same rows are the same bytes. Arms appear in one place only: the last
column of `participants`, in an unmasked snapshot.
"""

from collections.abc import Callable, Sequence
from zoneinfo import ZoneInfo

from django.db.models import Min

from analytics.datasets import items
from analytics.datasets.columns import (
    CODE,
    NUMBER,
    PARTICIPANT,
    Column,
    Scope,
    Source,
    Table,
    day,
    instant,
    number,
    text,
    whole,
    word,
)
from ema import studies
from ema.models import Item, Participant, Prompt, Study
from ema.prompt_state import with_state

LOWEST_REASON = -8  # stands for a reason of missing, in files of SPSS


def _prompt_columns(scope: Scope) -> Sequence[Column]:
    return (
        PARTICIPANT,
        word("prompt_id", "prompt.id::text", "The prompt; unique in the table."),
        text("phase", "phase.key", "The phase whose sampling protocol drew the prompt."),
        whole("study_day", "prompt.study_day", "1 is the day of enrolment."),
        whole("study_week", "(prompt.study_day - 1) / 7 + 1", "1 is study days 1 to 7."),
        whole("prompt_no", "prompt.ordinal", "1, 2, … within the study day."),
        instant("scheduled_at_utc", "prompt.due_at", "When the prompt was due."),
        text("tz", "prompt.zone", "IANA zone the prompt was planned in."),
        number(
            "inclusion_probability",
            "prompt.inclusion_probability",
            "By design, the expected number of prompts in any one minute of the day's waking "
            "hours: prompts a day × 60 / seconds of waking hours. Empty where nothing was drawn: "
            "fixed times and imported prompts.",
        ),
        instant("released_at_utc", "prompt.released_at", "When it was offered to the phone."),
        instant("armed_at_utc", "prompt.armed_at", "When the phone had set its own alarm."),
        instant("sent_at_utc", "prompt.sent_at", "When the server sent it."),
        instant("shown_at_utc", "prompt.shown_at", "When the phone showed it."),
        instant("opened_at_utc", "prompt.opened_at", "When the participant opened it."),
        instant(
            "completed_at_utc",
            "response.completed_at_corrected",
            "When the answer was complete, by the server's clock.",
        ),
        instant("received_at_utc", "response.received_at", "When the answer arrived here."),
        word(
            "status",
            "prompt.state",
            "answered; answered_late (after expiry); cancelled; missed (reached a phone, no "
            "answer); not_delivered; or, before expiry, how far it got: opened, shown, sent, "
            "armed, released, planned. At the moment in provenance.json.",
        ),
        word(
            "missing_reason",
            "prompt.state_reason",
            "Why a cancelled or undelivered prompt has no answer: before_enrolment, before_start, "
            "withdrawn, paused, superseded, overlap_after_travel; no_device, channel_failed, "
            "system. Empty otherwise.",
        ),
        number(
            "latency_s",
            "round(extract(epoch FROM response.completed_at_corrected - prompt.due_at), 3)",
            "Seconds from due to complete.",
        ),
        word(
            "flags",
            "array_to_string(response.flags, ' ')",
            "What to know of the answer, separated by spaces: after_expiry, late_start, "
            "before_due, outside_window, clock_skew, future, clock_jump, backdated, "
            "old_questionnaire, tz_offset_mismatch, from_replaced_device, out_of_range, too_fast, "
            "released_from_quarantine.",
        ),
        *_rating_columns(scope),
        text("app_version", "device.app_version", "Of the phone that answered, as it is now."),
    )


def _rating_columns(scope: Scope) -> list[Column]:
    """Stress, craving and pain in the items' own units, with the items' decimals."""
    decimals, lowest = studies.decimals_of(scope.study), _lowest(scope.study)
    return [
        Column(
            role,
            f"round(response.{role}::numeric / {10**digits}, {digits})",
            NUMBER,
            f"{role.capitalize()} as answered, in the item's own units; empty when not answered.",
            is_item=True,
            has_room=(lowest.get(role) or 0) > LOWEST_REASON,
        )
        for role, digits in (
            (role, decimals.get(role, 0)) for role in ("stress", "craving", "pain")
        )
    ]


def _lowest(study: Study) -> dict[str, int | None]:
    """The smallest value that each role's items may have."""
    items = Item.objects.filter(
        version__questionnaire__study=study, version__published_at__isnull=False
    ).exclude(role="")
    return dict(items.order_by().values_list("role").annotate(Min("minimum")))


ANSWERED = """
SELECT DISTINCT ON (r.prompt_id) r.prompt_id, r.device_id, r.completed_at_corrected, r.received_at,
    r.flags, r.stress, r.craving, r.pain
FROM ema_response r JOIN ema_participant p ON p.id = r.participant_id
WHERE p.study_id = %s AND r.prompt_id IS NOT NULL AND r.trigger = 'random'
AND NOT r.flags && ARRAY['duplicate_prompt', 'after_withdrawal']::varchar[]
ORDER BY r.prompt_id, r.received_at, r.id
"""


def _prompt_source(scope: Scope) -> Source:
    prompts = with_state(
        Prompt.objects.filter(participant__study=scope.study).order_by(), now=scope.moment
    )
    inner, parameters = prompts.query.sql_with_params()
    sql = f"""({inner}) AS prompt
JOIN ema_participant participant ON participant.id = prompt.participant_id
JOIN ema_phase phase ON phase.id = prompt.phase_id
LEFT JOIN ({ANSWERED}) AS response ON response.prompt_id = prompt.id
LEFT JOIN ema_device device ON device.id = response.device_id"""
    return Source(sql, [*parameters, scope.study.pk], f"{CODE}, prompt.due_at, prompt.id")


def _participant_columns(scope: Scope) -> Sequence[Column]:
    columns = [
        PARTICIPANT,
        text("site", "site.code", "The site that enrolled the participant."),
        day("enrolled_on", "participant.enrolled_on", "Study day 1, in the participant's zone."),
        whole("withdrawn_study_day", "withdrawal.study_day", "Study day of withdrawal, if any."),
        text("tz", "participant.zone", "IANA zone the participant lives in."),
    ]
    if scope.with_arms:
        columns.append(text("arm", "arm.key", "The arm allocated; empty when none was."))
    return columns


def _participant_source(scope: Scope) -> Source:
    withdrawals = _withdrawal_days(scope.study)
    sql = """ema_participant participant JOIN ema_site site ON site.id = participant.site_id
LEFT JOIN unnest(%s::bigint[], %s::integer[]) AS withdrawal (participant_id, study_day)
    ON withdrawal.participant_id = participant.id"""
    if scope.with_arms:
        sql += """
LEFT JOIN ema_allocation allocation ON allocation.participant_id = participant.id
LEFT JOIN ema_arm arm ON arm.id = allocation.arm_id"""
    parameters = [list(withdrawals), list(withdrawals.values()), scope.study.pk]
    return Source(f"{sql}\nWHERE participant.study_id = %s", parameters, CODE)


def _withdrawal_days(study: Study) -> dict[int, int]:
    """Study day of withdrawal by participant; local dates are never made in SQL."""
    left = Participant.objects.filter(study=study, withdrawn_at__isnull=False)
    return {
        one.pk: (one.withdrawn_at.astimezone(ZoneInfo(one.zone)).date() - one.enrolled_on).days + 1
        for one in left
        if one.withdrawn_at is not None
    }


def _urine_columns(_: Scope) -> Sequence[Column]:
    return (
        PARTICIPANT,
        day("due_on", "urine.due_on", "Date the test was scheduled for."),
        whole("study_day", "urine.due_on - participant.enrolled_on + 1", "Study day of due_on."),
        day("collected_on", "urine.collected_on", "Date of the sample; empty when there is none."),
        word("result", "urine.result", "negative, positive or missed; empty while open."),
        whole(
            "lapse",
            "CASE urine.result WHEN 'negative' THEN 0 WHEN '' THEN NULL ELSE 1 END",
            "1 positive or missed, 0 negative, empty while open.",
            {"0": "negative", "1": "positive or missed"},
        ),
    )


def _of_participants(table: str, alias: str, order: str) -> Callable[[Scope], Source]:
    def source(scope: Scope) -> Source:
        sql = f"""{table} {alias}
JOIN ema_participant participant ON participant.id = {alias}.participant_id
WHERE participant.study_id = %s"""
        return Source(sql, [scope.study.pk], order)

    return source


def _coupling_columns(_: Scope) -> Sequence[Column]:
    return (
        PARTICIPANT,
        whole("n_pairs", "coupling.n_pairs", "Answered random prompts with stress and craving."),
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
    )


TABLES = (
    Table(
        "prompts",
        "scheduled prompt, those without an answer included",
        _prompt_columns,
        _prompt_source,
        key=("participant_id", "scheduled_at_utc", "prompt_id"),
    ),
    Table(
        "participants",
        "participant",
        _participant_columns,
        _participant_source,
        key=("participant_id",),
    ),
    Table(
        "urine",
        "scheduled urine test",
        _urine_columns,
        _of_participants("ema_urinetest", "urine", f"{CODE}, urine.due_on"),
        key=("participant_id", "due_on"),
    ),
    Table(
        "coupling",
        "participant with answers",
        _coupling_columns,
        _of_participants("analytics_coupling", "coupling", CODE),
        key=("participant_id",),
    ),
    *items.TABLES,
)
