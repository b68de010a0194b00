"""Recompute a study's schedule: asked here by whoever publishes it, done by the scheduler.

The scheduler appends its own to `RECOMPUTE` when Django starts (docs/decisions/0007).
"""

from collections.abc import Callable
from typing import NamedTuple

from ema.models import Study


class Recomputed(NamedTuple):
    """Prompts that the seed draws, and how the stored ones differ from them.

    `drawn` is without those that another schedule took the place of, which are `superseded`, and
    without those brought in from elsewhere, `imported`: nothing can be drawn again for these.
    `otherwise` differ in an instant or a probability, or cannot be recomputed.
    """

    drawn: int
    superseded: int
    imported: int
    missing: int
    extra: int
    otherwise: int
    seed_is_the_committed_one: bool

    @property
    def expected(self) -> int:
        """How many prompts there must be."""
        return self.drawn + self.superseded + self.imported


Recompute = Callable[[Study], Recomputed | None]
"""A study's schedule from its seed; None where nothing was drawn, as it has not started."""

RECOMPUTE: list[Recompute] = []


def recomputed(study: Study) -> Recomputed | None:
    """What the study's seed gives; None where there is nothing to recompute, or nobody who can."""
    return next((found for recompute in RECOMPUTE if (found := recompute(study))), None)
