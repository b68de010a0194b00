"""What the engine knows of each participant: a few numbers in place of the rows.

G = Z'Z is 2 × 2, z (own intercept and slope) and A (2 × p) are what of y and X lies along Z, and
X⊥, y⊥ the rest. With D the random effects' covariance over σ², W = Z'V⁻¹Z = G(I + D G)⁻¹ is all
that a participant's variances do. Symmetric 2 × 2 matrices are packed as (m00, m01, m11).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from analytics.summing import Floats

_CHUNK = 4096  # participants per pass: the working arrays stay in cache
_ARRAYS = ("n", "ss", "level", "slope", "on_level", "on_slope")


class Rest(NamedTuple):
    """X⊥ (P × m × p) and y⊥ (P × m): m rows that stand for a participant's rows outside Z."""

    x: Floats
    y: Floats


@dataclass(frozen=True)
class Summaries:
    """What the criterion needs of P participants and p fixed effects.

    n, cross, ss: Z'Z packed, with ``cross`` None where the predictor is centred (length P).
    level, slope: own intercept and slope of the outcome on Z (a slope is 0 where the predictor
    does not vary). on_level (P × p0) and on_slope (P × p1): the rows of A, of the columns at
    ``level_at`` and ``slope_at``; other columns have zeros there. residual: Σ SS that no column
    touches. n_rows: N, which is Σ n unless rows are whitened. rest: X⊥ and y⊥, None where there
    are none.
    """

    n: Floats
    ss: Floats
    level: Floats
    slope: Floats
    on_level: Floats
    on_slope: Floats
    level_at: tuple[int, ...]
    slope_at: tuple[int, ...]
    residual: float
    n_rows: float
    cross: Floats | None = None
    rest: Rest | None = None

    @property
    def n_terms(self) -> int:
        """p, the number of fixed effects."""
        if self.rest is not None:
            return int(self.rest.x.shape[2])
        return 1 + max(*self.level_at, *self.slope_at)

    @property
    def error_df(self) -> float:
        """N − p."""
        return self.n_rows - self.n_terms

    def chunks(self) -> Iterator[Summaries]:
        """The same participants, a cacheful at a time."""
        if len(self.n) <= _CHUNK:
            yield self
            return
        for start in range(0, len(self.n), _CHUNK):
            part = slice(start, start + _CHUNK)
            yield replace(
                self,
                **{name: getattr(self, name)[part] for name in _ARRAYS},
                cross=None if self.cross is None else self.cross[part],
                rest=None if self.rest is None else Rest(self.rest.x[part], self.rest.y[part]),
            )

    @cached_property
    def constants(self) -> Constants:
        """Σ X⊥'X⊥, X⊥'y⊥ and y⊥'y⊥, which no variance touches."""
        p = self.n_terms
        if self.rest is None:
            return Constants(np.zeros((p, p)), np.zeros(p), 0.0)
        x, y = self.rest.x.reshape(-1, p), self.rest.y.reshape(-1)
        return Constants(x.T @ x, x.T @ y, float(y @ y))

    def rows(self) -> Rows:
        """A few rows that stand for all of a participant's: the same X'X, X'Z, Z'Z, X'y, Z'y.

        With R'R = Z'Z they are RA, R and Rz, followed by X⊥, 0 and y⊥.
        """
        count, rest = len(self.n), self.rest
        k = 2 if rest is None else 2 + rest.y.shape[1]
        x, z, y = np.zeros((count, k, self.n_terms)), np.zeros((count, k, 2)), np.zeros((count, k))
        root_n = np.sqrt(self.n)
        z[:, 0, 0], z[:, 1, 1] = root_n, np.sqrt(self.ss)
        if self.cross is not None:
            z[:, 0, 1] = self.cross / root_n
            z[:, 1, 1] = np.sqrt(np.maximum(self.ss - z[:, 0, 1] ** 2, 0.0))
        x[:, 0, self.level_at] = z[:, 0, 0, None] * self.on_level
        x[:, 0, self.slope_at] += z[:, 0, 1, None] * self.on_slope
        x[:, 1, self.slope_at] = z[:, 1, 1, None] * self.on_slope
        y[:, 0] = z[:, 0, 0] * self.level + z[:, 0, 1] * self.slope
        y[:, 1] = z[:, 1, 1] * self.slope
        if rest is not None:
            x[:, 2:], y[:, 2:] = rest.x, rest.y
        return Rows(x, z, y)


