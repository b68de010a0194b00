"""Store first, judge later: flags and analysed values of a submission. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from ema.access import Signal, Uploader
from ema.submissions import EARLIEST, LATEST, Client, Submission

SKEW_TOLERATED = timedelta(minutes=2)
FASTEST_MS = 200  # an item
FUTURE_TOLERATED = timedelta(minutes=1)
LARGEST = 2**31 - 1
NUMBERS = (int, float)  # and not bool, which is an int of sorts
LONGEST_MS = 10**14  # three thousand years: beyond them there is nothing to tell apart


class Scale(NamedTuple):
    """How an item with an analysis role becomes an integer: 30.4 with one decimal is 304."""

    role: str
    lowest: float
    highest: float
    unit: int

    @classmethod
    def of(cls, role: str, minimum: int | None, maximum: int | None, decimals: int) -> "Scale":
        """The item's own bounds, within what is stored."""
        unit = 10**decimals
        most = LARGEST / unit
        lowest = -most if minimum is None else max(minimum, -most)
        highest = most if maximum is None else min(maximum, most)
        return cls(role, lowest, highest, unit)

    def units(self, value: Any) -> int | None:
        """The value in its decimals; None where it is not a number within the bounds."""
        if type(value) not in NUMBERS or not self.lowest <= value <= self.highest:
            return None
        units: int = round(value * self.unit)
        return units


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


class Upload(NamedTuple):
    """What is the same for all of a batch: who sends it, and how far its clock is behind."""

    phone: Uploader
    client: Client
    clock_offset: timedelta
    now: datetime

    @classmethod
    def of(cls, phone: Uploader, client: Client, now: datetime) -> "Upload":
        return cls(phone, client, now - client.sent_at if client.sent_at else timedelta(0), now)


class Judged(NamedTuple):
    """What is said of a submission: its flags, in a fixed order, and its analysed values.

    Stress, craving and pain are integers in their item's decimals, where they are in range.
    """

    flags: list[str]
    values: dict[str, int]


def judge(
    sent: Submission, *, at: datetime, form: Form, signal: Signal | None, upload: Upload
) -> Judged:
    """Everything a reader of the data should know about a submission completed `at`, corrected.

    Whether it is the first answer to its prompt is for the database to say. Flags are named by
    their texts here: a member of an enumeration takes three times as long to look up.
    """
    flags: list[str] = []
    if sent.trigger == "random":
        _by_signal(flags, sent, at, form, signal, upload)
    _by_clock(flags, sent, at, upload)
    withdrawn_at = upload.phone.withdrawn_at
    if withdrawn_at is not None and at > withdrawn_at:
        flags.append("after_withdrawal")
    if upload.phone.replaced_at is not None:
        flags.append("from_replaced_device")
    return Judged(flags, _by_answers(flags, sent, form))


def _by_signal(
    flags: list[str],
    sent: Submission,
    at: datetime,
    form: Form,
    signal: Signal | None,
    upload: Upload,
) -> None:
    """Because of the prompt that asked for it."""
    if signal is None:
        flags.append("unknown_prompt")
        return
    if at > signal.expires_at:
        flags.append("after_expiry")
        began = sent.started_at
        if began is not None and corrected(began, upload.clock_offset) > signal.expires_at:
            flags.append("late_start")
    if at < signal.due_at:
        flags.append("before_due")
    if form.id != signal.questionnaire_id:
        flags.append("old_questionnaire")


def _by_clock(flags: list[str], sent: Submission, at: datetime, upload: Upload) -> None:
    """Because of the phone's clock and zone."""
    if abs(upload.clock_offset) > SKEW_TOLERATED:
        flags.append("clock_skew")
    if at > upload.now + FUTURE_TOLERATED:
        flags.append("future")
    late = late_by(sent, upload.client)
    if abs(late) > SKEW_TOLERATED:
        flags.append("clock_jump")
    if late > SKEW_TOLERATED:
        flags.append("backdated")
    if sent.tz and _offset_mismatch(sent):
        flags.append("tz_offset_mismatch")


def _by_answers(flags: list[str], sent: Submission, form: Form) -> dict[str, int]:
    """Because of what was answered; gives the values by analysis role that are in range."""
    values: dict[str, int] = {}
    answered, out_of_range = 0, False
    for answer in sent.answers:
        if answer.value is None:
            continue
        answered += 1
        if (scale := form.scales.get(answer.item)) is None:
            continue
        if (units := scale.units(answer.value)) is None:
            out_of_range = True
        else:
            values[scale.role] = units
    if out_of_range:
        flags.append("out_of_range")
    if _is_too_fast(sent, answered):
        flags.append("too_fast")
    return values


def _is_too_fast(sent: Submission, answered: int) -> bool:
    """Whether nobody can have read what was answered, by the clock or else by reaction times."""
    if sent.started_at is not None:
        return sent.completed_at - sent.started_at < timedelta(milliseconds=answered * FASTEST_MS)
    times = [answer.rt_ms for answer in sent.answers if answer.value is not None]
    if None in times:
        return False
    return sum(filter(None, times)) < answered * FASTEST_MS


@lru_cache(maxsize=1024)
def _zone(name: str) -> ZoneInfo | None:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        return None


def _offset_mismatch(sent: Submission) -> bool:
    """Whether the stated UTC offset is not the stated zone's (or the zone is unknown)."""
    zone = _zone(sent.tz)
    if zone is None or sent.utc_offset_min is None:
        return zone is None
    offset = sent.completed_at.astimezone(zone).utcoffset()
    return offset is None or offset.total_seconds() != 60 * sent.utc_offset_min
