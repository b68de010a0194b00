"""This engine on stored moments, as a contender: `python -m benchmarks.engine FILE REPEATS`.

A line per repeat, in seconds of processor time: the fit; Kenward–Roger and CR2 of every term and
everybody left out in turn; a permutation test of 9,999 draws.
"""

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from analytics.effect_sizes import influence
from analytics.fixed_effects import within_arm_term
from analytics.mixed_model import Method, MixedModel, fit_mixed_model
from analytics.moments import Moments
from analytics.permutation import own_slopes, permutation_test
from benchmarks.contenders import read_moments

ARMS = ("placebo", "clonidine")


def main(file: str, repeats: str, *options: str) -> None:
    moments = read_moments(Path(file))
    arms = {person: ARMS[person % 2] for person in moments.participants if isinstance(person, int)}
    fitted: list[MixedModel] = []
    for _ in range(int(repeats)):
        fitted.clear()
        took = [
            cpu_seconds(lambda: fitted.append(fit_mixed_model(moments, arms, ARMS[0]))),
            cpu_seconds(lambda: infer(fitted[0])),
            0.0 if options else cpu_seconds(lambda: permute(moments)),
        ]
        print(*took, flush=True)


def cpu_seconds(do: Callable[[], object]) -> float:
    began = time.process_time()
    do()
    return time.process_time() - began


def infer(model: MixedModel) -> None:
    every = [{term: 1.0} for term in model.terms]
    model.contrasts_of(every, Method.KENWARD_ROGER)
    model.contrasts_of(every, Method.CR2)
    influence(model, {within_arm_term(ARMS[1]): 1.0})


def permute(moments: Moments) -> None:
    slopes, there = own_slopes(moments.within())
    treated = np.arange(len(slopes)) % 2 == 1
    permutation_test(slopes[there], treated[there], seed=1)


if __name__ == "__main__":
    main(*sys.argv[1:])
