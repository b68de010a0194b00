"""The demo's phones: they sync, arm, show, and upload what simulated people answer."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

import httpx
import numpy as np

from analytics import simulation
from analytics.demo.study import Cast, Wanted
from analytics.simulation import People, Ratings
from ema import branching, enrolment, phones
from ema.audit import COMMAND
from ema.models import Participant
from ema.phones import Card, Phone
from ema.questionnaires import default

ITEMS = default.document()["items"]
# codes of the default questionnaire, and how often each is drawn
PLACES = {"home": 0.55, "work": 0.2, "others_home": 0.07, "under_way": 0.1, "elsewhere": 0.08}
NOBODY = "nobody"
COMPANY = {NOBODY: 0.5, "partner": 0.15, "family": 0.15, "friends": 0.1, "colleagues": 0.1}
REASONS = {"people": 0.35, "work_money": 0.25, "health": 0.25, "other": 0.15}
ARMED_BEFORE = timedelta(hours=6)
ARMED_AHEAD = timedelta(days=7)
THREADS = 4


@dataclass(frozen=True)
class Owner:
    """Somebody with a phone that was let in."""

    index: int
    participant: Participant
    phone: Phone


def enrol_all(http: httpx.Client, cast: Cast, now: datetime) -> Iterator[Owner]:
    """Everybody's phone, let in by a code of its own, as on the day of enrolment."""
    for index, participant in enumerate(cast.participants):
        phone = Phone(http, app="fourbeat-demo")
        phone.redeem(enrolment.issue_code(participant=participant, now=now, actor=COMMAND))
        yield Owner(index, participant, phone)


def upload_all(
    owners: Sequence[Owner], wanted: Wanted, cast: Cast, now: datetime
) -> Iterator[Counter[str]]:
    """Let every phone do what it would have done all along; what each one uploaded."""
    yield from phones.each(owners, lambda owner: live(wanted, cast, owner, now), threads=THREADS)


def live(wanted: Wanted, cast: Cast, owner: Owner, now: datetime) -> Counter[str]:
    """One phone from its first schedule to its last answer."""
    participant, phone = owner.participant, owner.phone
    stopped = participant.withdrawn_at or now + ARMED_AHEAD
    cards = phone.sync(since=participant.enrolled_at, until=min(stopped, now + ARMED_AHEAD))
    due = [card for card in cards if card.due_at <= now]
    for card in cards:
        phone.note(
            "armed", card, min(max(card.due_at - ARMED_BEFORE, participant.enrolled_at), now)
        )
    for card in due:
        phone.note("shown", card, card.due_at)
    person, rng = cast.people.one(owner.index), wanted.rng(3, owner.index)
    for given in given_at(due, participant, person, rng):
        if given.completed_at < min(now, given.card.expires_at):
            phone.answer(
                given.card,
                given.values,
                given.completed_at,
                given.started_at,
            )
    return phone.upload()


class Given(NamedTuple):
    """What a person answered to a prompt, at the true times."""

    card: Card
    started_at: datetime
    completed_at: datetime
    values: Mapping[str, Any]


def given_at(
    cards: Sequence[Card], participant: Participant, person: People, rng: np.random.Generator
) -> Iterator[Given]:
    """The answers of one person to prompts in the order they were due; some are left unanswered."""
    if not cards:
        return
    zone = ZoneInfo(participant.zone)
    local = [card.due_at.astimezone(zone) for card in cards]
    on = [datetime.fromisoformat(card.study_on).date() for card in cards]
    days = np.array([(each - participant.enrolled_on).days + 1 for each in on])
    hours = np.array([at.hour + at.minute / 60 + at.second / 3600 for at in local])
    ratings = simulation.draw_ratings(rng, person, days, hours)
    for t, card in enumerate(cards):
        if ratings.answered[0, t]:
            completed_at = card.due_at + timedelta(seconds=float(ratings.latency_s[0, t]))
            started_at = completed_at - timedelta(seconds=int(rng.integers(4, 5 + 40)))
            values = answers_of(ratings, t, rng)
            yield Given(card, max(started_at, card.due_at), completed_at, values)


def answers_of(ratings: Ratings, t: int, rng: np.random.Generator) -> Mapping[str, Any]:
    """The items that one prompt shows: the three ratings, and a context that goes with them."""
    stress, craving, pain = (int(values[0, t]) for values in ratings[:3])
    mood = float(np.clip(70 - 0.4 * stress + rng.normal(0, 12), 0, 100))
    values = {
        "stress": stress,
        "craving": craving,
        "pain": pain,
        "mood": round(mood),
        "place": _drawn(rng, PLACES),
        "company": sorted({_drawn(rng, COMPANY), _drawn(rng, COMPANY)} - {NOBODY}) or [NOBODY],
        "stressful_event": bool(rng.random() < 0.05 + 0.004 * stress),
        "event_about": _drawn(rng, REASONS),
    }
    return {key: values[key] for key in branching.shown(ITEMS, values)}


def _drawn(rng: np.random.Generator, shares: Mapping[str, float]) -> str:
    return str(rng.choice(list(shares), p=list(shares.values())))
