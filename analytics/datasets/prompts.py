"""The table of prompts: one row per scheduled prompt, one column per item of the questionnaires."""

from collections.abc import Sequence

from django.db.models import Min, QuerySet

from analytics.analysis_rows import OF_STUDY, UNFLAGGED, flags_of
from analytics.datasets import clocks
from analytics.datasets.columns import (
    CODE,
    NUMBER,
    OF_CLOCK,
    PARTICIPANT,
    TEXT,
    WHOLE,
    Column,
    Scope,
    Source,
    Table,
    instant,
    local,
    number,
    text,
    whole,
    word,
)
from analytics.datasets.items import HOURS, choices_known
from ema import studies
from ema.models import Item, Prompt, Study
from ema.models.questionnaire import Kind
from ema.prompt_state import with_state

LOWEST_REASON = -8  # stands for a reason of missing, in files of SPSS
VERSION = r"'^[0-9]+(\.[0-9]+)*$'"
LEDGER = {
    "released": "When it was offered to the phone.",
    "armed": "When the phone had set its own alarm.",
    "sent": "When the server sent it.",
    "shown": "When the phone showed it.",
    "opened": "When the participant opened it.",
}
STATES = {
    "answered": "answered before it expired",
    "answered_late": "answered after it expired",
    "cancelled": "cancelled and not answered",
    "missed": "reached a phone, no answer",
    "not_delivered": "reached no phone",
}


