"""Phones that speak the real API, as an app would: for the demo, for replays and for drills.

A `Phone` redeems a code, keeps its tokens, reads its schedule, reports what happened to prompts
and uploads answers. It knows nothing of statistics: it is handed answers. What a person answered
stays in its outbox until the server says created, duplicate or quarantined.
"""

import random
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import count
from typing import Any, Literal, TypeVar
from zoneinfo import ZoneInfo

import httpx
import msgspec

ANSWERS_AT_ONCE, EVENTS_AT_ONCE = 50, 100  # in one batch, which may carry 100
LONGEST_HORIZON = timedelta(days=14)  # of one schedule request
TRY_AGAIN = frozenset({408, 425, 429, *range(500, 600)})
SEND_LESS = frozenset(
    {400, 413}
)  # the batch cannot be read, or is too large: perhaps one item's fault
UNAUTHORISED = 401
DONE = frozenset({"created", "duplicate", "quarantined", "stored", "ignored"})
EventKind = Literal["armed", "shown", "opened", "dismissed", "snoozed"]
T = TypeVar("T")
Done = TypeVar("Done")


class PhoneError(Exception):
    """The phone cannot go on; the message says why. Nothing in its outbox is lost."""


class Offline(PhoneError):
    """The server could not be reached, or kept asking to come back later."""


class SignedOut(PhoneError):
    """The tokens are not accepted any more: the participant needs a new code."""


class Refused(PhoneError):
    """The server understood and refused; `code` is the stable code of its problem."""

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class Questionnaire(msgspec.Struct, frozen=True):
    key: str
    version: int


class Card(msgspec.Struct, frozen=True):
    """A prompt as the phone knows it, from its schedule."""

    id: uuid.UUID
    study_on: str
    ordinal: int
    questionnaire: Questionnaire
    due_at: datetime
    expires_at: datetime


class _Schedule(msgspec.Struct):
    schedule_rev: str
    prompts: list[Card]
    cancelled: list[uuid.UUID]


@dataclass(frozen=True)
class Patience:
    """How long a phone keeps trying: back-off with full jitter, unless Retry-After says more."""

    attempts: int = 8
    first_wait_s: float = 0.25
    longest_wait_s: float = 20.0
    sleep: Callable[[float], None] = time.sleep

    def wait(self, attempt: int, retry_after_s: float | None) -> None:
        jittered = random.uniform(0, min(self.longest_wait_s, self.first_wait_s * 2**attempt))
        self.sleep(jittered if retry_after_s is None else retry_after_s + jittered / 10)