class Constants(NamedTuple):
    """Sums over the rows outside Z."""

    xx: Floats
    xy: Floats
    yy: float


class Rows(NamedTuple):
    """x (P × k × p), z (P × k × 2) and y (P × k)."""

    x: Floats
    z: Floats
    y: Floats


def relative_covariance(theta: Floats) -> Floats:
    """D = ΛΛ' (2 × 2) of θ = (Λ00, Λ10, Λ11)."""
    factor = np.array([[theta[0], 0.0], [theta[1], theta[2]]])
    return np.asarray(factor @ factor.T)


def weights(part: Summaries, covariance: Floats) -> tuple[Floats, Floats]:
    """|I + D G| (length P) and W packed as (w00, w01, w11) (3 × P).

    W = (G + |G| adj D) / |I + D G| is Z'V⁻¹Z; no step cancels, and a participant whose predictor
    does not vary is no exception.
    """
    d00, d01, d11 = covariance[0, 0], covariance[0, 1], covariance[1, 1]
    area = max(d00 * d11 - d01 * d01, 0.0)
    cross = 0.0 if part.cross is None else part.cross
    whole = part.n * part.ss - cross * cross
    det = 1 + d00 * part.n + 2 * d01 * cross + d11 * part.ss + area * whole
    packed = [part.n + d11 * whole, cross - d01 * whole, part.ss + d00 * whole]
    return det, np.stack(packed) / det


def residuals(part: Summaries, beta: Floats, w: Floats) -> tuple[Floats, Floats]:
    """e = z − Aβ and u = We = Z'V⁻¹(y − Xβ), each 2 × P."""
    on_level, on_slope = beta[list(part.level_at)], beta[list(part.slope_at)]
    e = np.stack([part.level - part.on_level @ on_level, part.slope - part.on_slope @ on_slope])
    return e, np.stack([w[0] * e[0] + w[1] * e[1], w[1] * e[0] + w[2] * e[1]])


def leverage(part: Summaries, vcov: Floats) -> Floats:
    """A C A' packed (3 × P) for a p × p matrix C."""
    level, slope = part.on_level, part.on_slope
    levels, slopes = np.array(part.level_at), np.array(part.slope_at)
    return np.stack(
        [
            np.einsum("ij,ij->i", level @ vcov[np.ix_(levels, levels)], level),
            np.einsum("ij,ij->i", level @ vcov[np.ix_(levels, slopes)], slope),
            np.einsum("ij,ij->i", slope @ vcov[np.ix_(slopes, slopes)], slope),
        ]
    )


def crossed(part: Summaries, m: Floats) -> Floats:
    """Σ A'MA (p × p) for one symmetric M per participant, packed 3 × P."""
    level, slope = part.on_level, part.on_slope
    levels, slopes = np.array(part.level_at), np.array(part.slope_at)
    corner = (level.T * m[1]) @ slope
    total = np.zeros((part.n_terms, part.n_terms))
    total[np.ix_(levels, levels)] = (level.T * m[0]) @ level
    total[np.ix_(slopes, slopes)] += (slope.T * m[2]) @ slope
    total[np.ix_(levels, slopes)] += corner
    total[np.ix_(slopes, levels)] += corner.T
    return total


def project(part: Summaries, first: Floats, second: Floats) -> Floats:
    """Σ A'v (length p) for one pair v per participant."""
    total = np.zeros(part.n_terms)
    total[list(part.level_at)] = first @ part.on_level
    total[list(part.slope_at)] += second @ part.on_slope
    return total


def sandwich(w: Floats, k: Floats) -> Floats:
    """W K W packed (3 × P)."""
    t00, t01 = w[0] * k[0] + w[1] * k[1], w[0] * k[1] + w[1] * k[2]
    t10, t11 = w[1] * k[0] + w[2] * k[1], w[1] * k[1] + w[2] * k[2]
    return np.stack([t00 * w[0] + t01 * w[1], t00 * w[1] + t01 * w[2], t10 * w[1] + t11 * w[2]])
