"""Adverse events of the simulated trial: a few, whatever the arm, reported by the ordinary step."""

from datetime import date, datetime, timedelta
from typing import Any
from uuid import uuid4

import numpy as np

from analytics.demo.study import Cast, Wanted
from ema import adverse_events
from ema.audit import COMMAND

EVENTS_IN_98_DAYS = 0.35  # of a participant
TERMS = {
    "dry mouth": 0.22,
    "headache": 0.18,
    "drowsiness": 0.16,
    "dizziness on standing up": 0.14,
    "constipation": 0.12,
    "insomnia": 0.1,
    "nausea": 0.05,
    "fall": 0.03,
}
SEVERITIES = {"mild": 0.62, "moderate": 0.3, "severe": 0.08}
RELATEDNESS = {"unrelated": 0.2, "unlikely": 0.25, "possible": 0.35, "probable": 0.2}
GOES_ON = 0.15
SERIOUS_IF_SEVERE = 0.4


def report_events(wanted: Wanted, cast: Cast, now: datetime) -> int:
    """Report what happened to everybody up to yesterday; how many events."""
    rng, reported = wanted.rng(5), 0
    for person, stopped in zip(cast.participants, cast.people.drop_out_day, strict=True):
        number = rng.poisson(EVENTS_IN_98_DAYS * wanted.days / 98)
        yesterday = (now - timedelta(days=2)).date()  # in every zone
        days = min(wanted.days, float(stopped), (yesterday - person.enrolled_on).days)
        for _ in range(number if days >= 1 else 0):
            began = person.enrolled_on + timedelta(days=int(rng.integers(0, int(days) + 1)))
            adverse_events.report(
                participant=person,
                key=uuid4(),
                said=_drawn(rng, began, yesterday),
                now=now,
                actor=COMMAND,
            )
            reported += 1
    return reported


def _drawn(rng: np.random.Generator, began: date, yesterday: date) -> dict[str, Any]:
    """What is said of an event: the step's checks hold for all that may be drawn."""
    severity = _one_of(rng, SEVERITIES)
    ended = min(began + timedelta(days=int(rng.geometric(0.25)) - 1), yesterday)
    goes_on = rng.random() < GOES_ON
    return {
        "term": _one_of(rng, TERMS),
        "severity": severity,
        "is_serious": bool(severity == "severe" and rng.random() < SERIOUS_IF_SEVERE),
        "relatedness": _one_of(rng, RELATEDNESS),
        "started_on": began,
        "ended_on": None if goes_on else ended,
        "outcome": "not_recovered" if goes_on else "recovered",
        "action_taken": "interrupted" if severity == "severe" else "none",
        "description": "Simulated.",
    }


def _one_of(rng: np.random.Generator, shares: dict[str, float]) -> str:
    return str(rng.choice(list(shares), p=list(shares.values())))
