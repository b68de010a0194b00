"""The tables of items and of answers to them: one row per item, one row per item answered.

A choice of several is one cell, its codes joined by `|`, which no code holds. What people wrote in
their own words stays in the database.
"""

from collections.abc import Sequence

from analytics.analysis_rows import flags_of
from analytics.datasets import clocks
from analytics.datasets.columns import (
    CODE,
    OF_CLOCK,
    PARTICIPANT,
    TEXT,
    Column,
    Scope,
    Source,
    Table,
    instant,
    number,
    text,
    whole,
    word,
)

CODED = "item.kind IN ('single', 'multiple', 'time')"
# A code is shown as it is, a number and true or false too; a text of anything else is not.
PLAIN = """CASE jsonb_typeof(answer.content -> 'value')
WHEN 'number' THEN answer.content ->> 'value'
WHEN 'boolean' THEN answer.content ->> 'value' END"""
CODES = f"""CASE WHEN {CODED} THEN CASE jsonb_typeof(answer.content -> 'value')
WHEN 'string' THEN answer.content ->> 'value'
WHEN 'array' THEN (
    SELECT string_agg(chosen.code, '|' ORDER BY chosen.place)
    FROM jsonb_array_elements_text(answer.content -> 'value') WITH ORDINALITY chosen (code, place)
) END END"""  # noqa: S608


HOURS = "'^[0-9]{2}:[0-9]{2}$'"


def choices_known(given: str, codes: Sequence[str]) -> str:
    """The codes of a choice, joined by |, those that the item has: nothing in own words."""
    known = ", ".join(f"'{code}'" for code in codes)
    return f"""(SELECT string_agg(chosen.code, '|' ORDER BY chosen.place)
FROM jsonb_array_elements_text(CASE jsonb_typeof({given}) WHEN 'array' THEN {given}
    WHEN 'string' THEN jsonb_build_array({given}) WHEN 'number' THEN jsonb_build_array({given})
END) WITH ORDINALITY chosen (code, place) WHERE chosen.code IN ({known or "NULL"}))"""  # noqa: S608


# In a release: codes that the item has, times of day, and nothing of unknown items.
CODES_KNOWN = f"""CASE WHEN item.kind = 'time' AND answer.content ->> 'value' ~ {HOURS}
THEN answer.content ->> 'value' WHEN item.kind IN ('single', 'multiple') THEN (
    SELECT string_agg(chosen.code, '|' ORDER BY chosen.place)
    FROM jsonb_array_elements_text(CASE jsonb_typeof(answer.content -> 'value')
        WHEN 'array' THEN answer.content -> 'value'
        ELSE jsonb_build_array(answer.content -> 'value') END)
        WITH ORDINALITY chosen (code, place)
    WHERE chosen.code IN (SELECT o ->> 'value' FROM jsonb_array_elements(item.options) o)
) END"""  # noqa: S608
SKIP_KNOWN = """CASE WHEN item.skip_reasons ? (answer.content ->> 'skip')
THEN answer.content ->> 'skip' END"""


def _either(scope: Scope, name: str, meaning: str) -> Column:
    """Numbers as they are; codes guarded as text is."""
    codes = text(name, CODES if scope.has_zones else CODES_KNOWN, meaning)
    return Column(name, f"coalesce({PLAIN}, {codes.sql})", TEXT, meaning)


def _response_columns(scope: Scope) -> Sequence[Column]:
    return (
        PARTICIPANT,
        word(
            "response_id", scope.identity("response.id"), "The response that the answer is part of."
        ),
        word(
            "prompt_id",
            scope.identity("response.prompt_id"),
            "Its prompt; empty for an own report.",
        ),
        word("trigger", "response.trigger", "random (a prompt) or self_initiated."),
        whole("study_day", STUDY_DAY, "The day of completion; 1 is the day of enrolment."),
        instant(scope, "completed", "response.completed_at_corrected", "By the server's clock."),
        word(
            "flags",
            flags_of("response"),
            "What to know of the response, separated by spaces; duplicate_prompt is not the first, "
            "after_lock arrived after the study was locked.",
        ),
        text("questionnaire", "questionnaire.key", "Key of the questionnaire."),
        whole("version", "version.version", "Its version."),
        whole("answer_no", "answer.place", "1, 2, … in the order the phone sent them."),
        text(
            "item",
            "answer.content ->> 'item'" if scope.has_zones else "item.key",
            "Key of the item; the table items has it.",
        ),
        _either(
            scope,
            "value",
            "A number; a code; true or false; a time; codes of a choice of several joined by |. "
            "Empty when skipped, and for what was written in own words.",
        ),
        whole(
            "answered",
            "CASE WHEN coalesce(jsonb_typeof(answer.content -> 'value'), 'null') = 'null' "
            "THEN 0 ELSE 1 END",
            "1 when there was a value, also one in own words; else 0.",
            {"0": "no value", "1": "a value"},
        ),
        text(
            "skip_reason",
            "answer.content ->> 'skip'" if scope.has_zones else SKIP_KNOWN,
            "Why it was skipped, where a phone said.",
        ),
        number("rt_ms", REACTION, "Reaction time in milliseconds."),
    )


