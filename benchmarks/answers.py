"""Answers to past prompts, ready to be sent: as HTTP requests, or as the rows they become."""

import uuid
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import msgspec

from benchmarks.trial import KEY, SLIDERS, ZONE, Phone
from ema import prepared
from ema.models import Prompt
from ema.responses import COLUMNS

LOCAL = ZoneInfo(ZONE)
NONE = "{}"  # of the batch answers a prompt that another of it answers
HEAD = (
    "POST /api/v1/me/submissions:batch HTTP/1.1\r\n"
    "Host: 127.0.0.1\r\n"
    "Authorization: Bearer {token}\r\n"
    "Content-Type: application/json\r\n"
    "Content-Length: {length}\r\n\r\n"
)


@dataclass(frozen=True)
class Batch:
    """The answers of one phone that go together."""

    phone: Phone
    items: list[dict[str, Any]]

    def request(self) -> bytes:
        """The whole HTTP request, so that sending costs the client next to nothing."""
        client = {"sent_at": datetime.now(UTC), "app": "bench", "platform": "simulated"}
        body = msgspec.json.encode({"client": client, "items": self.items})
        return HEAD.format(token=self.phone.token, length=len(body)).encode() + body

    def arguments(self, questionnaire: int) -> list[Any]:
        """The arguments of `ema.responses.INSERT` for the same answers, as texts."""
        prompts, participant, device, sent = self.staged(questionnaire)
        return [sent, prompts, NONE, participant, device, datetime.now(UTC)]

    def staged(self, questionnaire: int) -> tuple[str, int, int, str]:
        """What the arguments are made of: prompts, participant, device, rows as JSON."""
        rows = msgspec.json.encode([_row(item, questionnaire) for item in self.items])
        prompts = prepared.array(item["prompt_id"] for item in self.items).decode()
        device = self.phone.device
        return prompts, device.participant_id, device.pk, rows.decode()


class Stock:
    """Past prompts of all phones, each to be answered once."""

    def __init__(self, phones: Sequence[Phone], now: datetime) -> None:
        self._phones = deque((phone, self._prompts(phone, now)) for phone in phones)

    @staticmethod
    def _prompts(phone: Phone, now: datetime) -> deque[tuple[uuid.UUID, datetime]]:
        past = Prompt.objects.standing().filter(
            participant_id=phone.device.participant_id, expires_at__lt=now
        )
        return deque(past.order_by("due_at").values_list("pk", "due_at"))

    def take(self, batches: int, size: int) -> list[Batch]:
        """Batches of as many answers, the phones taking turns."""
        return [next(self._next(size)) for _ in range(batches)]

    def _next(self, size: int) -> Iterator[Batch]:
        for _ in range(len(self._phones)):
            phone, prompts = self._phones[0]
            self._phones.rotate(-1)
            if len(prompts) >= size:
                yield Batch(phone, [_item(*prompts.popleft()) for _ in range(size)])
        raise RuntimeError("The bench has run out of prompts: enrol more participants.")


def _item(prompt: uuid.UUID, due_at: datetime) -> dict[str, Any]:
    """One answer as a phone sends it, two minutes after the prompt was due."""
    completed_at = due_at + timedelta(minutes=2)
    offset = completed_at.astimezone(LOCAL).utcoffset() or timedelta(0)
    return {
        "id": uuid.uuid4(),
        "prompt_id": prompt,
        "trigger": "random",
        "questionnaire": {"key": KEY, "version": 1},
        "shown_at": due_at,
        "started_at": due_at + timedelta(minutes=1),
        "completed_at": completed_at,
        "tz": ZONE,
        "utc_offset_min": offset // timedelta(minutes=1),
        "seq": prompt.int % 1000,
        "language": "en",
        "answers": [
            {"item": key, "value": (prompt.int >> shift) % 101, "rt_ms": 2000}
            for shift, key in enumerate(SLIDERS)
        ],
    }


def _row(item: dict[str, Any], questionnaire: int) -> dict[str, Any]:
    """What the server makes of an item, by column of ema_response."""
    return {
        **{name: item[name] for name in COLUMNS if name in item},
        **{answer["item"]: answer["value"] for answer in item["answers"]},
        "questionnaire_id": questionnaire,
        "completed_at_corrected": item["completed_at"],
        "zone": item["tz"],
        "schedule_rev": "",
        "flags": [],
        "content_sha256": bytes(32).hex(),
    }
