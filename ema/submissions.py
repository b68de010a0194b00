"""What a phone sends in a batch: its shape, and reading it item by item.

A broken item never spoils its neighbours: it is read as `Broken`, with JSON pointers.
"""

import hashlib
import json
import re
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Generic, Literal, NamedTuple, TypeVar

import msgspec

MOST_ITEMS = 100
EARLIEST, LATEST = datetime(1900, 1, 1, tzinfo=UTC), datetime(3000, 1, 1, tzinfo=UTC)
DIGITS_AS_ONE = bytes.maketrans(b"0123456789", b"0" * 10)
ENDLESS = b"0" * 300
# A number with an exponent that PostgreSQL's may not reach; an id such as 1e2345… is none.
FAR = re.compile(rb"(?:^|[\s:,\[])-?\d[\d.]*[eE][+-]?\d{4}")
T = TypeVar("T")
Instant = Annotated[datetime, msgspec.Meta(tz=True)]
Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Short = Annotated[str, msgspec.Meta(max_length=64)]


def refuse_impossible(*instants: datetime | None) -> None:
    """ValueError for a year that no clock shows: databases and languages differ beyond them."""
    for at in instants:
        if at is not None and not EARLIEST <= at < LATEST:
            raise ValueError(f"The year must lie between {EARLIEST.year} and {LATEST.year - 1}")


class Client(msgspec.Struct, omit_defaults=True):
    """The app and its clock at the moment of sending."""

    sent_at: Instant | None = None
    app: Short = ""
    app_version: Short = ""
    platform: Short = ""
    os: Short = ""
    boot_id: Short = ""
    monotonic_ms: Count | None = None

    def __post_init__(self) -> None:
        refuse_impossible(self.sent_at)


class Body(msgspec.Struct):
    """A batch as it is sent."""

    items: list[msgspec.Raw]
    client: msgspec.Raw = msgspec.Raw(b"{}")


class Envelope(NamedTuple):
    """A batch: the client and its items, each still raw.

    `can_be_kept` says of all at once that nothing in them is what PostgreSQL cannot hold.
    """

    items: list[msgspec.Raw]
    client: msgspec.Raw
    can_be_kept: bool


class QuestionnaireRef(msgspec.Struct):
    key: Short
    version: Annotated[int, msgspec.Meta(ge=1, le=32767)]


class Answer(msgspec.Struct):
    """`value`, or null with the reason in `skip`; `rt_ms` is the reaction time."""

    item: Short
    value: Any = None
    rt_ms: Count | None = None
    skip: Short | None = None


class Submission(msgspec.Struct, omit_defaults=True):
    """One response as a phone sends it.

    Its hash leaves defaults out, so that a field which a release adds changes no hash of before.
    """

    id: uuid.UUID
    questionnaire: QuestionnaireRef
    completed_at: Instant
    answers: list[Answer]
    prompt_id: uuid.UUID | None = None
    trigger: Literal["random", "self_initiated"] = "random"
    shown_at: Instant | None = None
    started_at: Instant | None = None
    tz: Short = ""
    utc_offset_min: Annotated[int, msgspec.Meta(ge=-1080, le=1080)] | None = None
    monotonic_ms: Count | None = None
    boot_id: Short = ""
    seq: Count | None = None
    language: Annotated[str, msgspec.Meta(max_length=20)] = ""
    schedule_rev: Short = ""

    def __post_init__(self) -> None:
        refuse_impossible(self.completed_at, self.shown_at, self.started_at)


class Event(msgspec.Struct):
    """Something that happened on the phone: to a prompt, or to the phone itself."""

    id: uuid.UUID
    kind: Literal[
        "armed",
        "shown",
        "opened",
        "dismissed",
        "snoozed",
        "zone_changed",
        "clock_changed",
        "notifications_changed",
    ]
    at: Instant
    prompt_id: uuid.UUID | None = None
    tz: Short = ""
    allowed: bool | None = None
    seq: Count | None = None

    def __post_init__(self) -> None:
        refuse_impossible(self.at)
        if self.prompt_id is None and not self.kind.endswith("_changed"):
            raise ValueError("An event of a prompt names it in prompt_id")
        if self.kind == "zone_changed" and not self.tz:
            raise ValueError("A change of zone names the new one in tz")
        if self.kind == "notifications_changed" and self.allowed is None:
            raise ValueError("A change of notifications says in allowed whether they may show")

    @property
    def detail(self) -> str:
        """What is kept of an event of the phone itself."""
        match self.kind:
            case "zone_changed":
                return self.tz
            case "notifications_changed":
                return "allowed" if self.allowed else "denied"
        return ""


class BatchUnreadable(ValueError):
    """The body is not a batch at all; nothing in it could be read."""


class BatchTooLarge(ValueError):
    """More items than one batch may carry: the phone halves it."""


@dataclass(frozen=True)
class Fault:
    pointer: str
    detail: str


class Read(msgspec.Struct, Generic[T], frozen=True):
    """An item that could be read, and a hash of what is kept of it.

    However an app writes the same item, in another order or with fields of its own, the hash is
    the same.
    """

    item: T
    content_sha256: str
    raw: msgspec.Raw

    def is_content(self, sha256: str | None) -> bool:
        """Whether this is what was stored with that hash, which once was of all that was sent."""
        if sha256 is None:
            return False
        return sha256 == self.content_sha256 or sha256 == _tree_sha256(bytes(self.raw))

    @property
    def sent_sha256(self) -> str:
        """What it is known by where all that was sent is kept."""
        return _sent_sha256(bytes(self.raw))

    @property
    def as_json(self) -> str:
        return _as_json(bytes(self.raw))


