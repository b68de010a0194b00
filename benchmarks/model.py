"""The mixed model from stored moments beside lme4 and statsmodels on rows, and a million people.

Everybody is a process of its own (`benchmarks.contenders`), where installed: R with lme4, and
statsmodels in this Python or in the one that BENCH_PYTHON names. Everything is the fit,
Kenward–Roger and CR2 of every term, shrunken slopes, everybody left out in turn and, but for a
million people, a permutation test of 9,999 draws.
"""

from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks import contenders
from benchmarks.contenders import Ints, Run
from benchmarks.figures import Figure, Goal, say

SIZES = ((118, 224), (1_000, 400), (10_000, 400))  # participants × pairs
REPEATS = {118: 9, 1_000: 5, 10_000: 3}
RIVALS_REPEATS = {118: 5, 1_000: 2, 10_000: 1}
MILLION_PAIRS = 312
LEAST_MEMORY = Goal("≤", 1000)  # MB for a million people
RIVALS = {"lme4": contenders.lme4, "statsmodels": contenders.statsmodels}


def measure(quick: bool) -> Iterator[Figure]:
    """By size: the fit beside each rival's, everything, memory; with --quick small sizes alone."""
    lacking = contenders.installed()
    for name, why_not in lacking.items():
        if why_not:
            say(f"model: {name} is not measured: {why_not}")
    for participants, pairs in SIZES[:2] if quick else SIZES:
        say(f"model: {participants:,} × {pairs}")
        with TemporaryDirectory() as name:
            contenders.write(Path(name), *ratings(participants, pairs))
            ours = contenders.engine(Path(name), REPEATS[participants] + 1)
            rivals = {
                rival: fit(Path(name), RIVALS_REPEATS[participants])
                for rival, fit in RIVALS.items()
                if not lacking[rival] and not (quick and participants > SIZES[0][0])
            }
        yield from _figures(f"model: {participants:,} × {pairs}", ours, rivals)
    if not quick:
        say(f"model: 1,000,000 × {MILLION_PAIRS}")
        with TemporaryDirectory() as name:
            contenders.write_moments(Path(name), a_million())
            ours = contenders.engine(Path(name), 1, permute=False)
        yield from _figures(f"model: 1,000,000 × {MILLION_PAIRS}", ours, {}, LEAST_MEMORY)


def ratings(participants: int, pairs: int) -> tuple[Ints, Ints]:
    """Stress and craving, whole points from 0 to 100, each (participants, pairs). Simulated."""
    rng = np.random.default_rng([2026, participants])
    level, slope, own = rng.normal((30, 0.4, 30), (15, 0.15, 10), (participants, 3)).T[:, :, None]
    stress = np.clip(np.rint(rng.normal(level, 18, (participants, pairs))), 0, 100)
    noise = rng.normal(0, 15, stress.shape)
    craving = np.clip(np.rint(own + slope * (stress - level) + noise), 0, 100)
    return stress.astype(np.int64), craving.astype(np.int64)


def a_million() -> Ints:
    """Ten thousand people's sums, a hundred times, each time with another origin of stress."""
    shift = np.repeat(np.arange(100) % 7, 10_000)
    n, x, y, xx, xy, yy = np.tile(contenders.sums_of(*ratings(10_000, MILLION_PAIRS)), 100)
    moved = xx + 2 * shift * x + shift**2 * n
    return np.stack([n, x + shift * n, y, moved, xy + shift * y, yy])


def _figures(
    what: str, ours: Run, rivals: dict[str, Run], memory: Goal | None = None
) -> Iterator[Figure]:
    timed = 1e3 * (ours.seconds[1:] if len(ours.seconds) > 1 else ours.seconds)  # one warms up
    fit, permutations, everything = (
        each.tolist() for each in (timed[:, 0], timed[:, 2], timed.sum(axis=1))
    )
    for rival, run in rivals.items():
        theirs = (1e3 * run.seconds[:, 0]).tolist()
        yield Figure(f"{what}: fit", "ms CPU", fit, rival, theirs)
        yield Figure(f"{what}: peak memory", "MB", [ours.peak_mb], rival, [run.peak_mb])
    if not rivals:
        yield Figure(f"{what}: fit", "ms CPU", fit)
        yield Figure(f"{what}: peak memory", "MB", [ours.peak_mb], goal=memory)
    yield Figure(f"{what}: everything", "ms CPU", everything, "the fit alone", fit)
    if any(permutations):
        yield Figure(f"{what}: of that 9,999 permutations", "ms CPU", permutations)
