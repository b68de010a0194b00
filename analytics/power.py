"""Power: how often a trial of this protocol would find a weaker coupling, by simulating it.

Every simulated trial (`analytics.virtual_trial`) is analysed as the product analyses a real one:
the mixed model, the difference in coupling by the method named. With more than two arms it is the
trend over doses, per whole dose, unless the difference between two arms or the omnibus test of all
is asked for. The same people are seen under every attenuation, so the points
of a curve differ by the effect and not by chance; that without attenuation is the rate of false
positives. A trial that the model refuses found nothing, and is counted.

The smallest attenuation with the power wanted is read off the curve (probit of the shares, a line
between neighbours), and beside it the closed form: the noncentral t distribution at the median
standard error and df of the trials without an effect (`effect_sizes.detectable`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import partial
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import norm

from analytics import virtual_trial
from analytics.effect_sizes import detectable
from analytics.fixed_effects import WITHIN, within_arm_term
from analytics.many_contrasts import contrasts
from analytics.many_designs import ManySums, designs
from analytics.many_models import optima
from analytics.mixed_model import Method, MixedModel, fit_mixed_model
from analytics.moments import Moments
from analytics.multiplicity import trend_score
from analytics.rates import Rate, rate, side_by_side
from analytics.simulation import Effect, Floats
from analytics.virtual_trial import Protocol, moments_of

CHUNK = 10  # trials that a process takes at once
CELLS = 12_000  # models × participants in one call: the working arrays stay in cache
MOST_PROMPTS = 5_000_000  # of one trial: about 0.5 GB
FEWEST_PER_ARM = 2
OMNIBUS_METHODS = (Method.KENWARD_ROGER, Method.CR2)
_COLUMNS = ("estimate", "standard_error", "df", "p", "coupling")


class Pair(NamedTuple):
    """The difference in coupling, arm minus other."""

    arm: str
    other: str


class ArmTest(StrEnum):
    """TREND: the slope over doses, of two arms their difference. OMNIBUS: all arms at once."""

    TREND = "trend"
    OMNIBUS = "omnibus"


@dataclass(frozen=True)
class Question:
    """What is asked. attenuations: shares of the coupling that a whole dose takes away."""

    protocol: Protocol
    attenuations: tuple[float, ...]
    arm_shift: float = 0.0
    trials: int = 1000
    seed: int = 2026
    alpha: float = 0.05
    target: float = 0.8
    method: Method = Method.CR2
    test: ArmTest | Pair = ArmTest.TREND

    def __post_init__(self) -> None:
        """Raises ValueError, in words, for what cannot be simulated."""
        few = min(self.protocol.participants)
        if few < FEWEST_PER_ARM:
            raise ValueError(
                f"an arm would have {few} of the {self.protocol.people} participants; "
                f"it takes at least {FEWEST_PER_ARM}"
            )
        if (size := self.protocol.people * self.protocol.prompts) > MOST_PROMPTS:
            raise ValueError(
                f"{self.protocol.people:,} participants with {self.protocol.prompts:,} prompts are "
                f"{size:,} prompts in a trial, more than the {MOST_PROMPTS:,} that fit"
            )
        self._refuse_test()
        whole = sorted({0.0, *self.attenuations})
        object.__setattr__(self, "attenuations", tuple(whole))

    @property
    def weights(self) -> Floats:
        """Of each arm's coupling in the difference that is tested; none for the omnibus test."""
        arms = self.protocol.arms
        if isinstance(self.test, Pair):
            of = [(arm == self.test.arm) - (arm == self.test.other) for arm in arms]
            return np.array(of, dtype=np.float64)
        return trend_score(self.protocol.dose)

    def _refuse_test(self) -> None:
        if isinstance(self.test, Pair):
            arms = self.protocol.arms
            if unknown := [arm for arm in self.test if arm not in arms]:
                raise ValueError(f"there is no arm {unknown[0]!r}; the arms are {', '.join(arms)}")
            if self.test.arm == self.test.other:
                raise ValueError(f"arm {self.test.arm!r} is compared with itself")
        if self.test is ArmTest.OMNIBUS and self.method not in OMNIBUS_METHODS:
            raise ValueError(f"an omnibus test is by kenward_roger or CR2, not by {self.method}")