def _columns(scope: Scope) -> Sequence[Column]:
    due = instant(scope, "scheduled", "prompt.due_at", "When the prompt was due.")
    return (
        PARTICIPANT,
        word("prompt_id", scope.identity("prompt.id"), "The prompt; unique in the table."),
        text("phase", "phase.key", "The phase whose sampling protocol drew the prompt."),
        whole("study_day", "prompt.study_day", "1 is the day of enrolment."),
        whole("study_week", "(prompt.study_day - 1) / 7 + 1", "1 is study days 1 to 7."),
        whole("prompt_no", "prompt.ordinal", "1, 2, … within the study day."),
        text("id", "participant.label", "participant_id, as openESM calls it."),
        whole("day", "prompt.study_day", "study_day, as openESM calls it."),
        whole("beep", "prompt.ordinal", "prompt_no, as openESM calls it."),
        due,
        *_zone_columns(scope),
        number(
            "inclusion_probability",
            "prompt.inclusion_probability",
            "By design, the expected number of prompts in any one minute of the day's waking "
            "hours: prompts a day × 60 / seconds of waking hours. Empty where nothing was drawn: "
            "fixed times and imported prompts.",
        ),
        *(
            instant(scope, stage, f"prompt.{stage}_at", meaning)
            for stage, meaning in LEDGER.items()
        ),
        instant(
            scope,
            "completed",
            "response.completed_at_corrected",
            "When the answer was complete, by the server's clock.",
        ),
        instant(scope, "received", "response.received_at", "When the answer arrived here."),
        word(
            "status",
            "prompt.state",
            "answered; answered_late (after expiry); cancelled; missed (reached a phone, no "
            "answer); not_delivered; or, before expiry, how far it got: opened, shown, sent, "
            "armed, released, planned. At the moment in provenance.json.",
            STATES,
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
        number(
            "duration_s",
            "round(extract(epoch FROM response.completed_at - response.started_at), 3)",
            "Seconds from the first item to complete, by the phone's clock.",
        ),
        word(
            "flags",
            "response.flags",
            "What to know of the answer, separated by spaces: after_expiry, late_start, "
            "before_due, outside_window, clock_skew, future, clock_jump, backdated, "
            "old_questionnaire, tz_offset_mismatch, from_replaced_device, out_of_range, too_fast, "
            "released_from_quarantine; after_lock: arrived after the study was locked, and is not "
            "analysed.",
        ),
        *_rating_columns(scope),
        *_app_columns(scope),
        *item_columns(scope),
    )


def _zone_columns(scope: Scope) -> list[Column]:
    if not scope.has_zones:
        return []
    return [
        local(
            "scheduled_local",
            f"(prompt.due_at AT TIME ZONE 'UTC') + {OF_CLOCK}",
            "When the prompt was due, by the clock in its zone.",
        ),
        text("tz", "prompt.zone", "IANA zone the prompt was planned in."),
        whole("utc_offset_min", "clock.offset_min", "Minutes that this clock was ahead of UTC."),
    ]


def _app_columns(scope: Scope) -> list[Column]:
    if not scope.has_dates:
        return []
    shown = "device.app_version"
    if not scope.has_zones:
        shown = f"CASE WHEN {shown} ~ {VERSION} THEN {shown} END"
    return [text("app_version", shown, "Of the phone that answered, as it is now.")]


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
    items = published_items(study).exclude(role="")
    return dict(items.order_by().values_list("role").annotate(Min("minimum")))


def published_items(study: Study) -> QuerySet[Item]:
    return Item.objects.filter(
        version__questionnaire__study=study, version__published_at__isnull=False
    )


def item_columns(scope: Scope) -> list[Column]:
    """A column for every other item that is not written in own words, as last published."""
    items = published_items(scope.study).filter(role="").exclude(kind=Kind.TEXT)
    latest = {item.key: item for item in items.order_by("version__published_at", "version__pk")}
    lowest = dict(items.order_by().values_list("key").annotate(Min("minimum")))
    return [_item_column(latest[key], lowest[key]) for key in sorted(latest)]


def _item_column(item: Item, lowest: int | None) -> Column:
    given = f"""jsonb_path_query_first(response.answers, '$[*] ? (@.item == "{item.key}").value')"""
    name, label = column_name(item.key), next(iter(item.label.values()), item.key).rstrip(".?")
    meaning = f"Item {item.key}: {label}."
    codes = {str(one["value"]): next(iter(one["label"].values()), "") for one in item.options}
    typed = f"jsonb_typeof({given})"
    if item.kind in (Kind.SLIDER, Kind.RATING, Kind.NUMBER):
        sql = f"CASE WHEN {typed} = 'number' THEN ({given})::text END"
        has_room = lowest is not None and lowest > LOWEST_REASON
        labels = codes if item.kind == Kind.RATING else {}
        return Column(name, sql, NUMBER, meaning, labels, is_item=True, has_room=has_room)
    if item.kind == Kind.YES_NO:
        sql = f"CASE WHEN {typed} = 'boolean' THEN ({given})::boolean::integer END"
        labels = {"0": "no", "1": "yes"}
        return Column(name, sql, WHOLE, meaning, labels, is_item=True, has_room=True)
    if item.kind == Kind.TIME:
        said = f"({given} #>> '{{}}')"
        return Column(name, f"CASE WHEN {said} ~ {HOURS} THEN {said} END", TEXT, meaning)
    known = choices_known(given, list(codes))
    return text(name, known, f"{meaning[:-1]}; codes joined by |.", codes)


TAKEN = {
    *["participant_id", "prompt_id", "phase", "study_day", "study_week", "prompt_no", "id", "day"],
    *["beep", "tz", "utc_offset_min", "inclusion_probability", "status", "missing_reason"],
    *["latency_s", "duration_s", "flags", "stress", "craving", "pain", "app_version"],
}


def column_name(key: str) -> str:
    """An item's key as the name of a column; `item_` before one that is taken."""
    name = key.replace("-", "_").lower()
    taken = name in TAKEN or name.endswith(("_at_utc", "_local", "_time"))
    return f"item_{name}" if taken or name[:1].isdigit() or name[:1] == "_" else name


ANSWERED = """
SELECT DISTINCT ON (r.prompt_id) r.prompt_id, r.device_id, r.completed_at_corrected, r.received_at,
    r.completed_at, r.started_at, {flags} AS flags, r.stress, r.craving, r.pain{answers}
FROM ema_response r {of_study}
WHERE study.id = {study} AND r.prompt_id IS NOT NULL AND r.trigger = 'random'
AND {unflagged}
ORDER BY r.prompt_id, r.received_at, r.id
"""


def answered(study: Study, *, with_answers: bool) -> str:
    """The answer that counts of every prompt that has one; all items only where they are shown."""
    return ANSWERED.format(
        flags=flags_of("r"),
        of_study=OF_STUDY,
        study=study.pk,
        unflagged=UNFLAGGED,
        answers=", r.answers" if with_answers else "",
    )


def judged(scope: Scope) -> tuple[str, Sequence[object]]:
    """All prompts with their state at the moment, as SQL and its parameters."""
    prompts = Prompt.objects.filter(participant__study=scope.study).order_by()
    inner, parameters = with_state(prompts, now=scope.moment).query.sql_with_params()
    return inner, parameters


def _source(scope: Scope) -> Source:
    inner, parameters = judged(scope)
    first = answered(scope.study, with_answers=bool(item_columns(scope)))
    sql = f"""({inner}) AS prompt
JOIN {scope.people} ON participant.id = prompt.participant_id
JOIN ema_phase phase ON phase.id = prompt.phase_id
LEFT JOIN {scope.clock} ON {clocks.at("prompt.zone", "prompt.due_at")}
LEFT JOIN ({first}) AS response ON response.prompt_id = prompt.id
LEFT JOIN ema_device device ON device.id = response.device_id"""
    when = "prompt.due_at" if scope.has_dates else "prompt.study_day, prompt.ordinal"
    return Source(sql, parameters, f"{CODE}, {when}, prompt_id")


def _key(scope: Scope) -> Sequence[str]:
    if not scope.has_dates:
        return ("participant_id", "study_day", "prompt_no", "prompt_id")
    when = "scheduled_at_utc" if scope.has_zones else "scheduled_local"
    return ("participant_id", when, "prompt_id")


PROMPTS = Table(
    "prompts", "scheduled prompt, those without an answer included", _columns, _source, _key
)
