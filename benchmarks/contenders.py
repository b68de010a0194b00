"""Who fits the same model: this engine, lme4 and statsmodels, each in a process of its own.

Every contender reads the same files of a directory, fits as often as it is told and prints a line
of seconds for each fit, of processor time, as a busy machine lets processes wait. Reading is not
timed. The others get ratings in standard deviations, without which they do not converge; all have
one thread. The peak of memory is that of the whole process.
"""

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from analytics.moments import Moments

ROWS, MOMENTS = "rows.f8", "moments.npy"
ROOT = Path(__file__).resolve().parent.parent
STATSMODELS = Path(__file__).with_name("mixedlm.py")
R_HAS_LME4 = "quit(status = !requireNamespace('lme4', quietly = TRUE))"
LME4 = """
arguments <- commandArgs(trailingOnly = TRUE)
size <- file.size(arguments[1]) / 8
rows <- as.data.frame(matrix(readBin(arguments[1], "double", size), ncol = 4))
names(rows) <- c("id", "arm", "stress", "craving")
means <- tapply(rows$stress, rows$id, mean)
unit <- function(x) x / sqrt(mean(x^2))
rows$within <- unit(rows$stress - means[rows$id + 1])
rows$between <- unit(means[rows$id + 1] - mean(means))
rows$craving <- unit(rows$craving - mean(rows$craving))
rows$id <- factor(rows$id)
for (i in seq_len(as.integer(arguments[2]))) {
  took <- system.time(lme4::lmer(craving ~ within * arm + between + (1 + within | id), rows))
  cat(sum(took[1:2]), "\\n")
}
"""
Ints = NDArray[np.int64]


class Run(NamedTuple):
    """CPU seconds of each fit, as columns of what was timed, and the process's peak in MB."""

    seconds: NDArray[np.float64]
    peak_mb: float


def engine(directory: Path, repeats: int, *, permute: bool = True) -> Run:
    """Columns: the fit, the inference about it, the permutations."""
    command = [sys.executable, "-m", "benchmarks.engine", directory / MOMENTS, repeats]
    return _run([*command, *([] if permute else ["--no-permutations"])])


def lme4(directory: Path, repeats: int) -> Run:
    return _run(["Rscript", "-e", LME4, directory / ROWS, repeats])


def statsmodels(directory: Path, repeats: int) -> Run:
    return _run([python_of_statsmodels(), STATSMODELS, directory / ROWS, repeats])


def installed() -> dict[str, str]:
    """Of lme4 and statsmodels: empty, or why it cannot be measured."""
    r = shutil.which("Rscript")
    found = {"lme4": "Rscript is not installed", "statsmodels": ""}
    if r:
        has_it = subprocess.run([r, "-e", R_HAS_LME4], capture_output=True, check=False)
        found["lme4"] = "R has no package lme4" if has_it.returncode else ""
    python = python_of_statsmodels()
    try:
        tried = subprocess.run(
            [python, "-c", "import statsmodels"], capture_output=True, check=False
        )
    except OSError as error:
        found["statsmodels"] = f"BENCH_PYTHON is {python!r}: {error.strerror}"
        return found
    if tried.returncode:
        found["statsmodels"] = f"{python} has no statsmodels; BENCH_PYTHON may name one that has"
    return found


def python_of_statsmodels() -> str:
    return os.environ.get("BENCH_PYTHON") or sys.executable


def write(directory: Path, stress: Ints, craving: Ints) -> None:
    """Rows (id, arm, stress, craving as columns of doubles) and their moments; both (P, pairs)."""
    person = np.repeat(np.arange(len(stress)), stress.shape[1])
    columns = person, person % 2, stress.ravel(), craving.ravel()
    np.stack(columns).astype(np.float64).tofile(directory / ROWS)
    write_moments(directory, sums_of(stress, craving))


def write_moments(directory: Path, sums: Ints) -> None:
    np.save(directory / MOMENTS, sums)


def read_moments(file: Path) -> Moments:
    n, *sums = np.load(file)
    return Moments(tuple(range(len(n))), n, *sums)


def sums_of(x: Ints, y: Ints) -> Ints:
    """n, Σx, Σy, Σx², Σxy, Σy² by person (6 × P)."""
    sums = (each.sum(axis=1) for each in (x, y, x * x, x * y, y * y))
    return np.stack([np.full(len(x), x.shape[1]), *sums])


def _run(command: Sequence[object]) -> Run:
    """What it printed, and what the kernel says that this process took."""
    with subprocess.Popen(
        list(map(str, command)), stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as process:
        told = process.stdout.read() if process.stdout else ""
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise RuntimeError(f"{command[0]} ended with {process.returncode}; its words are above.")
    lines = [[float(word) for word in line.split()] for line in told.splitlines()]
    unit = 1 if sys.platform == "darwin" else 1024  # bytes of ru_maxrss
    return Run(np.array(lines), used.ru_maxrss * unit / 1e6)
