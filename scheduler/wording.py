"""The words of the ledger, each explained in one plain sentence: for pages, commands and docs."""

from collections.abc import Iterator
from typing import NamedTuple

from scheduler.ledger import Ledger

MEANINGS = {
    "answered": "Answered before it expired.",
    "answered_late": "Answered after it had expired; the answer is kept, with a flag.",
    "missed": "A phone had it, and nobody answered before it expired.",
    "not_delivered": "No phone had it before it expired, so nobody could answer; never a miss.",
    "no_device": "The participant had no phone enrolled when it was due.",
    "channel_failed": "The participant had a phone, but the message to it was refused or failed.",
    "system": "The server did not plan or send it in time; the participant had no part in that.",
    "cancelled": "Taken back before it could be answered.",
    "before_enrolment": "Due earlier on the first day than the participant was enrolled.",
    "before_start": "Due before it was known here that the participant's phase had begun.",
    "withdrawn": "Due after the participant had withdrawn.",
    "paused": "Due during a pause or a hospital stay.",
    "superseded": "Planned anew for other hours or another zone, before a phone had it.",
    "overlap_after_travel": "Came before the day before had ended in the former time zone.",
    "open": "Not expired yet.",
    "planned": "Planned; no phone has downloaded it yet.",
    "released": "Downloaded by the phone.",
    "armed": "The phone has set an alarm of its own for it.",
    "sent": "Sent to the phone.",
    "shown": "The phone has shown it.",
    "opened": "The participant has opened it and not answered yet.",
}
GROUPS = ("not_delivered", "cancelled", "open")


class Line(NamedTuple):
    """A line of the ledger; one with `is_part` is a part of the line above that is not."""

    word: str
    prompts: int
    percent: str
    meaning: str
    is_part: bool = False

    @property
    def name(self) -> str:
        """As pages write it: `no device`."""
        return self.word.replace("_", " ")


def share_of(count: int, whole: int) -> str:
    """A percentage with one decimal; a dash where there is nothing to take it of."""
    return f"{100 * count / whole:.1f} %" if whole else "–"


def explained(counted: Ledger) -> Iterator[Line]:
    """Every line of a ledger with its share of what was planned, groups before their parts."""

    def line(word: str, count: int, is_part: bool = False) -> Line:
        return Line(word, count, share_of(count, counted.planned), MEANINGS[word], is_part)

    for word in ("answered", "answered_late", "missed"):
        yield line(word, getattr(counted, word))
    for word in GROUPS:
        parts: dict[str, int] = getattr(counted, word)
        yield line(word, sum(parts.values()))
        for part, count in parts.items():
            yield line(part, count, is_part=True)
