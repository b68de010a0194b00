"""The life of one simulated phone: enrol, sync, arm, answer, upload, and get lost."""

import random
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from uuid import UUID

import httpx
from django.db import connection

from analytics.demo.phones import Given, given_at
from analytics.demo.study import Cast, Wanted
from analytics.simulate.troubles import Fate, Troubles
from ema import enrolment, phones
from ema.audit import COMMAND
from ema.models import Participant
from ema.phones import Card, Patience, Phone

ARMED_AHEAD = timedelta(days=7)
ARMED_BEFORE = timedelta(hours=6)
HASTY = Patience(first_wait_s=0.02, longest_wait_s=2.0)
APP = "fourbeat-simulate"


@dataclass
class Lived:
    """What became of one person: the answers given, by id, and what the server said of each item.

    `held` are the ids that a lost phone still held when another had taken its place.
    """

    given: dict[UUID, Given] = field(default_factory=dict)
    held: frozenset[UUID] = frozenset()
    told: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class Life:
    """One person of the cast, what will go wrong, and where the server is."""

    index: int
    participant: Participant
    fate: Fate
    http: httpx.Client
    now: datetime

    @property
    def error(self) -> timedelta:
        """How far the clocks of this person's phones are off."""
        return self.fate.clock_error


def lives_of(
    cast: Cast, wanted: Wanted, troubles: Troubles, http: httpx.Client, now: datetime
) -> Iterator[Life]:
    """Everybody, each with a fate of their own."""
    for index, participant in enumerate(cast.participants):
        fate = Fate.draw(random.Random(f"{wanted.seed} {index}"), troubles, wanted.days)
        yield Life(index, participant, fate, http, now)


def live(life: Life, cast: Cast, wanted: Wanted) -> Lived:
    """One person from the first day until now; in the evening the phone uploads, if it can."""
    lived, fate = Lived(), life.fate
    phone, lost = new_phone(life), None
    cards = synced(phone, life)
    arm(phone, cards, life)
    due = [card for card in cards if card.due_at <= life.now]
    person, rng = cast.people.one(life.index), wanted.rng(3, life.index)
    answers = {
        given.card.id: given
        for given in given_at(due, life.participant, person, rng)
        if given.completed_at < life.now
    }
    for day, (_, todays) in enumerate(groupby(due, lambda card: card.study_on)):
        if day == fate.lost_on:
            lost, phone = phone, new_phone(life)
            lived.held = frozenset(map(UUID, lost.answers))
            synced(phone, life)
        if day == fate.moves_on:
            phone.move(fate.elsewhere, life.now + life.error)
        for card in todays:
            respond(phone, card, answers.get(card.id), lived, life)
        if day not in fate.offline_on and day + 1 != fate.lost_on:
            lived.told += phone.upload()
    lived.told += phone.upload()
    if lost:
        lived.told += lost.upload()
    return lived


def new_phone(life: Life) -> Phone:
    """A phone let in by a code of its own; one that was there before is replaced."""
    try:
        code = enrolment.issue_code(participant=life.participant, now=life.now, actor=COMMAND)
    finally:
        connection.close()  # of this thread, which goes on over HTTP
    phone = Phone(life.http, clock=lambda: datetime.now(UTC) + life.error, patience=HASTY, app=APP)
    phone.redeem(code)
    return phone


def synced(phone: Phone, life: Life) -> list[Card]:
    """All prompts from enrolment on, as far ahead as phones look."""
    return phone.sync(since=life.participant.enrolled_at, until=life.now + ARMED_AHEAD)


def arm(phone: Phone, cards: Sequence[Card], life: Life) -> None:
    for card in cards:
        at = max(card.due_at - ARMED_BEFORE, life.participant.enrolled_at)
        phone.note("armed", card, min(at, life.now) + life.error)


def respond(phone: Phone, card: Card, given: Given | None, lived: Lived, life: Life) -> None:
    """The prompt shows, and perhaps is answered; the phone writes the times its clock shows."""
    phone.note("shown", card, card.due_at + life.error)
    if given is not None:
        times = given.completed_at + life.error, given.started_at + life.error
        lived.given[UUID(phone.answer(card, given.values, *times))] = given


def live_all(lives: Sequence[Life], cast: Cast, wanted: Wanted, *, threads: int) -> Iterator[Lived]:
    """Everybody side by side; each as it ends."""
    yield from phones.each(lives, lambda life: live(life, cast, wanted), threads=threads)
