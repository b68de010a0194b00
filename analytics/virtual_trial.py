"""Virtual trials: simulated people under a protocol, straight to the sums that a model takes.

One trial is one seed: people, prompts and answers are drawn once, and can then be seen under any
effect of treatment. No row is kept. All of it is simulated (`analytics.simulation`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.random import SFC64, Generator, SeedSequence
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import expit

from analytics import simulation
from analytics.companion import Counts
from analytics.many_designs import ManySums
from analytics.moments import Moments
from analytics.simulation import COMPLIANCE_SD, USUAL, Effect, Floats, Integers, Places, Shape

CONTROL = "control"
NOTHING = Effect(0.0)
EVERYBODY = slice(None)


@dataclass(frozen=True)
class Stretch:
    """Study days with the same prompts: as many a day, in a window of local hours, a gap apart."""

    days: int
    prompts_per_day: int
    window: tuple[float, float] = (8.0, 22.0)
    gap_h: float = 1.0

    @property
    def prompts(self) -> int:
        return self.days * self.prompts_per_day


@dataclass(frozen=True)
class Protocol:
    """Participants by arm, the reference first, and the stretches one after the other.

    doses: what share of the effect each arm gets; the reference has 0.
    names: of the arms. shapes: what people are like, by arm; one unless arms are to differ.
    """

    participants: tuple[int, ...]
    stretches: tuple[Stretch, ...]
    doses: tuple[float, ...] = ()
    shapes: tuple[Shape, ...] = (USUAL,)
    names: tuple[str, ...] = ()

    @property
    def arms(self) -> tuple[str, ...]:
        """Names of the arms, the reference first."""
        treated = len(self.participants) - 1
        if self.names:
            return self.names
        if treated == 1:
            return CONTROL, "treated"
        return CONTROL, *(f"treated {number}" for number in range(1, treated + 1))

    @property
    def dose(self) -> tuple[float, ...]:
        """Of each arm; unless they are given, in equal steps from 0 to 1."""
        treated = len(self.participants) - 1
        return self.doses or tuple(arm / treated for arm in range(treated + 1))

    @property
    def people(self) -> int:
        return sum(self.participants)

    @property
    def prompts(self) -> int:
        """Prompts of each participant."""
        return sum(each.prompts for each in self.stretches)

    @property
    def days(self) -> int:
        return sum(each.days for each in self.stretches)

    @cached_property
    def arm_index(self) -> NDArray[np.int64]:
        """The arm of each person, as its place."""
        return np.repeat(np.arange(len(self.participants)), self.participants)

    @cached_property
    def arm_of(self) -> dict[int, str]:
        """The arm of each person, by name."""
        return {person: self.arms[arm] for person, arm in enumerate(self.arm_index.tolist())}


class VirtualTrial:
    """The people of one trial and what happens to them, before any effect of treatment."""

    def __init__(self, protocol: Protocol, seed: Sequence[int]) -> None:
        self.protocol = protocol
        rng = Generator(SFC64(SeedSequence(list(seed))))
        nobody = [False] * protocol.people
        shapes = protocol.shapes * (len(protocol.participants) // len(protocol.shapes))
        self.people = simulation.draw_people(rng, nobody, shape=shapes[0])
        spread = np.array([shape.slope_sd for shape in shapes])[protocol.arm_index]
        own = (self.people.slope - simulation.SLOPE) * spread / shapes[0].slope_sd
        self.people = replace(self.people, slope=simulation.SLOPE + own)
        self.bounded = shapes[0].bounded
        self.dose = np.array(protocol.dose)[protocol.arm_index]
        day, hour = self._prompts(rng)
        self.course = simulation.draw_course(rng, self.people, day, hour, shapes[0])
        self.stress = simulation.rated(self.people.stress_mean[:, None] + self.course.stress)

    def sums(self, effects: Sequence[Effect]) -> ManySums:
        """Of stress and craving under each effect, by person (effects × P); whole numbers all.

        Everybody is there, also without an answer. What no effect changes is summed once.
        """
        there = self.course.answered.astype(np.float64)
        x = self.stress * there
        once = there.sum(axis=1), x.sum(axis=1), np.einsum("ij,ij->i", x, x)
        n, sum_x, sum_xx = (np.tile(each, (len(effects), 1)) for each in once)
        with_y = np.tile(
            _with_craving(x, self._craving(NOTHING, EVERYBODY) * there), (len(effects), 1, 1)
        )
        touched = np.flatnonzero(self.dose)
        for place, effect in enumerate(effects):
            y = self._craving(effect, touched) * there[touched]
            with_y[place][:, touched] = _with_craving(x[touched], y)
        sum_y, sum_xy, sum_yy = with_y.transpose(1, 0, 2)
        return ManySums(n, sum_x, sum_y, sum_xx, sum_xy, sum_yy)

    def moments(self, effect: Effect) -> Moments:
        """The sums under one effect, as a single fit takes them."""
        return moments_of(self.sums([effect]), 0)

    def counts(self, effect: Effect) -> Counts:
        """How often craving was above zero at each stress, by person."""
        who, when = np.nonzero(self.course.answered)
        any_ = self.craving(effect)[who, when] > 0
        return Counts.from_rows(who.tolist(), self.stress[who, when], any_)

    def craving(self, effect: Effect) -> Integers:
        """What people would answer at every prompt (P, T)."""
        return self._craving(effect, EVERYBODY).astype(np.int64)

    def _craving(self, effect: Effect, who: Places) -> Floats:
        people, dose = self.people, self.dose[who]
        slope = people.slope[who] * (1 - effect.attenuation * dose)
        mean = people.craving_mean[who] + effect.arm_shift * dose
        course = self.course.of(who)
        return simulation.points(simulation.craving_of(mean, slope, course), self.bounded)

    def _prompts(self, rng: Generator) -> tuple[Integers, Floats]:
        """Days (1, 2, …) and hours of everybody's prompts (P, T)."""
        hours, days, first = [], [], 1
        for each in self.protocol.stretches:
            size = self.protocol.people, each.days
            hours.append(
                simulation.draw_hours(rng, size, each.prompts_per_day, each.window, each.gap_h)
            )
            days.append(np.repeat(np.arange(first, first + each.days), each.prompts_per_day))
            first += each.days
        hour = np.concatenate(hours, axis=1)
        return np.broadcast_to(np.concatenate(days), hour.shape), hour