@dataclass(frozen=True)
class Broken:
    """An item that could not: its id as far as there is one, and what is wrong."""

    id: str | None
    sent_sha256: str
    raw: bytes
    fault: Fault

    @property
    def as_json(self) -> str:
        return _as_json(self.raw)


UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
_client = msgspec.json.Decoder(Client)
_body = msgspec.json.Decoder(Body)
_submission = msgspec.json.Decoder(Submission)
_event = msgspec.json.Decoder(Event)
_anything = msgspec.json.Decoder()
_canonical = msgspec.json.Encoder(order="deterministic")


def read_envelope(body: bytes) -> Envelope:
    """The batch, with its items raw; BatchUnreadable or BatchTooLarge in words."""
    try:
        read = _body.decode(body)
    except UNREADABLE as error:
        read = _read_leniently(body, error)
    if len(read.items) > MOST_ITEMS:
        message = f"{len(read.items)} items; a batch carries at most {MOST_ITEMS}: send half."
        raise BatchTooLarge(message)
    return Envelope(read.items, read.client, can_be_kept=_unkeepable(body) is None)


def _read_leniently(body: bytes, error: Exception) -> Body:
    """Take a batch apart although something in it is not proper JSON, such as half an emoji.

    Each item is written anew, so that only those that are broken fail when they are read.
    """
    try:
        tree = json.loads(body.decode(errors="replace"))
        items = [msgspec.Raw(json.dumps(item).encode()) for item in tree["items"]]
        return Body(items, msgspec.Raw(json.dumps(tree.get("client", {})).encode()))
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        raise BatchUnreadable(f"The body is not a batch of items: {error}.") from error


def read_client(raw: msgspec.Raw) -> Client:
    """Who sends. A client that cannot be read must not cost the answers: it is left blank."""
    try:
        return _client.decode(raw)
    except UNREADABLE:
        return Client()


def read_submissions(envelope: Envelope) -> list[Read[Submission] | Broken]:
    return [_read(raw, _submission, envelope.can_be_kept) for raw in envelope.items]


def read_submission(raw: msgspec.Raw) -> Read[Submission] | Broken:
    """One that comes by itself."""
    return _read(raw, _submission, can_be_kept=False)


def read_events(envelope: Envelope) -> list[Read[Event] | Broken]:
    return [_read(raw, _event, envelope.can_be_kept) for raw in envelope.items]


def _read(
    raw: msgspec.Raw, decoder: msgspec.json.Decoder[T], can_be_kept: bool
) -> Read[T] | Broken:
    """An item; looked at closely where not all of the batch is known to be one that can be kept."""
    try:
        if not can_be_kept:
            _refuse_unkeepable(bytes(raw))
        item = decoder.decode(raw)
        content = _canonical.encode(item)
    except (*UNREADABLE, ValueError) as error:
        return _broken(bytes(raw), error)
    return Read(item, hashlib.sha256(content).hexdigest(), raw)


def _broken(content: bytes, error: Exception) -> Broken:
    """What is wrong with an item, first with it as JSON."""
    return Broken(_named(content), _sent_sha256(content), content, _fault(str(error)))


def _sent_sha256(content: bytes) -> str:
    return _tree_sha256(content) or hashlib.sha256(content).hexdigest()


def _tree_sha256(content: bytes) -> str | None:
    """A hash of all of an item, in whatever order; None of what no JSON column can hold."""
    try:
        _refuse_unkeepable(content)
        tree = _anything.decode(content)
    except (*UNREADABLE, ValueError):
        return None
    return hashlib.sha256(_canonical.encode(tree)).hexdigest()


def _as_json(content: bytes) -> str:
    """The item as it was sent; what no JSON column can hold becomes a text of its bytes."""
    if _tree_sha256(content) is None or FAR.search(content):
        return json.dumps(content.decode(errors="backslashreplace"))
    return content.decode()


def _refuse_unkeepable(content: bytes) -> None:
    if why := _unkeepable(content):
        raise ValueError(why)


def _unkeepable(content: bytes) -> str | None:
    """Why not; PostgreSQL has no NUL in texts and no endless numbers."""
    if b"\\u0000" in content:
        return "Text must not contain the NUL character"
    if ENDLESS in content.translate(DIGITS_AS_ONE):  # four times as fast as an expression
        return "A number has more than 300 digits"
    return None


def _named(content: bytes) -> str | None:
    """The id of a broken item, so that the phone knows which one it was."""
    try:
        tree = json.loads(content.decode(errors="replace"))
    except (ValueError, RecursionError):
        return None
    named = tree.get("id") if isinstance(tree, dict) else None
    return named.encode(errors="replace").decode()[:100] if isinstance(named, str) else None


def _fault(message: str) -> Fault:
    """msgspec says "… - at `$.answers[0].item`"; phones are told `/answers/0/item`."""
    detail, _, path = message.partition(" - at `$")
    return Fault(pointer=re.sub(r"[.\[]", "/", path.rstrip("`")).replace("]", ""), detail=detail)
