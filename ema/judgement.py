"""Store first, judge later: flags and analysed values of a submission. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ema.access import Signal, Uploader
from ema.submissions import EARLIEST, LATEST, Client, Submission

SKEW_TOLERATED = timedelta(minutes=2)
FASTEST = timedelta(milliseconds=200)  # an item
FUTURE_TOLERATED = timedelta(minutes=1)
LARGEST = 2**31 - 1
LONGEST_MS = 10**14  # three thousand years: beyond them there is nothing to tell apart


@dataclass(frozen=True)
class Scale:
    """How an item with an analysis role becomes an integer: 30.4 with one decimal is 304."""

    role: str
    minimum: int | None
    maximum: int | None
    decimals: int

    def holds(self, value: Any) -> bool:
        """Whether this is a number within the range, and not beyond what is stored."""
        if isinstance(value, bool) or not isinstance(value, int | float):
            return False
        below = self.minimum is not None and value < self.minimum
        above = self.maximum is not None and value > self.maximum
        return not (below or above or abs(value) * 10**self.decimals > LARGEST)


@dataclass(frozen=True)
class Form:
    """What ingest needs of a published, hence immutable, questionnaire version."""

    id: int
    scales: dict[str, Scale]


def corrected(at: datetime, offset: timedelta) -> datetime:
    """A phone's instant by the server's clock; where that gives an absurd year, as it was."""
    try:
        moved = at + offset
    except OverflowError:
        return at
    return moved if EARLIEST <= moved < LATEST else at


def late_by(sent: Submission, client: Client) -> timedelta:
    """How much later than it says a submission was completed, by the uptime of its phone.

    Zero where that cannot be known: the phone did not say, or has been started anew since.
    """
    if not sent.boot_id or sent.boot_id != client.boot_id or client.sent_at is None:
        return timedelta(0)
    if sent.monotonic_ms is None or client.monotonic_ms is None:
        return timedelta(0)
    waited_ms = client.monotonic_ms - sent.monotonic_ms
    stated_ms = (client.sent_at - sent.completed_at) / timedelta(milliseconds=1)
    return timedelta(milliseconds=max(-LONGEST_MS, min(stated_ms - waited_ms, LONGEST_MS)))


class Judged(NamedTuple):
    """What is said of a submission: its flags, in a fixed order, and its analysed values.

    Stress, craving and pain are integers in their item's decimals, where they are in range.
    """

    flags: list[str]
    values: dict[str, int]


def judge(
    sent: Submission,
    *,
    at: datetime,
    form: Form,
    signal: Signal | None,
    phone: Uploader,
    client: Client,
    clock_offset: timedelta,
    now: datetime,
) -> Judged:
    """Everything a reader of the data should know about a submission completed `at`, corrected.

    Whether it is the first answer to its prompt is for the database to say. Flags are named by
    their texts here: a member of an enumeration takes three times as long to look up.
    """
    values, out_of_range = _values_of(sent, form)
    asked = sent.trigger == "random"
    late = late_by(sent, client)
    flags = [
        *_by_signal(sent, at, form, signal if asked else None, clock_offset),
        ("clock_skew", abs(clock_offset) > SKEW_TOLERATED),
        ("future", at > now + FUTURE_TOLERATED),
        ("clock_jump", abs(late) > SKEW_TOLERATED),
        ("backdated", late > SKEW_TOLERATED),
        ("unknown_prompt", asked and signal is None),
        ("tz_offset_mismatch", _offset_mismatch(sent)),
        ("after_withdrawal", phone.withdrawn_at is not None and at > phone.withdrawn_at),
        ("from_replaced_device", phone.replaced_at is not None),
        ("out_of_range", out_of_range),
        ("too_fast", _is_too_fast(sent)),
    ]
    return Judged([flag for flag, holds in flags if holds], values)


def _by_signal(
    sent: Submission, at: datetime, form: Form, signal: Signal | None, clock_offset: timedelta
) -> list[tuple[str, bool]]:
    """What is said of an answer because of the prompt that asked for it."""
    if signal is None:
        return []
    is_late = at > signal.expires_at
    began = sent.started_at
    began_late = is_late and began and corrected(began, clock_offset) > signal.expires_at
    return [
        ("after_expiry", is_late),
        ("late_start", bool(began_late)),
        ("before_due", at < signal.due_at),
        ("old_questionnaire", form.id != signal.questionnaire_id),
    ]


def _values_of(sent: Submission, form: Form) -> tuple[dict[str, int], bool]:
    """Values by analysis role, and whether any was out of its range (and so is not among them)."""
    values, out_of_range = {}, False
    for answer in sent.answers:
        scale = form.scales.get(answer.item)
        if scale is None or answer.value is None:
            continue
        if scale.holds(answer.value):
            values[scale.role] = round(answer.value * 10**scale.decimals)
        else:
            out_of_range = True
    return values, out_of_range


def _is_too_fast(sent: Submission) -> bool:
    """Whether nobody can have read what was answered, by the clock or else by reaction times."""
    answered = sum(answer.value is not None for answer in sent.answers)
    if sent.started_at is not None:
        return sent.completed_at - sent.started_at < answered * FASTEST
    times = [answer.rt_ms for answer in sent.answers if answer.value is not None]
    if None in times:
        return False
    return timedelta(milliseconds=sum(filter(None, times))) < answered * FASTEST


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
    return offset is None or offset.total_seconds() != 60 * sent.utc_offset_min