class Point(NamedTuple):
    """The trials under one attenuation; means are over those that could be estimated."""

    attenuation: float
    found: Rate
    difference: float | None
    standard_error: float | None
    refused: int


class Detectable(NamedTuple):
    """The smallest effect found with the power wanted: as attenuation, and as a difference.

    interval: of the attenuation, what the number of trials leaves uncertain; None at an end that
    the curve does not reach.
    """

    attenuation: float | None
    difference: float | None
    interval: tuple[float | None, float | None] = (None, None)


@dataclass(frozen=True)
class Power:
    """The answer. coupling: the mean one of the reference as such analyses find it.

    simulated has None where the curve does not reach the power, closed_form where no trial could
    be estimated.
    """

    question: Question
    points: tuple[Point, ...]
    coupling: float | None
    simulated: Detectable
    closed_form: Detectable

    @property
    def false_positives(self) -> Rate | None:
        """None where a shift of the mean alone is what was simulated: no null is true then."""
        return None if self.question.arm_shift else self.points[_null(self.question)].found


def simulate(question: Question, *, processes: int = 1) -> Iterator[NDArray[np.float64]]:
    """Results of some trials at a time, in order: (trials, attenuations, what was found).

    What was found is `_COLUMNS`, NaN where the model refuses the data. The number of processes
    changes nothing but the time it takes.
    """
    starts = range(0, question.trials, CHUNK)
    chunks = [range(start, min(start + CHUNK, question.trials)) for start in starts]
    yield from side_by_side(partial(_some, question), chunks, processes=processes)


def answer(question: Question, results: Iterable[NDArray[np.float64]]) -> Power:
    """The power of all the trials of a question."""
    found = np.concatenate(list(results))
    points = tuple(
        _point(attenuation, found[:, place], question.alpha)
        for place, attenuation in enumerate(question.attenuations)
    )
    null = found[:, _null(question)]
    there = ~np.isnan(null[:, 3])
    coupling = float(null[there, 4].mean()) if there.any() else None
    return Power(question, points, coupling, _on_curve(question, points), _closed(question, null))


def _null(question: Question) -> int:
    return question.attenuations.index(0.0)


def _some(question: Question, numbers: range) -> NDArray[np.float64]:
    effects = [Effect(each, question.arm_shift) for each in question.attenuations]
    trials = virtual_trial.trials(question.protocol, question.seed, numbers)
    parts = _gathered(trial.sums(effects) for trial in trials)
    found = np.concatenate([_analysed(question, part) for part in parts])
    return found.reshape(len(numbers), len(effects), len(_COLUMNS))


def _gathered(parts: Iterable[ManySums]) -> Iterator[ManySums]:
    """Trials together, as many as are quick to work on at once."""
    waiting: list[ManySums] = []
    for part in parts:
        waiting.append(part)
        if (len(waiting) + 1) * part.n.size > CELLS:
            yield _together(waiting)
            waiting = []
    if waiting:
        yield _together(waiting)


def _together(parts: list[ManySums]) -> ManySums:
    return ManySums(*map(np.concatenate, zip(*parts, strict=True)))


def _analysed(question: Question, sums: ManySums) -> Floats:
    """What the analysis says of each, NaN for data that it refuses."""
    models, people = sums.n.shape
    found = np.full((models, len(_COLUMNS)), np.nan)
    if people <= CELLS and question.test is not ArmTest.OMNIBUS:
        _at_once(question, sums, found)
    for place in np.flatnonzero(np.isnan(found).any(axis=1)):  # too large, not decided or refused
        found[place] = _one_by_one(question, moments_of(sums, int(place)))
    return found


