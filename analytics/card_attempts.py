"""What the data hold of a report, and sentences for what they do not. Pure.

Numbers that cannot be had from the data are null, with the reason in `warnings`, never NaN.
"""

from collections.abc import Callable, Sequence
from math import isfinite
from typing import Any, NamedTuple, TypeVar

import numpy as np
from scipy.stats import t as student

from analytics.kenward_roger import FTest
from analytics.mixed_model import Combination, Estimate, Method, MixedModel
from analytics.summing import Floats

T = TypeVar("T")


class Warned(NamedTuple):
    """A named warning and its sentence."""

    code: str
    sentence: str

    def content(self) -> dict[str, str]:
        return self._asdict()


def attempt(what: str, make: Callable[[], T], missing: list[str]) -> T | None:
    """What the data hold; None, with a sentence among the missing, where they hold too little."""
    with np.errstate(all="ignore"):
        try:
            return make()
        except (ValueError, ZeroDivisionError, np.linalg.LinAlgError) as error:
            missing.append(f"{what} could not be computed: {error}.")
            return None


def estimates(
    model: MixedModel, combinations: Sequence[Combination], method: Method
) -> list[Estimate | None]:
    """Contrasts by a method; None where the data hold no standard error of that kind."""
    if not combinations:
        return []
    with np.errstate(all="ignore"):
        try:
            found = model.contrasts_of(combinations, method)
        except (np.linalg.LinAlgError, ZeroDivisionError, ValueError):
            if len(combinations) == 1:
                return [None]
            return [one for each in combinations for one in estimates(model, [each], method)]
    return [each if _is_finite(each) else None for each in found]


def _is_finite(estimate: Estimate) -> bool:
    numbers = (*estimate[:5], *estimate.interval)
    return all(isfinite(value) for value in numbers) and estimate.standard_error > 0


def content_of(estimate: Estimate | None) -> dict[str, Any] | None:
    if estimate is None:
        return None
    return {
        "standard_error": estimate.standard_error,
        "df": estimate.df,
        "p": estimate.p,
        "interval": list(estimate.interval),
    }


def test_of(test: FTest | None) -> dict[str, Any] | None:
    return None if test is None or not all(isfinite(value) for value in test) else test._asdict()


def mean_of_means(own: Floats) -> dict[str, Any]:
    """The mean over participants of their own means, with a t interval from two of them on."""
    interval = None
    if len(own) > 1:
        reach = float(student.ppf(0.975, len(own) - 1) * own.std(ddof=1) / np.sqrt(len(own)))
        interval = [float(own.mean()) - reach, float(own.mean()) + reach]
    mean = float(own.mean()) if len(own) else None
    return {"n_participants": len(own), "mean": mean, "interval": interval}
