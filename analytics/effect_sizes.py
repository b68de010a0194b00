"""How large an effect is, how sure, what could have been seen, and on whom it hangs."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import nctdtrinc
from scipy.stats import t as student

from analytics.mixed_model import Combination, Method, MixedModel
from analytics.moments import Label, Within
from analytics.multiplicity import coupling_in, difference
from analytics.sandwich import without_each


class Attenuation(NamedTuple):
    """1 − coupling in the arm / coupling in the reference; 0.4 is 40 % weaker.

    interval: 95 % by Fieller; None where the reference's coupling is too near zero for a ratio to
    have bounds.
    """

    estimate: float
    interval: tuple[float, float] | None


class Influence(NamedTuple):
    """A contrast with one participant left out: lowest and highest, and whom they lack."""

    lowest: float
    highest: float
    lowest_without: Label
    highest_without: Label


def attenuation(model: MixedModel, arm: str, method: Method = Method.CR2) -> Attenuation:
    """Percent attenuation of the coupling in an arm, as a share, with Fieller's interval.

    Fieller (1954): the ratios ρ for which arm − ρ × reference is not significantly different from
    zero; df are those of the difference between the arms.
    """
    both = [coupling_in(model, arm), coupling_in(model, model.arms[0])]
    vectors = np.array([model.weights_of(each) for each in both])
    covariance = vectors @ model.covariance(method, vectors)[0] @ vectors.T
    treated, reference = vectors @ model.coefficients
    df = model.contrast(difference(model, arm, model.arms[0]), method).df
    squared = float(student.ppf(0.975, df)) ** 2
    a = reference**2 - squared * covariance[1, 1]
    b = treated * reference - squared * covariance[0, 1]
    c = treated**2 - squared * covariance[0, 0]
    estimate = float(1 - treated / reference)
    if a <= 0:
        return Attenuation(estimate, None)
    reach = float(np.sqrt(max(b * b - a * c, 0.0)))
    return Attenuation(estimate, (float(1 - (b + reach) / a), float(1 - (b - reach) / a)))


def detectable(
    standard_error: float, df: float, *, power: float = 0.8, level: float = 0.05
) -> float:
    """The smallest true difference that a two-sided test finds with this power.

    From the noncentral t distribution; the chance of significance on the wrong side is left out.
    """
    critical = student.ppf(1 - level / 2, df)
    return float(nctdtrinc(df, 1 - power, critical)) * standard_error


def standardised(slope: float, within: Within) -> float:
    """A slope in standard deviations within persons: y's per x's, pooled over participants."""
    return slope * float(np.sqrt(within.ss_xx.sum() / within.ss_yy.sum()))


def mean_reliability(model: MixedModel) -> float:
    """Mean reliability of the own slopes of participants whose stress varies."""
    found = model.personal.reliability[model.personal.reliability > 0]
    return float(found.mean()) if len(found) else 0.0


def influence(model: MixedModel, combination: Combination) -> Influence:
    """The range of a contrast over models that leave out one participant each.

    In closed form with the variances kept: exact for the given variances. What their own change
    would add is a few hundredths of the contrast's standard error. Participants without whom a
    term could not be estimated are passed over.
    """
    engine = model.engine
    weights = model.weights_of(combination)
    moved = (without_each(engine.summaries, engine.criterion) - engine.criterion.beta) @ (
        weights * engine.units.coefficients
    )
    values = float(weights @ model.coefficients) + moved
    low, high = int(np.nanargmin(values)), int(np.nanargmax(values))
    people = model.participants
    return Influence(float(values[low]), float(values[high]), people[low], people[high])
