"""Simulated participants of an EMA trial: stress, craving, pain, compliance and urine tests. Pure.

The data are simulated. They are shaped like a trial of 118 people over 14 weeks, but the published
model of that trial is not public in detail, and nothing here claims to reproduce it.

Scales are 0 to 100 in whole points. Times are hours since the start of study day 1. For person i
and prompt t, with OU an Ornstein–Uhlenbeck process (standard deviation, time constant):

    stress_it  = m_i + day_id + OU(18, 3 h)
    craving_it = a_i − 0.8 (week − 7) + b_i (stress_it − m_i)
                 + 0.002 (stress_it − m_i)(pain_it − k_i) + OU(13, 4 h) + noise(10)
    pain_it    = k_i + OU(15, 6 h)

with m ~ N(30, 15²), day ~ N(0, 8²), a ~ N(4, 22²), corr(m, a) = 0.35, k ~ N(30, 15²) and
b ~ N(0.45, 0.15²) × (1 − attenuation under treatment). Values are then rounded and clipped.

The slopes b are true *before* rounding and clipping. About half of the cravings are clipped to
zero, which flattens the slope that any analysis of the answers can find: `truths` in
`analytics.demo.steps` gives the value that this analysis has in a very large simulated sample.

Urine tests: the logit of a lapse (positive or missed) is a trait of the person. Its mean and SD are
such that three tests a week for 14 weeks, missed after drop-out, give the published longest
abstinence of each arm, in mean and SD (`docs/decisions/0014-…`).

`Shape` holds what may be asked for otherwise. Whatever does not depend on treatment is a `Course`,
so that the same people can be seen under several effects.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
Booleans = NDArray[np.bool_]
Places = NDArray[np.intp] | slice

SLOPE, SLOPE_SD = 0.45, 0.15  # craving points per stress point
MIDDLE_WEEK = 7.0  # when the mean of craving is 4 before clipping
URINE_LOGIT = {False: (-0.95, 1.32), True: (-1.52, 2.02)}  # of a lapse: mean, SD; by treatment
FRAILTY = 0.5  # correlation of a person's urine lapses with the own level of craving
MISSED_OF_LAPSES = 1 / 3
DROPPED_OUT_BY_DAY_98 = 0.25
COMPLIANCE_SD = 0.75  # between people, on the scale of logits
MEDIAN_LATENCY_S, LATENCY_SPREAD, LONGEST_LATENCY_S = 150.0, 0.9, 28 * 60.0


class Effect(NamedTuple):
    """What treatment does: `attenuation` of the coupling (0.40 is 40 %), and a shift of the mean.

    A shift without attenuation is the floor trap: the mean falls, the coupling does not, yet a
    linear analysis near the floor sees decoupling.
    """

    attenuation: float = 0.40
    arm_shift: float = 0.0  # points added to craving under treatment


PUBLISHED = Effect()  # the size of effect that the shape of the trial is meant for


class Shape(NamedTuple):
    """What people are like, whatever their arm.

    Without `bounded` craving is rounded and not clipped: the slopes drawn are those to be found.
    """

    slope_sd: float = SLOPE_SD
    pain_stress: float = 0.002  # craving points per product of the two deviations
    compliance_logit: float = 1.65
    dropped_out_by_day_98: float = DROPPED_OUT_BY_DAY_98
    bounded: bool = True


USUAL = Shape()


@dataclass(frozen=True)
class People:
    """Traits of P people, each an array of length P. `drop_out_day` is inf for those who stay."""

    treated: Booleans
    stress_mean: Floats
    craving_mean: Floats
    pain_mean: Floats
    slope: Floats
    compliance_logit: Floats
    urine_logit: Floats
    drop_out_day: Floats

    def __len__(self) -> int:
        return len(self.treated)

    def one(self, index: int) -> "People":
        """A single person."""
        return People(*(values[index : index + 1] for values in vars(self).values()))


class Ratings(NamedTuple):
    """What a person would answer at T prompts; arrays (P, T). `latency_s` is seconds after due."""

    stress: Integers
    craving: Integers
    pain: Integers
    answered: Booleans
    latency_s: Floats


class Course(NamedTuple):
    """What happens to P people at T prompts, whatever their arm; arrays (P, T).

    stress and pain are deviations from the person's mean; rest is what craving is made of beside
    the person's mean and slope × stress.
    """

    stress: Floats
    pain: Floats
    rest: Floats
    answered: Booleans

    def of(self, who: Places) -> "Course":
        """Of some people."""
        return Course(self.stress[who], self.pain[who], self.rest[who], self.answered[who])


def draw_people(
    rng: Generator, treated: Sequence[bool], effect: Effect = PUBLISHED, shape: Shape = USUAL
) -> People:
    """Traits of as many people as `treated` is long, True for those under treatment."""
    arm = np.asarray(treated, dtype=bool)
    count = len(arm)
    level = rng.normal(size=count)  # of craving; stress and urine lapses share it
    stress = 0.35 * level + np.sqrt(1 - 0.35**2) * rng.normal(size=count)
    frailty = FRAILTY * level + np.sqrt(1 - FRAILTY**2) * rng.normal(size=count)
    means, spreads = np.array([URINE_LOGIT[bool(each)] for each in arm]).reshape(count, 2).T
    stayed = 1 - shape.dropped_out_by_day_98
    lasting = 98 / -np.log(stayed) if stayed < 1 else np.inf  # mean days until people stop
    return People(
        treated=arm,
        stress_mean=30 + 15 * stress,
        craving_mean=4 + 22 * level + effect.arm_shift * arm,
        pain_mean=rng.normal(30, 15, count),
        slope=rng.normal(SLOPE, shape.slope_sd, count) * np.where(arm, 1 - effect.attenuation, 1.0),
        compliance_logit=rng.normal(shape.compliance_logit, COMPLIANCE_SD, count),
        urine_logit=means + spreads * frailty,
        drop_out_day=rng.exponential(lasting, count),
    )


def draw_ratings(
    rng: Generator, people: People, day: Integers, hour: Floats, shape: Shape = USUAL
) -> Ratings:
    """Answers at the prompts of everybody.

    `day` (1, 2, …) and `hour` (local, 0–24, in order) are (P, T) arrays, or (T,) for all alike.
    """
    course = draw_course(rng, people, day, hour, shape)
    return Ratings(
        stress=rated(people.stress_mean[:, None] + course.stress),
        craving=rated(craving_of(people.craving_mean, people.slope, course), shape.bounded),
        pain=rated(people.pain_mean[:, None] + course.pain),
        answered=course.answered,
        latency_s=_latency(rng, course.stress.shape),
    )


def draw_course(
    rng: Generator, people: People, day: Integers, hour: Floats, shape: Shape = USUAL
) -> Course:
    """What happens to everybody at the prompts; `day` and `hour` as for `draw_ratings`."""
    size = np.broadcast_shapes(np.shape(day), np.shape(hour), (len(people), 1))
    day, hour = np.broadcast_to(day, size), np.broadcast_to(hour, size)
    at = (day - 1) * 24.0 + hour
    days = rng.normal(0, 8, (len(people), int(day.max(initial=0)) + 1))
    stress = np.take_along_axis(days, day, axis=1) + _wandering(rng, at, 18, 3)
    pain = _wandering(rng, at, 15, 6)
    rest = shape.pain_stress * stress * pain - 0.8 * (at / 168 - MIDDLE_WEEK)
    rest += _wandering(rng, at, 13, 4)
    rest += rng.normal(0, 10, size)
    return Course(stress, pain, rest, _answered(rng, people, day))


def craving_of(mean: Floats, slope: Floats, course: Course) -> Floats:
    """Craving (P, T) before it is rounded, of people with these means and slopes (P)."""
    return np.asarray(mean[:, None] + slope[:, None] * course.stress + course.rest)


def points(latent: Floats, bounded: bool = True) -> Floats:
    """Whole points; on the scale from 0 to 100 unless they are not `bounded`."""
    whole = np.rint(latent)
    return np.clip(whole, 0, 100, out=whole) if bounded else whole


def rated(latent: Floats, bounded: bool = True) -> Integers:
    """`points` as integers."""
    return points(latent, bounded).astype(np.int64)


def draw_hours(
    rng: Generator, size: tuple[int, int], prompts: int, window: tuple[float, float], gap_h: float
) -> Floats:
    """Hours of the prompts of `size` (people, days), in order: (people, days × prompts).

    As `circle` draws them: every instant of the window equally likely, neighbours `gap_h` apart
    around the circle, less where they do not fit.
    """
    start, end = window
    length = end - start
    gap = min(gap_h, length / prompts)
    drawn = np.sort(rng.random((*size, prompts)), axis=2) * (length - prompts * gap)
    turned = drawn + gap * np.arange(prompts) + rng.random((*size, 1)) * length
    turned -= length * (turned >= length)
    return np.asarray(start + np.sort(turned, axis=2)).reshape(size[0], -1)


def draw_urine(rng: Generator, people: People, days: Sequence[int]) -> list[list[str]]:
    """Per person, `negative`, `positive` or `missed` for the tests due on these study days.

    Tests after drop-out are missed.
    """
    chance = 1 / (1 + np.exp(-people.urine_logit[:, None]))
    lapse = rng.random((len(people), len(days))) < chance
    missed = lapse & (rng.random(lapse.shape) < MISSED_OF_LAPSES)
    missed |= np.asarray(days)[None, :] > people.drop_out_day[:, None]
    result = np.where(missed, "missed", np.where(lapse, "positive", "negative"))
    return [[str(each) for each in row] for row in result]


def _wandering(rng: Generator, at: Floats, sd: float, time_constant_h: float) -> Floats:
    """An Ornstein–Uhlenbeck process at the instants `at` (P, T): it forgets with exp(−Δt/τ)."""
    kept = np.exp(np.diff(at, axis=1, prepend=-np.inf) / -time_constant_h)
    return _walk(rng.normal(0, sd, at.shape) * np.sqrt(1 - kept**2), kept)


def _walk(shocks: Floats, kept: Floats) -> Floats:
    """x_t = kept_t x_{t−1} + shock_t along the second axis, in √T stretches side by side."""
    people, length = shocks.shape
    stretch = max(1, round(np.sqrt(length)))
    many = -(-length // stretch)
    room = ((0, 0), (0, many * stretch - length))
    x, kept = (np.pad(each, room).reshape(people, many, stretch) for each in (shocks, kept))
    for t in range(1, stretch):  # each as if it began at zero, and what is kept of what was before
        x[:, :, t] += kept[:, :, t] * x[:, :, t - 1]
        kept[:, :, t] *= kept[:, :, t - 1]
    for later in range(1, many):
        x[:, later] += kept[:, later] * x[:, later - 1, -1:]
    return x.reshape(people, many * stretch)[:, :length]


def _answered(rng: Generator, people: People, day: Integers) -> Booleans:
    """Logit 1.65 ± 0.75 between people, −0.03 a week, −0.35 at a day's first prompt: about 77 %."""
    first = np.ones(day.shape, dtype=bool)
    first[:, 1:] = day[:, 1:] != day[:, :-1]
    logit = people.compliance_logit[:, None] - 0.03 * (day - 1) / 7 - 0.35 * first
    would = rng.random(day.shape) < 1 / (1 + np.exp(-logit))
    return would & (day <= people.drop_out_day[:, None])


def _latency(rng: Generator, shape: tuple[int, ...]) -> Floats:
    drawn = rng.lognormal(np.log(MEDIAN_LATENCY_S), LATENCY_SPREAD, shape)
    return np.clip(np.rint(drawn), 5.0, LONGEST_LATENCY_S)
