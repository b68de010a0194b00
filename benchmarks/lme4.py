"""lme4's fit of the same model, timed by R itself, where Rscript and lme4 are installed."""

import csv
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

CHECK = "quit(status = !requireNamespace('lme4', quietly = TRUE))"
FIT = """
arguments <- commandArgs(trailingOnly = TRUE)
rows <- read.csv(arguments[1])
rows$id <- factor(rows$id)
rows$arm <- relevel(factor(rows$arm), ref = arguments[3])
means <- tapply(rows$stress, rows$id, mean)
rows$within <- rows$stress - means[rows$id]
rows$between <- means[rows$id] - mean(means)
for (i in seq_len(as.integer(arguments[2]))) {
  took <- system.time(lme4::lmer(craving ~ within * arm + between + (1 + within | id), rows))
  cat(took[["elapsed"]], "\\n")
}
"""
Ints = NDArray[np.int64]


def why_not() -> str:
    """Why lme4 cannot be measured here; empty when it can."""
    if not shutil.which("Rscript"):
        return "Rscript is not installed."
    found = subprocess.run(["Rscript", "-e", CHECK], capture_output=True, check=False)
    return "R has no package lme4." if found.returncode else ""


def fit_seconds(stress: Ints, craving: Ints, arms: Mapping[int, str], repeats: int) -> list[float]:
    """Seconds of each fit, without reading the rows. Stress and craving are (P, pairs)."""
    with tempfile.TemporaryDirectory() as directory:
        rows, script = Path(directory) / "rows.csv", Path(directory) / "fit.R"
        script.write_text(FIT)
        with rows.open("w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(("id", "arm", "stress", "craving"))
            for person, (xs, ys) in enumerate(zip(stress.tolist(), craving.tolist(), strict=True)):
                writer.writerows((person, arms[person], x, y) for x, y in zip(xs, ys, strict=True))
        told = subprocess.run(
            ["Rscript", script, rows, str(repeats), arms[0]],
            capture_output=True,
            text=True,
            check=True,
        )
    return [float(line) for line in told.stdout.split()]