STUDY_DAY = f"""((response.completed_at_corrected AT TIME ZONE 'UTC') + {OF_CLOCK})::date
- participant.enrolled_on + 1"""
REACTION = """CASE WHEN jsonb_typeof(answer.content -> 'rt_ms') = 'number'
THEN answer.content ->> 'rt_ms' END"""


def _response_source(scope: Scope) -> Source:
    in_zone = clocks.at("participant.zone", "response.completed_at_corrected")
    sql = f"""ema_response response JOIN ema_study study ON study.id = {scope.study.pk}
JOIN {scope.people} ON participant.id = response.participant_id
LEFT JOIN {scope.clock} ON {in_zone}
JOIN ema_questionnaireversion version ON version.id = response.questionnaire_id
JOIN ema_questionnaire questionnaire ON questionnaire.id = version.questionnaire_id
CROSS JOIN LATERAL jsonb_array_elements(response.answers) WITH ORDINALITY answer (content, place)
LEFT JOIN ema_item item
    ON item.version_id = version.id AND item.key = answer.content ->> 'item'
WHERE NOT response.flags && ARRAY['after_withdrawal']::varchar[]"""
    when = "response.completed_at_corrected" if scope.has_dates else "study_day"
    return Source(sql, [], f"{CODE}, {when}, response_id, answer.place")


def _response_key(scope: Scope) -> Sequence[str]:
    when = "completed_at_utc" if scope.has_zones else "completed_local"
    return ("participant_id", when if scope.has_dates else "study_day", "response_id", "answer_no")


NUMERIC = "item.kind IN ('slider', 'rating', 'number')"
LANGUAGE = "version.languages ->> 0"


def _of_first_language(field: str) -> str:
    return f"item.{field} ->> ({LANGUAGE})"


def _item_columns(_: Scope) -> Sequence[Column]:
    options = f"""(SELECT string_agg(
    (option ->> 'value') || coalesce('=' || (option -> 'label' ->> ({LANGUAGE})), ''),
    '|' ORDER BY place
) FROM jsonb_array_elements(item.options) WITH ORDINALITY options (option, place))"""  # noqa: S608
    reasons = "(SELECT string_agg(r, '|') FROM jsonb_array_elements_text(item.skip_reasons) r)"
    return (
        text("questionnaire", "questionnaire.key", "Key of the questionnaire."),
        whole("version", "version.version", "Its version; only published ones are listed."),
        word("sha256", "version.sha256", "Of the version's content, as phones were given it."),
        whole("item_no", "item.position", "Its place in the questionnaire."),
        text("item", "item.key", "Key of the item."),
        word(
            "kind",
            "item.kind",
            "slider, rating, single (choice), multiple (choice), yes_no, number, time, text.",
        ),
        word("role", "item.role", "stress, craving or pain, where the analysis reads it."),
        text("language", LANGUAGE, "Language of the texts in this row: the version's first."),
        text("label", _of_first_language("label"), "What was asked."),
        text("recall", _of_first_language("recall"), "The window it asks about."),
        whole(
            "required",
            "item.required::integer",
            "1 required, 0 optional.",
            {"0": "optional", "1": "required"},
        ),
        number("minimum", f"CASE WHEN {NUMERIC} THEN item.minimum END", "Smallest value."),
        number("maximum", f"CASE WHEN {NUMERIC} THEN item.maximum END", "Largest value."),
        whole("decimals", f"CASE WHEN {NUMERIC} THEN item.decimals END", "Digits after the point."),
        text("low_label", _of_first_language("low_label"), "What the lowest end of a scale says."),
        text("high_label", _of_first_language("high_label"), "What the highest end says."),
        text("unit", _of_first_language("unit"), "Unit of a number."),
        text("choices", options, "Codes and what they say, code=label, joined by |."),
        text("skip_reasons", reasons, "Codes of the reasons to skip it, joined by |."),
        text(
            "show_if",
            "nullif(item.show_if::text, '{}')",
            "When it is shown, as JSON; empty is always.",
        ),
    )


def _item_source(scope: Scope) -> Source:
    sql = """ema_item item
JOIN ema_questionnaireversion version ON version.id = item.version_id
JOIN ema_questionnaire questionnaire ON questionnaire.id = version.questionnaire_id
WHERE questionnaire.study_id = %s AND version.published_at IS NOT NULL"""
    order = 'questionnaire.key COLLATE "C", version.version, item.position'
    return Source(sql, [scope.study.pk], order)


TABLES = (
    Table(
        "responses",
        "item of a response",
        _response_columns,
        _response_source,
        _response_key,
    ),
    Table(
        "items",
        "item of a published questionnaire",
        _item_columns,
        _item_source,
        lambda _: ("questionnaire", "version", "item_no"),
    ),
)