def _at_once(question: Question, sums: ManySums, found: Floats) -> None:
    """Fill in what has a regular optimum."""
    of_arms = question.weights  # adds to zero, so the reference's own coupling drops out
    weights = np.concatenate([np.zeros(2 + len(of_arms)), of_arms[1:]])
    design = designs(sums, question.protocol.arm_index)
    best, settled = optima(design)
    said = contrasts(design, best, weights, question.method)
    quick = np.stack([*said, best.beta[:, 1] * design.unit], axis=1)
    quick[~settled] = np.nan
    found[design.regular] = quick


def _one_by_one(question: Question, moments: Moments) -> tuple[float, ...]:
    """The same by the model that decides every case; NaN for data that it refuses."""
    protocol = question.protocol
    slopes = [within_arm_term(arm) for arm in protocol.arms[1:]]
    try:
        model = fit_mixed_model(moments, protocol.arm_of, protocol.arms[0], all_arms=protocol.arms)
        if question.test is ArmTest.OMNIBUS:
            found = model.omnibus([{term: 1.0} for term in slopes], question.method)
            return np.nan, np.nan, found.df, found.p, _reference(model)
        weights = dict(zip(slopes, question.weights[1:].tolist(), strict=True))
        result = model.contrast(weights, question.method)
    except ValueError:
        return (np.nan,) * len(_COLUMNS)
    return result.estimate, result.standard_error, result.df, result.p, _reference(model)


def _reference(model: MixedModel) -> float:
    return float(model.weights_of({WITHIN: 1.0}) @ model.coefficients)


def _point(attenuation: float, found: Floats, alpha: float) -> Point:
    there = ~np.isnan(found[:, 3])
    hits, count = int((found[there, 3] < alpha).sum()), len(found)
    refused = count - int(there.sum())
    if np.isnan(found[there, 0]).all():  # all refused, or a test without a difference
        return Point(attenuation, rate(hits, count), None, None, refused)
    difference, error = found[there, :2].mean(axis=0)
    return Point(attenuation, rate(hits, count), float(difference), float(error), refused)


def _on_curve(question: Question, points: tuple[Point, ...]) -> Detectable:
    """Where the curve first reaches the power, from no attenuation on; so too its 95 % bounds."""
    curve = [point for point in points if point.attenuation >= 0]
    places = np.array([point.attenuation for point in curve])
    shares = [(each.found.share, *each.found.interval) for each in curve]
    half = 0.5 / question.trials  # of a trial: keeps probits finite at 0 and 1
    probits = norm.ppf(np.clip(shares, half, 1 - half)).T
    goal = float(norm.ppf(question.target))
    found, late, early = (_crossing(places, curve_of, goal) for curve_of in probits)
    if found is None:
        return Detectable(None, None)
    differences = [np.nan if each.difference is None else each.difference for each in curve]
    difference = float(np.interp(found, places, differences))
    return Detectable(found, None if np.isnan(difference) else difference, (early, late))


def _crossing(places: Floats, curve: Floats, goal: float) -> float | None:
    """Where lines between neighbours first reach the goal from below."""
    for (x0, y0), (x1, y1) in pairwise(zip(places.tolist(), curve.tolist(), strict=True)):
        if y0 < goal <= y1:
            return float(x0 + (goal - y0) / (y1 - y0) * (x1 - x0))
    return None


def _closed(question: Question, null: Floats) -> Detectable:
    there = ~np.isnan(null[:, 0])
    if not there.any():  # all refused, or a test without a difference
        return Detectable(None, None)
    error, df = np.median(null[there, 1:3], axis=0)
    size = detectable(float(error), float(df), power=question.target, level=question.alpha)
    coupling = float(null[there, 4].mean())
    doses = float(question.weights @ np.array(question.protocol.dose))  # between what is compared
    share = size / (coupling * abs(doses)) if coupling > 0 and doses else None
    return Detectable(share, size if doses < 0 else -size)