@dataclass
class Phone:
    """One installation of the app. `http` may be shared by phones; a phone is used by one thread.

    `clock` is the phone's own clock: it may be wrong, as clocks of phones are.
    """

    http: httpx.Client
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    patience: Patience = Patience()
    app: str = "fourbeat-simulator"
    installation: uuid.UUID = field(default_factory=uuid.uuid4)
    participant: str = ""
    zone: str = "UTC"
    cards: dict[uuid.UUID, Card] = field(default_factory=dict)
    answers: dict[str, dict[str, Any]] = field(default_factory=dict)
    events: dict[str, dict[str, Any]] = field(default_factory=dict)
    conflicts: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._access = self._refresh = self._schedule_rev = ""
        self._seq = count(1)

    # --- letting in -----------------------------------------------------------------------

    def redeem(self, code: str) -> None:
        """Enrol with a one-time code; a lost reply is harmless, the same phone may ask again."""
        asked = {
            "code": code,
            "installation_id": str(self.installation),
            "app": self.app,
            "platform": "simulated",
        }
        admitted = msgspec.json.decode(self._send("POST", "enrolments/redeem", asked).content)
        self.participant, self.zone = admitted["participant"], admitted["zone"]
        self._access, self._refresh = admitted["access_token"], admitted["refresh_token"]

    def refresh_tokens(self) -> None:
        """Rotate the tokens, or SignedOut."""
        sent = self._send("POST", "tokens/refresh", {"refresh_token": self._refresh}, strict=False)
        if sent.status_code == UNAUTHORISED:
            raise SignedOut(f"{self.participant or 'The phone'} needs a new code: {_title(sent)}")
        tokens = msgspec.json.decode(self._accepted(sent).content)
        self._access, self._refresh = tokens["access_token"], tokens["refresh_token"]

    # --- reading the schedule -------------------------------------------------------------

    def sync(self, since: datetime | None = None, until: datetime | None = None) -> list[Card]:
        """The prompts due from `since` (default: now) to `until`, in pages of 14 days."""
        start = since or self.clock()
        end = until or start + timedelta(days=7)
        found: list[Card] = []
        while start < end:
            days = max(1, -((start - min(end, start + LONGEST_HORIZON)) // timedelta(days=1)))
            query = {"since": start.isoformat(), "horizon": f"{days}d"}
            reply = self._send("GET", "me/schedule", query=query)
            page = msgspec.json.decode(reply.content, type=_Schedule)
            self._schedule_rev = page.schedule_rev
            for cancelled in page.cancelled:
                self.cards.pop(cancelled, None)
            found += [card for card in page.prompts if card.due_at < end]
            start += timedelta(days=days)
        self.cards |= {card.id: card for card in found}
        return found

    # --- what happens on the phone --------------------------------------------------------

    def note(self, kind: EventKind, card: Card, at: datetime) -> None:
        """Remember that something happened to a prompt; `upload` reports it."""
        event = str(uuid.uuid4())
        self.events[event] = {
            "id": event,
            "prompt_id": str(card.id),
            "kind": kind,
            "at": at.isoformat(),
            "seq": next(self._seq),
        }

    def move(self, zone: str, at: datetime) -> None:
        """The phone is in another zone from now on; `upload` reports it."""
        self.zone, event = zone, str(uuid.uuid4())
        self.events[event] = {
            "id": event,
            "kind": "zone_changed",
            "tz": zone,
            "at": at.isoformat(),
            "seq": next(self._seq),
        }

    def answer(
        self,
        card: Card,
        values: Mapping[str, Any],
        completed_at: datetime,
        started_at: datetime | None = None,
    ) -> str:
        """Put a person's answers into the outbox: None is a skipped item. The id they will keep."""
        response = str(uuid.uuid4())
        self.answers[response] = {
            "id": response,
            "prompt_id": str(card.id),
            "trigger": "random",
            "questionnaire": {
                "key": card.questionnaire.key,
                "version": card.questionnaire.version,
            },
            "shown_at": card.due_at.isoformat(),
            **({"started_at": started_at.isoformat()} if started_at else {}),
            "completed_at": completed_at.isoformat(),
            "tz": self.zone,
            "utc_offset_min": _offset_min(self.zone, completed_at),
            "seq": next(self._seq),
            "answers": [_answer(item, value) for item, value in values.items()],
            "schedule_rev": self._schedule_rev,
        }
        return response

    # --- uploading ------------------------------------------------------------------------

    def upload(self) -> Counter[str]:
        """Send events, then answers, until the outbox is empty; how many ended as what."""
        done = self._upload("me/events:batch", self.events, EVENTS_AT_ONCE)
        return done + self._upload("me/submissions:batch", self.answers, ANSWERS_AT_ONCE)

    def _upload(self, path: str, outbox: dict[str, dict[str, Any]], size: int) -> Counter[str]:
        """Batch by batch; what is refused even alone stays in the outbox, and the rest goes on."""
        done: Counter[str] = Counter()
        refused: dict[str, httpx.Response] = {}
        attempt = 0
        while batch := [item for name, item in outbox.items() if name not in refused][:size]:
            reply = self._send("POST", path, {"client": self._client(), "items": batch}, False)
            if reply.status_code in SEND_LESS:
                size = max(1, len(batch) // 2)
                if len(batch) == 1:
                    refused[batch[0]["id"]] = reply
                continue
            told = msgspec.json.decode(self._accepted(reply).content)["items"]
            again = self._settle(outbox, told, done)
            if again is None:
                attempt = 0
                continue
            attempt += 1
            if attempt >= self.patience.attempts:
                raise Offline(f"The server keeps asking to retry {len(outbox)} items.")
            self.patience.wait(attempt, again)
        for reply in refused.values():
            self._accepted(reply)  # says why
        return done

    def _settle(
        self, outbox: dict[str, dict[str, Any]], told: list[dict[str, Any]], done: Counter[str]
    ) -> float | None:
        """Let go of what the server has; how long to wait when it took nothing."""
        wait, left = 0.0, len(outbox)
        for item in told:
            name, status = item["id"], item["status"]
            wait = max(wait, item.get("retry_after_s", 0.0))
            if status == "conflict":
                self.conflicts.append(name)
            if (status in DONE or status == "conflict") and outbox.pop(name, None):
                done[status] += 1
        return wait if len(outbox) == left else None

    def _client(self) -> dict[str, str]:
        return {"sent_at": self.clock().isoformat(), "app": self.app, "platform": "simulated"}

    # --- speaking HTTP --------------------------------------------------------------------

    def _send(
        self,
        method: str,
        path: str,
        content: Mapping[str, Any] | None = None,
        strict: bool = True,
        query: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        """One request, repeated as the API's rules for phones say; refusals raise if `strict`."""
        refreshed, trouble = False, ""
        for attempt in range(self.patience.attempts):
            retry_after: float | None = None
            try:
                reply = self._request(method, path, content, query)
            except httpx.TransportError as error:
                trouble = str(error) or type(error).__name__
            else:
                if reply.status_code == UNAUTHORISED and self._may_refresh(path, refreshed):
                    self.refresh_tokens()
                    refreshed = True
                    continue
                if reply.status_code not in TRY_AGAIN:
                    return self._accepted(reply) if strict else reply
                trouble, retry_after = f"status {reply.status_code}", _retry_after(reply)
            if attempt + 1 < self.patience.attempts:
                self.patience.wait(attempt, retry_after)
        raise Offline(f"{path}: no answer after {self.patience.attempts} attempts ({trouble}).")

    def _may_refresh(self, path: str, refreshed: bool) -> bool:
        return path.startswith(("me/", "questionnaires/")) and bool(self._refresh) and not refreshed

    def _request(
        self,
        method: str,
        path: str,
        content: Mapping[str, Any] | None,
        query: Mapping[str, str] | None,
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self._access}"} if self._access else {}
        body = None
        if content is not None:
            if "client" in content:  # the clock is read anew for every attempt
                content = {**content, "client": self._client()}
            headers["Content-Type"] = "application/json"
            body = msgspec.json.encode(content)
        url = f"api/v1/{path}"
        return self.http.request(method, url, content=body, params=query, headers=headers)

    def _accepted(self, reply: httpx.Response) -> httpx.Response:
        if reply.is_success:
            return reply
        if reply.status_code == UNAUTHORISED:
            raise SignedOut(f"{self.participant or 'The phone'}: {_title(reply)}")
        raise Refused(f"{self.participant or 'The phone'}: {_title(reply)}", _code(reply))


def connect(url: str, *, phones: int = 8) -> httpx.Client:
    """An HTTP client that many phones share. Plain HTTP is taken for a proxy's inside."""
    limits = httpx.Limits(max_connections=phones, max_keepalive_connections=phones)
    headers = {"X-Forwarded-Proto": "https"} if url.startswith("http:") else {}
    return httpx.Client(base_url=url, timeout=30.0, limits=limits, headers=headers, trust_env=False)


def each(work: Iterable[T], do: Callable[[T], Done], *, threads: int = 6) -> Iterator[Done]:
    """Run phones side by side, a thread each; what each one did, as they finish."""
    with ThreadPoolExecutor(max_workers=threads) as pool:
        jobs = [pool.submit(do, one) for one in work]
        try:
            for job in as_completed(jobs):
                yield job.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _answer(item: str, value: Any) -> dict[str, Any]:
    if value is None:
        return {"item": item, "value": None, "skip": "not answered"}
    return {"item": item, "value": value}


@lru_cache(maxsize=256)
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _offset_min(zone: str, at: datetime) -> int:
    offset = at.astimezone(_zone(zone)).utcoffset() or timedelta(0)
    return round(offset.total_seconds() / 60)


def _retry_after(reply: httpx.Response) -> float | None:
    try:
        return float(reply.headers["Retry-After"])
    except (KeyError, ValueError):
        return None


def _problem(reply: httpx.Response) -> dict[str, Any]:
    try:
        content = msgspec.json.decode(reply.content)
    except msgspec.DecodeError:
        return {}
    return content if isinstance(content, dict) else {}


def _title(reply: httpx.Response) -> str:
    return str(_problem(reply).get("title") or f"status {reply.status_code}")


def _code(reply: httpx.Response) -> str:
    return str(_problem(reply).get("code") or reply.status_code)
