"""How well the next allocation can be known by somebody who knows all earlier ones.

The guesser knows the ratio, the possible block sizes and every earlier allocation of the stratum,
not where blocks end, and names the likelier arm by Bayes' rule. This is the worst case: a site of
an open trial with a single stratum.
"""

from collections.abc import Iterable, Mapping, Sequence
from random import Random
from typing import NamedTuple

from ema.allocation_lists import draw_blocks

SLOTS, LISTS, SEED = 60, 200, 1
CERTAIN = 1 - 1e-9
Left = tuple[int, ...]  # of each arm, in the block that is open


class Predictability(NamedTuple):
    """Shares of allocations: that were certain beforehand, and that were guessed rightly."""

    determined: float
    guessed: float


def predictability(
    ratio: Mapping[str, int],
    sizes: Sequence[int],
    *,
    slots: int = SLOTS,
    lists: int = LISTS,
    source: Random | None = None,
) -> Predictability:
    """Measured on lists drawn by the generator itself; the same every time without a `source`."""
    source = source or Random(SEED)
    arms, certain, right = list(ratio), 0, 0.0
    for _ in range(lists):
        guesser = Guesser(list(ratio.values()), sizes)
        drawn = (arm for block in draw_blocks(ratio, sizes, source) for arm in block)
        for came, chances in guesser.watch(arms.index(next(drawn)) for _ in range(slots)):
            best = max(chances)
            ties = [arm for arm, chance in enumerate(chances) if best - chance < 1e-9]
            certain += best > CERTAIN
            right += (came in ties) / len(ties)
    return Predictability(certain / (slots * lists), right / (slots * lists))


class Guesser:
    """Beliefs about what is left in the open block, updated by every allocation."""

    def __init__(self, weights: Sequence[int], sizes: Sequence[int]) -> None:
        total = sum(weights)
        self.blocks = [tuple(weight * size // total for weight in weights) for size in sizes]
        self.beliefs: dict[Left, float] = {}
        self._add_new_block(self.beliefs, 1.0)

    def watch(self, allocations: Iterable[int]) -> Iterable[tuple[int, list[float]]]:
        """Each allocation with the chances of every arm just before it."""
        for came in allocations:
            yield came, self.chances()
            self._learn(came)

    def chances(self) -> list[float]:
        found = [0.0] * len(self.blocks[0])
        for left, belief in self.beliefs.items():
            for arm, count in enumerate(left):
                found[arm] += belief * count / sum(left)
        return found

    def _learn(self, came: int) -> None:
        after: dict[Left, float] = {}
        for left, belief in self.beliefs.items():
            if not left[came]:
                continue
            weight = belief * left[came] / sum(left)
            rest = (*left[:came], left[came] - 1, *left[came + 1 :])
            if any(rest):
                after[rest] = after.get(rest, 0.0) + weight
            else:
                self._add_new_block(after, weight)
        total = sum(after.values())
        self.beliefs = {left: belief / total for left, belief in after.items()}

    def _add_new_block(self, beliefs: dict[Left, float], weight: float) -> None:
        for block in self.blocks:
            beliefs[block] = beliefs.get(block, 0.0) + weight / len(self.blocks)
