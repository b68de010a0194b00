"""Store first, judge later: flags and analysed values of a submission. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ema.models.response import Flag
from ema.submissions import Answer, Submission, refuse_impossible

SKEW_TOLERATED = timedelta(minutes=2)
FUTURE_TOLERATED = timedelta(minutes=1)
LARGEST = 2**31 - 1


@dataclass(frozen=True)
class Scale:
    """How an item with an analysis role becomes an integer: 30.4 with one decimal is 304."""

    role: str
    minimum: int | None
    maximum: int | None
    decimals: int


@dataclass(frozen=True)
class Form:
    """What ingest needs of a published, hence immutable, questionnaire version."""

    id: int
    scales: dict[str, Scale]


@dataclass(frozen=True)
class Signal:
    """What ingest needs of the prompt that a submission answers."""

    due_at: datetime
    expires_at: datetime
    questionnaire_id: int
    is_answered: bool


@dataclass(frozen=True)
class Sender:
    """Whose phone it is, as far as judging needs it."""

    withdrawn_at: datetime | None
    replaced_at: datetime | None
    clock_offset: timedelta


def corrected(at: datetime, offset: timedelta) -> datetime:
    """A phone's instant by the server's clock; where that gives an absurd year, as it was."""
    try:
        refuse_impossible(at + offset)
    except (OverflowError, ValueError):
        return at
    return at + offset


def flags_of(
    sent: Submission, *, form: Form, signal: Signal | None, sender: Sender, now: datetime
) -> list[Flag]:
    """Everything a reader of the data should know about a submission, in a fixed order."""
    at = corrected(sent.completed_at, sender.clock_offset)
    judged = {
        Flag.UNKNOWN_PROMPT: signal is None and sent.trigger == "random",
        Flag.CLOCK_SKEW: abs(sender.clock_offset) > SKEW_TOLERATED,
        Flag.FUTURE: at > now + FUTURE_TOLERATED,
        Flag.TZ_OFFSET_MISMATCH: _offset_mismatch(sent),
        Flag.AFTER_WITHDRAWAL: sender.withdrawn_at is not None and at > sender.withdrawn_at,
        Flag.FROM_REPLACED_DEVICE: sender.replaced_at is not None,
        Flag.OUT_OF_RANGE: any(_is_out_of_range(a, form) for a in sent.answers),
    }
    if signal is not None:
        judged |= {
            Flag.BEFORE_DUE: at < signal.due_at,
            Flag.AFTER_EXPIRY: at > signal.expires_at,
            Flag.DUPLICATE_PROMPT: signal.is_answered,
            Flag.OLD_QUESTIONNAIRE: form.id != signal.questionnaire_id,
        }
    return [flag for flag in Flag if judged.get(flag)]


def values_of(sent: Submission, *, form: Form) -> dict[str, int]:
    """Stress, craving and pain as integers in their item's decimals, where in range."""
    values = {}
    for answer in sent.answers:
        scale = form.scales.get(answer.item)
        if scale and _is_number(answer.value) and not _is_out_of_range(answer, form):
            values[scale.role] = round(answer.value * 10**scale.decimals)
    return values


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_out_of_range(answer: Answer, form: Form) -> bool:
    scale = form.scales.get(answer.item)
    if scale is None or answer.value is None:
        return False
    if not _is_number(answer.value):
        return True
    below = scale.minimum is not None and answer.value < scale.minimum
    above = scale.maximum is not None and answer.value > scale.maximum
    return below or above or bool(abs(answer.value) * 10**scale.decimals > LARGEST)


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _offset_mismatch(sent: Submission) -> bool:
    """Whether the stated UTC offset is not the stated zone's (or the zone is unknown)."""
    if not sent.tz:
        return False
    zone = _zone(sent.tz)
    if zone is None or sent.utc_offset_min is None:
        return zone is None
    offset = sent.completed_at.astimezone(zone).utcoffset()
    return offset != timedelta(minutes=sent.utc_offset_min)