def moments_of(sums: ManySums, place: int) -> Moments:
    """Those of one model among many."""
    columns = (each[place].astype(np.int64) for each in sums)
    n, x, y, xx, xy, yy = columns
    return Moments(tuple(range(len(n))), n, x, y, xx, xy, yy)


def _with_craving(x: Floats, y: Floats) -> Floats:
    """Σy, Σxy and Σy² by person (3 × P)."""
    return np.stack([y.sum(axis=1), *(np.einsum("ij,ij->i", each, y) for each in (x, y))])


def trials(protocol: Protocol, seed: int, numbers: Iterator[int] | range) -> Iterator[VirtualTrial]:
    """The trials of these numbers; each is the same however many there are beside it."""
    for number in numbers:
        yield VirtualTrial(protocol, (seed, number))


def compliance_logit(share: float, stretches: Sequence[Stretch]) -> float:
    """The middle of people's logits with which this share of prompts is answered before drop-out.

    Over the same days and prompts, Gauss–Hermite over people.
    """
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)
    logits, count, first = [], [], 0
    for each in stretches:
        for start, number in ((-0.35, 1), (0.0, each.prompts_per_day - 1)):
            logits.append(start - 0.03 * (first + np.arange(each.days)) / 7)
            count.append(np.full(each.days, number))
        first += each.days
    offsets, many = np.concatenate(logits), np.concatenate(count)

    def answered(middle: float) -> float:
        chance = expit(middle + COMPLIANCE_SD * nodes[:, None] + offsets)
        return float(weights @ (chance @ many)) / float(weights.sum() * many.sum())

    return float(brentq(lambda middle: answered(middle) - share, -15, 20))
